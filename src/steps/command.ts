import { namesOf, type PlanStep } from '../document/plan.ts';
import type { Disk } from '../host/disk.ts';
import {
  CannotRunError,
  type ProcessIdentity,
  type ProcessResult,
  type ProcessSpec,
} from '../host/processes.ts';
import { findUser, ownUser } from '../host/users.ts';
import { afterOf, existingParent, undoPaths } from './paths.ts';
import type { After, Attempt, Before, DoOutcome, Output, StepContext, UndoOutcome } from './step.ts';

/** What `runCommand` and `runHandler` share: a program, its end, and the undo of what it touched. */

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const UNDO_STDERR_CHARS_MAX = 300;

/** A program of a step, and the account that it runs under; without one, the agent's own. */
export interface Program {
  argv: readonly string[];
  user: string | undefined;
  /** It must not be stopped in its middle, and what it says goes to this file (`ProcessSpec.unbroken`). */
  unbrokenOutput?: string;
}

/** The specification of one run. `ordinal` tells the runs of one attempt apart. */
export async function commandSpec(
  step: PlanStep,
  { argv, user, unbrokenOutput }: Program,
  direction: 'do' | 'undo',
  attempt: Attempt,
  { key, settings }: StepContext,
  ordinal?: number,
): Promise<ProcessSpec> {
  const run = ordinal === undefined ? '' : `-${ordinal}`;
  return {
    name: `${key}-${step.index}-${direction}-${attempt.number}${run}`,
    argv,
    ...(user !== undefined && { user }),
    ...(unbrokenOutput !== undefined && { unbroken: { outputPath: unbrokenOutput } }),
    // Not the execution's directory: a relative path of a program must not reach the journal.
    cwd: '/',
    env: {
      PATH,
      LANG: 'C.UTF-8',
      ...(await accountOf(user)),
      EVENKEEL_EXECUTION: key,
      EVENKEEL_STEP: String(step.index + 1),
      EVENKEEL_DIRECTION: direction,
      EVENKEEL_ATTEMPT: String(attempt.number),
    },
    timeoutMs: step.timeoutSeconds * 1000,
    graceMs: settings.graceMs,
    outputBytesMax: settings.outputBytesMax,
    limits: limitsOf(step, settings),
    noNewPrivileges: settings.noNewPrivileges ?? false,
  };
}

/** The smaller of what the document asks for and what this device allows. */
function limitsOf(step: PlanStep, settings: StepContext['settings']): NonNullable<ProcessSpec['limits']> {
  const smaller = (a: number | undefined, b: number | undefined): number | undefined =>
    a === undefined || b === undefined ? (a ?? b) : Math.min(a, b);
  const memoryBytesMax = smaller(step.memoryBytesMax, settings.memoryBytesMax);
  const tasksMax = smaller(step.tasksMax, settings.tasksMax);
  return {
    ...(memoryBytesMax !== undefined && { memoryBytesMax }),
    ...(tasksMax !== undefined && { tasksMax }),
  };
}

/** What a login would say of the account (man 7 environ); nothing for one that has no entry, as in a bare container. */
async function accountOf(user: string | undefined): Promise<Record<string, string>> {
  const account = user === undefined ? await ownUser() : await findUser(user);
  if (!account) return {};
  return { HOME: account.home, USER: account.name, LOGNAME: account.name, SHELL: account.shell };
}

/** Runs the step's program; a finished one's effects are durable when this resolves with `ok`. */
export async function runProgram(
  step: PlanStep & { stderrLinesMax?: number },
  program: Program,
  before: Before,
  attempt: Attempt,
  context: StepContext,
  signal: AbortSignal,
): Promise<DoOutcome> {
  let identity: ProcessIdentity | undefined;
  const record = (started: ProcessIdentity): Promise<void> => {
    identity = started;
    return attempt.record(started);
  };
  try {
    const spec = await commandSpec(step, program, 'do', attempt, context);
    const ended = await context.processes.run(spec, record, signal);
    const output = { stdout: ended.stdoutTail, stderr: ended.stderrTail };
    const wrong = notFinished(step, ended, signal, output);
    if (wrong) return wrong;
    await syncTouched(step.touches, context.disk);
    const after: After = {
      ...(await afterOf(before, context)),
      ...(ended.survivors > 0 && identity && { process: identity }),
    };
    return { result: 'ok', after, output };
  } catch (error) {
    if (error instanceof CannotRunError) return { result: 'failed', reason: error.message };
    throw error;
  }
}

/** A signal is never success: one that we did not send is an interruption (section 4). */
function notFinished(
  step: PlanStep & { stderrLinesMax?: number },
  { exitCode, signal: endedBy, ended, stderrLines, outOfMemory }: ProcessResult,
  signal: AbortSignal,
  output: Output,
): DoOutcome | undefined {
  if (ended === 'abort') {
    return {
      result: 'interrupted',
      reason: (signal.reason as Error | undefined)?.message ?? 'stopped',
      output,
    };
  }
  if (ended === 'timeout')
    return { result: 'failed', reason: `not finished within ${step.timeoutSeconds} s`, output };
  // It would end so again.
  if (outOfMemory) return { result: 'failed', reason: 'it took more memory than it may', output };
  if (endedBy !== null) return { result: 'interrupted', reason: `ended by ${endedBy}`, output };
  if (exitCode !== 0) return { result: 'failed', reason: `exit status ${exitCode}`, output };
  if (step.stderrLinesMax !== undefined && stderrLines > step.stderrLinesMax) {
    return {
      result: 'failed',
      reason: `${stderrLines} lines on stderr, ${step.stderrLinesMax} are allowed`,
      output,
    };
  }
  return undefined;
}

/** What a child wrote is not durable until its file system is: without this a power cut loses it (section 6). */
export async function syncTouched(touches: PlanStep['touches'], disk: Disk): Promise<void> {
  if (touches.length === 0) {
    await disk.syncAll();
    return;
  }
  const places = new Set<string>();
  for (const path of namesOf('path', touches)) places.add(await existingParent(disk, path));
  for (const place of places) await disk.syncFileSystem(place);
}

/**
 * Ends what the finished step left running, runs its undo command, then puts its paths back, also where the command
 * failed: a path that is right is worth something by itself.
 */
export async function undoProgram(
  step: PlanStep,
  program: Program | undefined,
  before: Before,
  after: After | undefined,
  attempt: Attempt,
  context: StepContext,
  signal: AbortSignal,
): Promise<UndoOutcome> {
  if (after?.process) await context.processes.fence(after.process, context.settings.graceMs);
  const command = program && (await undoByCommand(step, program, attempt, context, signal));
  const paths = await undoPaths(step, before, after, attempt, context);
  const said = command?.output && { output: command.output };
  if (command?.failed === undefined) return { ...paths, ...said };
  const reason = paths.result === 'ok' ? command.failed : `${command.failed}; ${paths.reason}`;
  return { result: 'failed', reason, ...said };
}

/** `failed`: why; absent when it is done and durable. */
async function undoByCommand(
  step: PlanStep,
  program: Program,
  attempt: Attempt,
  context: StepContext,
  signal: AbortSignal,
): Promise<{ failed?: string; output?: Output }> {
  try {
    const spec = await commandSpec(step, program, 'undo', attempt, context);
    const result = await context.processes.run(spec, (identity) => attempt.record(identity), signal);
    const { exitCode, ended, stdoutTail, stderrTail } = result;
    const output = { stdout: stdoutTail, stderr: stderrTail };
    if (exitCode === 0 && ended === null) {
      await syncTouched(step.touches, context.disk);
      return { output };
    }
    const how = ended ?? result.signal ?? `exit status ${exitCode}`;
    const said = stderrTail.trim().slice(-UNDO_STDERR_CHARS_MAX);
    return { failed: `the undo command ended with ${how}${said && `: ${said}`}`, output };
  } catch (error) {
    if (error instanceof CannotRunError) return { failed: error.message };
    throw error;
  }
}

/** A user that does not exist is REJECTED, never downgraded to the agent's own. */
export async function userProblems({
  runAsUser,
  path,
}: PlanStep): Promise<{ kind: 'never'; path: string; reason: string }[]> {
  if (runAsUser === undefined) return [];
  const never = (reason: string) => [{ kind: 'never' as const, path: `${path}.runAsUser`, reason }];
  const user = await findUser(runAsUser);
  if (!user) return never(`there is no user ${runAsUser}`);
  const own = process.geteuid?.();
  return own === 0 || own === user.uid
    ? []
    : never(`an agent that does not run as root cannot run anything as ${runAsUser}`);
}
