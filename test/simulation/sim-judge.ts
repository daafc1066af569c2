import { openBook } from '../../src/agent/book.ts';
import type { Config } from '../../src/config/config.ts';
import type { Progress } from '../../src/execution/progress.ts';
import type { ExecutionRecord } from '../../src/execution/records.ts';
import type { Log } from '../../src/host/log.ts';
import { TERMINAL } from '../../src/simulator/service/types.ts';
import { executionKey } from '../../src/store/execution-directory.ts';
import type { ForgetfulDisk } from '../support/forgetful-disk.ts';
import type { MemoryProcesses } from '../support/memory-processes.ts';
import type { HardScenario } from './harder.ts';
import { type ExecutionName, type Fate, type SimCloud, THING } from './sim-cloud.ts';
import { STATE } from './sim-device.ts';

export interface Watched {
  cloud: SimCloud;
  machine: MemoryProcesses;
  wrong: string[];
  say(text: string): void;
  documentOf(name: ExecutionName): object;
}

/** Looks at every record as it becomes durable: I3, I5 and I7 are judged while they happen. */
export function watchRecords({ cloud, machine, wrong, say, documentOf }: Watched) {
  const names = new Map<string, ExecutionName>();
  let open: string | undefined;
  let last: ExecutionRecord | undefined;
  return (key: string, record: ExecutionRecord): void => {
    say(`    ${key.slice(0, 4)} record ${JSON.stringify(record)}`);
    const name = names.get(key) ?? findName(cloud, key);
    names.set(key, name);
    const { steps } = documentOf(name) as { steps: { action?: { pivot?: boolean } }[] };
    const isPivot = (step: number): boolean => steps[step]?.action?.pivot === true;
    const alive = (step: number): string[] =>
      machine.names().filter((name) => name.startsWith(`${key}-${step}-do-`));
    switch (record.type) {
      case 'started':
      case 'attempt':
      case 'undo':
        if (open !== undefined && open !== key) wrong.push(`I3: ${record.type} while another job is open`);
        open = key;
        break;
      // `closed` may be on the disk although its writer did not live to hear of it.
      case 'reported':
      case 'closed':
        if (open === key) open = undefined;
        break;
      default:
        break;
    }
    if (record.type === 'attempt' && alive(record.step).length > 0)
      wrong.push(`I5: step ${record.step} is tried while ${alive(record.step).join(' ')} works on it`);
    // A7; what an interruption stopped is passed already, and a fence may be on the disk that nobody lived to hear of.
    const isFenced = last?.type === 'fenced' || last?.type === 'resumed';
    if (record.type === 'attempt' && record.attempt === 1 && isPivot(record.step) && !isFenced)
      wrong.push(`A7: the pivot ${record.step} is begun without a fence`);
    last = record;
    if (record.type === 'undone' && alive(record.step).length > 0)
      wrong.push(`I5: step ${record.step} is undone while ${alive(record.step).join(' ')} works on it`);
    if (record.type === 'aborted' || record.type === 'noted') {
      const { by } = record.cause;
      const fate = cloud.fate(name);
      const over = fate.deleted || TERMINAL.includes(fate.status);
      if ((by === 'cloud' || by === 'replaced') && !over)
        wrong.push(`I7: turned back on the cloud's behalf, which says ${fate.status}`);
    }
  };
}

function findName(cloud: SimCloud, key: string): ExecutionName {
  const found = cloud.fates().find((name) => executionKey({ thing: THING, ...name }) === key);
  if (!found) throw new Error(`the cloud never had an execution with the key ${key}`);
  return found;
}

export interface AtRest {
  forgetful: ForgetfulDisk;
  cloud: SimCloud;
  config: Config;
  wrong: string[];
  when: string;
  /** Paths that somebody else has changed. */
  tampered: ReadonlySet<string>;
  scenarioOf(name: ExecutionName): HardScenario;
}

/** I1, I2, I6 and I8, when nothing moves any more: byte for byte, against what scenario and cloud say. */
export async function judgeRest({
  forgetful,
  cloud,
  config,
  wrong,
  when,
  tampered,
  scenarioOf,
}: AtRest): Promise<void> {
  const life = forgetful.begin();
  const book = await openBook(life.disk, STATE, silent);
  life.end();
  const complain = (text: string): void => {
    wrong.push(`${when}: ${text}`);
  };
  if (book.blocked) complain(`stranded: ${book.blocked.reason}`);
  for (const reason of book.corrupt.values()) complain(`a journal is corrupt: ${reason}`);
  const known = new Map([...book.closed].map(([key, { progress }]) => [key, progress]));
  for (const [key, { progress }] of book.open) {
    // `closed` itself may have been in the page cache alone: it is closed once more.
    if (progress.phase === 'reported') known.set(key, progress);
    else complain(`${progress.identity.jobId} is open: ${progress.phase}`);
  }
  const fates = cloud.fates();
  const keys = new Set(fates.map((name) => executionKey({ thing: THING, ...name })));
  for (const key of known.keys()) if (!keys.has(key)) complain(`a journal of no execution: ${key}`);
  const homes = new Map<HardScenario, { isNew: boolean; ignored: string[] }>();
  for (const fate of fates) {
    const scenario = scenarioOf(fate);
    const progress = known.get(executionKey({ thing: THING, ...fate }));
    const said = (text: string): void => complain(`${fate.jobId} (${shown(fate)}): ${text}`);
    const ignored = [...tampered].filter((path) => path.startsWith(`${scenario.home}/`));
    judgeStory(fate, progress, scenario, ignored.length > 0, said);
    if (progress && !isToldByItself(fate, progress)) judgeReceipt(fate, progress, cloud, said);
    // With retries several executions are of one job, and the last word is that of the one that succeeded.
    const home = homes.get(scenario) ?? { isNew: false, ignored };
    home.isNew ||= isNew(fate, progress, config);
    const items = progress?.verdict?.items ?? [];
    if (ignored.length > 0) home.ignored.push(...items.map(({ id }) => id.replace(/^path:/, '')));
    homes.set(scenario, home);
  }
  for (const [scenario, home] of homes) {
    judgeDevice(scenario, forgetful, home, (text) => complain(`${scenario.home}: ${text}`));
  }
}

const shown = ({ status, deleted, code }: Fate): string =>
  `${status}${deleted ? ', deleted' : ''}${code === undefined ? '' : ` ${code}`}`;

/** I2: SUCCEEDED and nothing else is new; the exceptions are those that policy allows after a vote. */
function isNew({ status, deleted }: Fate, progress: Progress | undefined, config: Config): boolean {
  const commit = progress?.commit;
  // Past the pivot it was finished forward.
  if (commit === 'pivotPassed') return true;
  // Nobody could say any more that it was accepted, and policy says that doubt is no commit.
  if (isDoubtful(progress) && config.commit.inDoubt === 'rollBack') return false;
  if (deleted && commit === 'endedInDoubt') return config.commit.inDoubt === 'keep';
  if (status === 'SUCCEEDED') return true;
  if (commit === 'endedInDoubt') return config.commit.inDoubt === 'keep' && status !== 'FAILED';
  if (status === 'TIMED_OUT' || status === 'REMOVED')
    return commit === 'keptAfterVote' && config.commit.timedOutAfterVote === 'keep';
  return false;
}

function isDoubtful(progress: Progress | undefined): boolean {
  const cause = progress?.cause;
  const isSilent = cause?.by === 'cloud' && ['unknown', 'deleted'].includes(cause.status);
  return isSilent && progress?.voted === true;
}

function judgeDevice(
  scenario: HardScenario,
  { files }: ForgetfulDisk,
  { isNew, ignored }: { isNew: boolean; ignored: readonly string[] },
  said: (text: string) => void,
): void {
  const within = ignored.map((path) => path.slice(scenario.home.length));
  const counts = (line: string): boolean =>
    !within.some((path) => new RegExp(`^${path}(/|\\s|$)`).test(line));
  const found = scenario.list(files).filter(counts);
  const wanted = (isNew ? scenario.new : scenario.old).filter(counts);
  const difference = [
    ...wanted.filter((line) => !found.includes(line)).map((line) => `  - ${line}`),
    ...found.filter((line) => !wanted.includes(line)).map((line) => `  + ${line}`),
  ];
  if (difference.length > 0) said(`the device is not ${isNew ? 'new' : 'old'}:\n${difference.join('\n')}`);
}

function judgeStory(
  { status, deleted, code }: Fate,
  progress: Progress | undefined,
  { doomed, hasPivot, hasFailingUndo }: HardScenario,
  isTampered: boolean,
  said: (text: string) => void,
): void {
  if (!deleted && !TERMINAL.includes(status)) said('is not over');
  if (code === 'localStateLost' || code === 'journalCorrupt') said('the journal is not believed');
  if (!progress) return;
  const { verdict, cause, commit } = progress;
  const allowed = [
    'rolledBack',
    ...(hasPivot || hasFailingUndo || isTampered ? ['notReversed'] : []),
    ...(isTampered ? ['inconsistent'] : []),
  ];
  if (verdict && !allowed.includes(verdict.outcome)) said(`the verdict is ${JSON.stringify(verdict)}`);
  if (commit === 'pivotPassed' && !hasPivot) said('no pivot was to be passed');
  const reason = cause && 'reason' in cause ? cause.reason : '';
  if (!isTampered && /changed over a restart|not as the job's steps left it/.test(reason))
    said(`an effect that was called done is gone: ${reason}`);
  if (doomed && commit !== undefined) said('a step must fail, and the job was committed');
}

/** The execution itself has carried the outcome: its own SUCCEEDED, or its own FAILED. */
function isToldByItself({ status, deleted }: Fate, { commit, cause, cloudStatus }: Progress): boolean {
  if (deleted) return commit === 'accepted' || commit === 'ownSuccess' || cloudStatus === 'FAILED';
  if (commit !== undefined) return status === 'SUCCEEDED';
  return cause?.by !== 'cloud' && (status === 'FAILED' || status === 'REJECTED');
}

/** I8 */
function judgeReceipt(
  { jobId, executionNumber, queuedAt }: Fate,
  progress: Progress,
  { receipts }: SimCloud,
  said: (text: string) => void,
): void {
  const { commit, verdict } = progress;
  const doubtful = isDoubtful(progress) && verdict?.outcome === 'rolledBack';
  const own = receipts.filter(
    (one) =>
      one['outcome'] !== 'resolved' &&
      one['jobId'] === jobId &&
      one['executionNumber'] === executionNumber &&
      one['queuedAt'] === queuedAt,
  );
  if (own.length === 0) said('I8: no receipt has come');
  const outcome = commit === undefined ? verdict?.outcome : 'committed';
  if (own.some((one) => one['outcome'] !== outcome)) said(`I8: a receipt does not say ${outcome}`);
  // I2: where device and cloud may differ, the receipt names why.
  const exception = commit === undefined ? (doubtful ? 'endedInDoubt' : undefined) : commit;
  if (exception !== undefined && own.some((one) => one['exception'] !== exception))
    said(`I2: a receipt does not name ${exception}`);
}

const silent: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silent,
};
