import { dirname } from 'node:path';
import type { PlanStep } from '../document/plan.ts';
import {
  CannotRunError,
  type ProcessIdentity,
  type ProcessResult,
  type ProcessSpec,
} from '../host/processes.ts';
import { findUser } from '../host/users.ts';
import { afterOf, pathOf, undoPaths } from './paths.ts';
import type { After, Attempt, Before, DoOutcome, Output, StepContext, UndoOutcome } from './step.ts';

/** What `runCommand` and `runHandler` share: a program, its end, and the undo of what it touched. */

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export function commandSpec(
  step: PlanStep,
  argv: readonly string[],
  direction: 'do' | 'undo',
  attempt: Attempt,
  { key, directory, settings }: StepContext,
): ProcessSpec {
  return {
    name: `${key}-${step.index}-${direction}-${attempt.number}`,
    argv,
    ...(step.runAsUser !== undefined && { user: step.runAsUser }),
    cwd: step.runAsUser === undefined ? directory : '/',
    env: {
      PATH,
      LANG: 'C.UTF-8',
      EVENKEEL_EXECUTION: key,
      EVENKEEL_STEP: String(step.index + 1),
      EVENKEEL_DIRECTION: direction,
    },
    timeoutMs: step.timeoutSeconds * 1000,
    graceMs: settings.graceMs,
    outputBytesMax: settings.outputBytesMax,
  };
}

/** Runs the step's program; a finished one's effects are durable when this resolves with `ok`. */
export async function runProgram(
  step: PlanStep & { stderrLinesMax?: number },
  argv: readonly string[],
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
    const spec = commandSpec(step, argv, 'do', attempt, context);
    const ended = await context.processes.run(spec, record, signal);
    const output = { stdout: ended.stdoutTail, stderr: ended.stderrTail };
    const wrong = notFinished(step, ended, signal, output);
    if (wrong) return wrong;
    await syncTouched(step, context);
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
  { exitCode, signal: endedBy, ended, stderrLines }: ProcessResult,
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
async function syncTouched(step: PlanStep, { disk }: StepContext): Promise<void> {
  if (step.touches.length === 0) {
    await disk.syncAll();
    return;
  }
  for (const parent of new Set(step.touches.map((id) => dirname(pathOf(id))))) {
    if (await disk.lstat(parent)) await disk.syncFileSystem(parent);
  }
}

/** Ends what the finished step left running, runs its undo command, then puts its paths back. */
export async function undoProgram(
  step: PlanStep,
  argv: readonly string[] | undefined,
  before: Before,
  after: After | undefined,
  attempt: Attempt,
  context: StepContext,
  signal: AbortSignal,
): Promise<UndoOutcome> {
  if (after?.process) await context.processes.fence(after.process, context.settings.graceMs);
  const failed = argv && (await undoByCommand(step, argv, attempt, context, signal));
  const paths = await undoPaths(before, after, context);
  return failed ?? paths;
}

async function undoByCommand(
  step: PlanStep,
  argv: readonly string[],
  attempt: Attempt,
  context: StepContext,
  signal: AbortSignal,
): Promise<UndoOutcome | undefined> {
  try {
    const spec = commandSpec(step, argv, 'undo', attempt, context);
    const ended = await context.processes.run(spec, attempt.record, signal);
    if (ended.exitCode === 0) {
      await syncTouched(step, context);
      return undefined;
    }
    const how = ended.ended ?? ended.signal ?? `exit status ${ended.exitCode}`;
    return {
      result: 'failed',
      reason: `the undo command ended with ${how}: ${ended.stderrTail.trim().slice(-300)}`,
    };
  } catch (error) {
    if (error instanceof CannotRunError) return { result: 'failed', reason: error.message };
    throw error;
  }
}

/** A user that does not exist is REJECTED, never downgraded to the agent's own. */
export async function userProblems(
  step: PlanStep,
): Promise<{ kind: 'never'; path: string; reason: string }[]> {
  if (step.runAsUser === undefined || (await findUser(step.runAsUser))) return [];
  return [{ kind: 'never', path: `${step.path}.runAsUser`, reason: `there is no user ${step.runAsUser}` }];
}
