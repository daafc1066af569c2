import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type FileHandle, open } from 'node:fs/promises';
import { constants } from 'node:os';
import { Readable } from 'node:stream';
import type { Clock } from './clock.ts';
import type { Ending } from './process-ending.ts';
import { type Drain, drain, drained, firstEnd, letFlow, neverBegun, tailOf } from './process-run.ts';
import { checkedProgram, otherUser, refusalIn, unitShim } from './process-shim.ts';
import { readRow, TOKEN_VARIABLE } from './process-table.ts';
import { CannotRunError, type Processes, type ProcessResult, type ProcessSpec } from './processes.ts';
import { CALL_ENV, call, SystemdFailed } from './systemd.ts';
import { awaitUnit, endUnit, isAtRest, pidsIn, type RunningUnit, showUnit } from './unit-ending.ts';
import { type FindUser, findUser } from './users.ts';

const POLL_MIN_MS = 5;
const POLL_MAX_MS = 250;
const SURVIVOR_LOOK_MS = 50;
const NAME_CHARS_MAX = 200;
/** From this version on systemd-run can be told to leave `$` in arguments alone. */
const EXPAND_OPTION_SINCE = 254;
/** `ExecMainCode`: CLD_EXITED of man 2 waitid; any other is a signal. */
const EXITED = 1;

export interface ProcessUnitDeps {
  clock: Clock;
  /** Of this boot (`bootId()`). */
  bootId: string;
  /** Of systemd. */
  version: number;
  /** The agent's own service, which at shutdown ends before its steps. */
  ownUnit: string | undefined;
  log?: Ending['log'];
  findUser?: FindUser;
}

/**
 * Processes under systemd: each run is a transient service (design section 8), started by PID 1 and so outside of the
 * agent's own sandbox and life. Its name is in the record before it starts, and names it for good; whatever leaves its
 * session or drops its environment is still in its control group.
 */
export function createProcessUnits(deps: ProcessUnitDeps): Processes {
  return {
    async run(spec, record, signal) {
      const command = await unitCommand(spec, deps);
      if (signal.aborted) return neverBegun();
      const { unit, token } = command;
      // The program cannot have begun before its record: nobody has asked systemd for it yet.
      const patience = spec.unbroken && { patienceMs: spec.timeoutMs };
      const { bootId } = deps;
      await record({ name: spec.name, pid: 0, startTime: '0', bootId, token, unit, ...patience });
      if (signal.aborted) return neverBegun();
      return await follow(spec, command, signal, deps);
    },

    async fence(identity, graceMs) {
      // Another boot: transient units do not outlive one.
      if (identity.unit === undefined || identity.bootId !== deps.bootId) return { ended: 0 };
      if (identity.patienceMs !== undefined) await awaitUnit(identity.unit, identity.patienceMs, deps);
      return { ended: await endUnit(identity.unit, graceMs, deps) };
    },
  };
}

interface UnitCommand {
  unit: string;
  token: string;
  args: readonly string[];
  /** Absolute path of the program itself. */
  program: string;
}

async function unitCommand(spec: ProcessSpec, deps: ProcessUnitDeps): Promise<UnitCommand> {
  const program = await checkedProgram(spec);
  const user = await otherUser(spec.argv[0] ?? '', spec, deps.findUser ?? findUser);
  const token = deps.clock.uuid();
  const name = spec.name.replaceAll(/[^A-Za-z0-9_-]/g, '_').slice(0, NAME_CHARS_MAX);
  // The token makes it a name that no other run of any agent has had.
  const unit = `evenkeel-${name}-${token.slice(0, 8)}.service`;
  const variables = Object.entries({ ...spec.env, [TOKEN_VARIABLE]: token });
  const environment = variables.map(([variable, value]) => `${variable}=${value}`);
  const argv = ['/usr/bin/env', '-i', ...environment, ...unitShim([program, ...spec.argv.slice(1)])];
  const canBeTold = deps.version >= EXPAND_OPTION_SINCE;
  return {
    unit,
    token,
    program,
    args: [
      '--quiet',
      '--pipe',
      `--unit=${unit}`,
      '--service-type=exec',
      `--description=${spec.name}, a step of Evenkeel`,
      `--working-directory=${spec.cwd}`,
      ...propertiesOf(spec, user?.name, deps).map((property) => `--property=${property}`),
      ...(canBeTold ? ['--expand-environment=no'] : []),
      '--',
      ...(canBeTold ? argv : argv.map((argument) => argument.replaceAll('$', '$$$$'))),
    ],
  };
}

function propertiesOf(
  { graceMs, limits = {}, noNewPrivileges }: ProcessSpec,
  user: string | undefined,
  { ownUnit }: ProcessUnitDeps,
): string[] {
  return [
    // What the program leaves running is kept, and the unit with it.
    'RemainAfterExit=yes',
    'KillMode=control-group',
    'SendSIGKILL=yes',
    // 0 would be for ever.
    `TimeoutStopSec=${Math.max(1, Math.round(graceMs))}ms`,
    ...(ownUnit === undefined ? [] : [`Before=${ownUnit}`]),
    ...(user === undefined ? [] : [`User=${user}`]),
    ...(user !== undefined && noNewPrivileges === true ? ['NoNewPrivileges=yes'] : []),
    ...(limits.memoryBytesMax === undefined ? [] : [`MemoryMax=${limits.memoryBytesMax}`, 'MemorySwapMax=0']),
    ...(limits.tasksMax === undefined ? [] : [`TasksMax=${limits.tasksMax}`]),
  ];
}

/** `systemd-run`, whose standard streams the program has inherited. */
interface Client {
  child: ChildProcess;
  stdout: Readable;
  stderr: Readable;
  exited: Promise<unknown>;
}

async function startClient(spec: ProcessSpec, args: readonly string[]): Promise<Client> {
  let output: FileHandle | undefined;
  try {
    output = spec.unbroken && (await open(spec.unbroken.outputPath, 'w', 0o600));
    const to = output?.fd ?? 'pipe';
    const child = spawn('systemd-run', args, { cwd: '/', env: CALL_ENV, stdio: ['ignore', to, to] });
    const exited = once(child, 'exit');
    exited.catch(() => undefined);
    await once(child, 'spawn');
    child.on('error', () => undefined);
    const stdout = child.stdout ?? Readable.from([]);
    const stderr = child.stderr ?? Readable.from([]);
    for (const stream of [stdout, stderr]) stream.on('error', () => undefined);
    return { child, stdout, stderr, exited };
  } catch (error) {
    throw new CannotRunError(spec.argv[0] ?? '', `systemd-run: ${(error as Error).message}`, error);
  } finally {
    await output?.close();
  }
}

async function follow(
  spec: ProcessSpec,
  { unit, args, program }: UnitCommand,
  signal: AbortSignal,
  deps: ProcessUnitDeps,
): Promise<ProcessResult> {
  const { clock } = deps;
  const client = await startClient(spec, args);
  const stdout = drain(client.stdout, spec.outputBytesMax);
  const stderr = drain(client.stderr, spec.outputBytesMax);
  const over = new AbortController();
  try {
    await begun(spec, unit, client, stderr, deps);
    const resting = ended(unit, clock, over.signal);
    resting.catch(() => undefined);
    const why = await firstEnd(spec, resting, signal, clock);
    const last = why === null ? await resting : await showUnit(unit);
    const pids = why === null ? await survivorsOf(last, clock) : [];
    if (why !== null) await endUnit(unit, spec.graceMs, deps);
    else if (pids.length === 0) await free(unit);
    await drained([stdout, stderr], clock);
    const exit = why === null ? exitOf(last) : { exitCode: null, signal: 'SIGTERM' };
    const stdoutTail = spec.unbroken ? await tailOf(spec.unbroken.outputPath, spec) : stdout.tail.text();
    const stderrTail = stderr.tail.text();
    const complaint = spec.unbroken ? stdoutTail : stderrTail;
    const refusal = why === null ? refusalIn(exit.exitCode, complaint, { program }) : undefined;
    if (refusal !== undefined) throw new CannotRunError(spec.argv[0] ?? '', refusal);
    return {
      ...exit,
      ended: why,
      stdoutTail,
      stderrTail,
      stderrLines: stderr.tail.lines(),
      survivors: pids.length,
      ...(last.result === 'oom-kill' && { outOfMemory: true as const }),
    };
  } finally {
    over.abort();
    client.child.kill('SIGKILL');
    for (const stream of [client.stdout, client.stderr]) letFlow(stream);
  }
}

/** Until the program has been executed; what systemd-run says where it has not. Then systemd-run has done its work. */
async function begun(
  spec: ProcessSpec,
  unit: string,
  { child, exited }: Client,
  stderr: Drain,
  { clock }: ProcessUnitDeps,
): Promise<void> {
  const hasExited = (): boolean => child.exitCode !== null || child.signalCode !== null;
  for (let pauseMs = POLL_MIN_MS; ; pauseMs = Math.min(pauseMs * 2, POLL_MAX_MS)) {
    // Looked at in this order: what has exited before the look has left its traces by then.
    const gone = hasExited();
    const state = await showUnit(unit);
    if (state.active === 'failed') break;
    if (state.loaded && !['inactive', 'activating'].includes(state.active)) {
      child.kill('SIGKILL');
      return;
    }
    if (gone) break;
    await clock.sleep(pauseMs);
  }
  await exited;
  await drained([stderr], clock);
  const said = (spec.unbroken ? await tailOf(spec.unbroken.outputPath, spec) : stderr.tail.text()).trim();
  const refused = new RegExp(`(?:^|\\n)(?:Job for ${unit} failed|Failed to )`).test(said);
  const { loaded } = await showUnit(unit);
  if (loaded && !refused) return;
  await free(unit);
  const [reason = ''] = said.split('\n').slice(-1);
  throw new CannotRunError(spec.argv[0] ?? '', reason === '' ? 'systemd did not start it' : reason);
}

/** The unit when its program has ended, and systemd has dealt with what a failed one left behind. */
async function ended(unit: string, clock: Clock, over: AbortSignal): Promise<RunningUnit> {
  for (let pauseMs = POLL_MIN_MS; ; pauseMs = Math.min(pauseMs * 2, POLL_MAX_MS)) {
    const state = await showUnit(unit);
    if (isAtRest(state) || over.aborted) return state;
    await clock.sleep(pauseMs, over).catch(() => undefined);
    // Looking into /proc costs nothing, asking systemd does; one that hides its processes is asked all the same.
    while (!over.aborted && readRow(state.mainPid)?.alive === true) {
      pauseMs = Math.min(pauseMs * 2, POLL_MAX_MS);
      await clock.sleep(pauseMs, over).catch(() => undefined);
    }
  }
}

async function survivorsOf(state: RunningUnit, clock: Clock): Promise<number[]> {
  if ((await pidsIn(state.controlGroup)).length === 0) return [];
  // Children that are just ending with the program are not survivors.
  await clock.sleep(SURVIVOR_LOOK_MS);
  return await pidsIn(state.controlGroup);
}

/** The unit has no process left: its name and its result go. */
async function free(unit: string): Promise<void> {
  await call('systemctl', ['stop', '--no-ask-password', '--', unit]);
  await call('systemctl', ['reset-failed', '--', unit]);
}

function exitOf({
  exitCode: code,
  exitStatus: status,
}: RunningUnit): Pick<ProcessResult, 'exitCode' | 'signal'> {
  if (code === EXITED) return { exitCode: status, signal: null };
  const names = Object.entries(constants.signals);
  // A unit that somebody has stopped and forgotten ended by the signal that a stop sends.
  return { exitCode: null, signal: names.find(([, number]) => number === status)?.[0] ?? 'SIGTERM' };
}

/** The version of systemd here. */
export async function systemdVersion(): Promise<number> {
  const { stdout } = await call('systemctl', ['--version']);
  const version = Number(/^systemd (\d+)/.exec(stdout)?.[1] ?? Number.NaN);
  if (Number.isNaN(version)) throw new SystemdFailed('ask systemctl for its version', stdout.slice(0, 100));
  return version;
}
