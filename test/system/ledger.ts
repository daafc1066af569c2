import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Receipt } from '../../src/receipts/receipt.ts';
import type { Simulator } from '../../src/simulator/index.ts';
import { type Execution, TERMINAL } from '../../src/simulator/service/types.ts';
import { createDevice, type Device, processesWith } from '../support/device.ts';
import { type Story, storiesIn } from '../support/journals.ts';

/**
 * A device whose files say by themselves which jobs have taken effect and which have not, and how often each was run;
 * and the comparison of the four who must agree: cloud, files, journals, receipts (I1, I2, I6, I8).
 */
export interface Ledger {
  device: Device;
  document(jobId: string, what: What): object;
  /** How often the command of a job was begun, whatever became of it. */
  runs(jobId: string): Promise<number>;
  stories(): Promise<Story[]>;
  /** Nothing is pending in the cloud, and nothing open here. */
  isSettled(): Promise<boolean>;
  /** What was wrong, in words; nothing when all agree. */
  disagreements(allow?: { unknownStatus?: boolean }): Promise<string[]>;
  end(): Promise<void>;
}

/** What the command of a job does: `hangsOnce` takes longer than any test unless it was run before. */
export type What = 'succeeds' | 'fails' | 'takesAWhile' | 'hangs' | 'hangsOnce';

/** Jobs whose own word is FAILED. */
const FAILS: readonly What[] = ['fails'];
const HISTORY_KEEP = 1000;

let ledgers = 0;

export async function openLedger(
  simulator: Simulator,
  settings: Record<string, object> = {},
): Promise<Ledger> {
  ledgers += 1;
  const thing = `ledger-${ledgers}`;
  simulator.service.createThing(thing);
  const device = await createDevice(thing, simulator.mqttUrl, {
    jobs: { requestTimeoutSeconds: 0.4, queueRetrySeconds: 1, heartbeatSeconds: 1 },
    state: { historyKeep: HISTORY_KEEP },
    ...settings,
  });
  const state = join(device.root, 'state');
  const runsFile = join(device.root, 'runs');
  const receipts: Receipt[] = [];
  const kinds = new Map<string, What>();
  // A process of this device, and of no other: its seconds are a name.
  const hang = `sleep 300.${process.pid}${ledgers}`;
  const ends = new Map<string, Ended>();
  const unwatch = simulator.service.onChange((change) => {
    if (change.kind !== 'execution' || change.execution.thing !== thing) return;
    const { execution, deleted } = change;
    const key = nameOf(execution);
    const isOver = TERMINAL.includes(execution.status);
    if (isOver || deleted) ends.set(key, { told: isOver ? execution.status : 'deleted', isGone: deleted });
  });
  const unhook = simulator.faults.onRequest(({ thing: from, operation, body }) => {
    if (from === thing && operation === 'shadowUpdate') {
      const { reported } = body['state'] as { reported: { receipt: Receipt } };
      receipts.push(reported.receipt);
    }
    return { kind: 'process' };
  });
  const runs = async (jobId: string): Promise<number> =>
    linesOf(await textOf(runsFile)).filter((line) => line === jobId).length;
  const stories = (): Promise<Story[]> => storiesIn(state);

  return {
    device,
    document(jobId, what) {
      kinds.set(jobId, what);
      return ledgerDocument(device, jobId, runsFile, commandOf(what, hang, jobId, runsFile));
    },
    runs,
    stories,
    async isSettled() {
      if (simulator.service.pending(thing).length > 0) return false;
      return (await stories()).every(({ progress }) => progress.phase === 'closed');
    },
    async disagreements({ unknownStatus = false } = {}) {
      const all = await stories();
      const waiting = await receiptsIn(join(state, 'outbox'));
      const compared: Compared = {
        executions: simulator.service.executions({ thing }),
        ends,
        stories: all,
        receipts: [...receipts, ...waiting],
        unknownStatus,
        fails: (jobId) => FAILS.includes(kinds.get(jobId) ?? 'succeeds'),
      };
      const found = [...ofExecutions(compared), ...ofStories(compared), ...(await ofFiles(device, all))];
      for (const jobId of kinds.keys()) {
        const attempts = all
          .filter(({ progress }) => progress.identity.jobId === jobId)
          .reduce((sum, { progress }) => sum + (progress.steps[COMMAND]?.attempts ?? 0), 0);
        const count = await runs(jobId);
        if (count > attempts)
          found.push(`${jobId} was run ${count} times, and ${attempts} attempts are known`);
      }
      const left = await processesWith(hang);
      if (left.length > 0) found.push(`processes are left: ${left.join(' ')}`);
      return found;
    },
    async end() {
      unhook();
      unwatch();
      await device.stop('SIGKILL');
      for (const pid of await processesWith(hang)) process.kill(pid, 'SIGKILL');
      await device.remove();
    },
  };
}

/** Its place in the document. */
const COMMAND = 2;

function commandOf(what: What, hang: string, jobId: string, runsFile: string): string {
  switch (what) {
    case 'succeeds':
      return 'true';
    case 'fails':
      return 'exit 3';
    case 'takesAWhile':
      return 'sleep 0.3';
    case 'hangs':
      return `${hang} & ${hang}`;
    case 'hangsOnce':
      return `test $(grep -cx ${jobId} ${runsFile}) -gt 1 || ${hang}`;
  }
}

function ledgerDocument(device: Device, jobId: string, runsFile: string, command: string): object {
  const action = (name: string, type: string, input: object, more: object = {}): object => ({
    action: { name, type, input, ...more },
  });
  const made = device.path('var/made');
  const script = `echo ${jobId} >> ${runsFile}; echo ${jobId} >> ${made}; ${command}`;
  return {
    version: '1.0',
    steps: [
      action('configure', 'writeFile', { path: device.path('etc/app.conf'), content: `${jobId}\n` }),
      action('switch', 'switchLink', { link: device.path('current'), target: `releases/${jobId}` }),
      action('make', 'runCommand', { command: ['/bin/sh', '-c', script] }, { snapshotPaths: [made] }),
      action('finish', 'writeFile', { path: device.path('etc/last'), content: `${jobId}\n` }),
    ],
  };
}

/** What the cloud has said last of an execution, and whether it has forgotten it since. */
interface Ended {
  told: string;
  isGone: boolean;
}

interface Compared {
  executions: readonly Execution[];
  ends: ReadonlyMap<string, Ended>;
  stories: readonly Story[];
  receipts: readonly Receipt[];
  /** The cloud may keep the status to itself. */
  unknownStatus: boolean;
  fails(jobId: string): boolean;
}

const nameOf = ({ jobId, executionNumber }: { jobId: string; executionNumber: number }): string =>
  `${jobId}#${executionNumber}`;

type Named = Pick<Execution, 'jobId' | 'executionNumber' | 'queuedAt'>;

/** The cloud knows fractions of seconds, and devices whole ones (P3). */
const isSame = (a: Named, b: Named): boolean =>
  a.jobId === b.jobId &&
  a.executionNumber === b.executionNumber &&
  Math.floor(a.queuedAt) === Math.floor(b.queuedAt);

/** What the cloud says of each execution that it knows. */
function ofExecutions({ executions, stories, fails }: Compared): string[] {
  return executions.flatMap((execution) => {
    const name = nameOf(execution);
    const { status } = execution;
    const story = stories.find(({ progress }) => isSame(progress.identity, execution));
    if (!TERMINAL.includes(status)) return [`${name} is ${status}`];
    // Nothing here is inadmissible, or lost.
    if (status === 'REJECTED') return [`${name} is REJECTED: ${JSON.stringify(execution.statusDetails)}`];
    if (status === 'FAILED' && !fails(execution.jobId))
      return [`${name} is FAILED: ${JSON.stringify(execution.statusDetails)}`];
    if (!story && (status === 'SUCCEEDED' || status === 'FAILED'))
      return [`${name} is ${status}, never taken in`];
    return [];
  });
}

/** What each journal came to, beside what the cloud says and what was reported. */
function ofStories({ ends, stories, receipts, unknownStatus }: Compared): string[] {
  return stories.flatMap(({ progress }) => {
    const { identity, commit, verdict, phase } = progress;
    const name = nameOf(identity);
    if (phase !== 'closed') return [`the journal of ${name} is ${phase}`];
    const { told, isGone } = ends.get(name) ?? { told: 'open', isGone: false };
    const receipt = receipts.findLast((one) => isSame(one, identity));
    const isNew = commit !== undefined;
    const inDoubt = isGone && commit === 'endedInDoubt';
    const found: string[] = [];
    if (isNew && told !== 'SUCCEEDED' && !inDoubt)
      found.push(`${name} is committed (${commit}), and the cloud says ${told}`);
    if (!isNew && told === 'SUCCEEDED')
      found.push(`${name} is ${verdict?.outcome}, and the cloud says SUCCEEDED`);
    if (!isNew && (verdict?.outcome !== 'rolledBack' || !verdict.verified))
      found.push(`${name} is ${verdict?.outcome}`);
    const byItself = isNew ? told === 'SUCCEEDED' : told === 'FAILED';
    // What was lost behind the device's last word may be told of, for nobody can say whether it was heard.
    if (byItself && receipt && !isGone) found.push(`${name} has carried its end itself, and has a receipt`);
    if (!byItself && !receipt) found.push(`${name} is ${told}, and no receipt tells of it`);
    if (!receipt) return found;
    const statuses = [told, ...(unknownStatus ? ['unknown'] : []), ...(isGone ? ['deleted'] : [])];
    if (!statuses.includes(receipt.cloudStatus))
      found.push(`the receipt of ${name} says ${receipt.cloudStatus}, the cloud ${told}`);
    if (receipt.deviceState !== (isNew ? 'new' : 'old'))
      found.push(`the receipt of ${name} says that the device is ${receipt.deviceState}`);
    if (inDoubt && receipt.exception !== 'endedInDoubt')
      found.push(`the receipt of ${name} does not say that it ended in doubt`);
    return found;
  });
}

/** The files are those of the jobs that were committed, one after the other. */
async function ofFiles({ path }: Device, stories: readonly Story[]): Promise<string[]> {
  const committed = stories
    .filter(({ progress }) => progress.commit !== undefined)
    .sort((a, b) => (a.records.at(-1)?.at ?? 0) - (b.records.at(-1)?.at ?? 0))
    .map(({ progress }) => progress.identity.jobId);
  const last = committed.at(-1);
  const wanted = {
    conf: last ?? 'version = 1',
    link: `releases/${last ?? '1'}`,
    made: committed.join(' '),
    last: last ?? '',
  };
  const there = {
    conf: (await textOf(path('etc/app.conf'))).trim(),
    link: await readlink(path('current')),
    made: linesOf(await textOf(path('var/made'))).join(' '),
    last: (await textOf(path('etc/last'))).trim(),
  };
  return (Object.keys(wanted) as (keyof typeof wanted)[])
    .filter((key) => wanted[key] !== there[key])
    .map((key) => `${key} of the device is "${there[key]}", and by its journals "${wanted[key]}"`);
}

async function receiptsIn(directory: string): Promise<Receipt[]> {
  const names = await readdir(directory).catch(() => []);
  const texts = await Promise.all(
    names.filter((name) => name.endsWith('.json')).map((name) => textOf(join(directory, name))),
  );
  return texts.filter((text) => text !== '').map((text) => JSON.parse(text) as Receipt);
}

const textOf = (path: string): Promise<string> => readFile(path, 'utf8').catch(() => '');

const linesOf = (text: string): string[] => text.split('\n').filter((line) => line !== '');
