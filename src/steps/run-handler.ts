import { join } from 'node:path';
import type { RunHandlerStep } from '../document/plan.ts';
import type { Disk } from '../host/disk.ts';
import { readFileBounded, removeTree, writeFileAtomic } from '../store/atomic-file.ts';
import { type Program, runProgram, undoProgram } from './command.ts';
import { findHandler, type Handler, SCRIPT_BYTES_MAX, undoName } from './handler-file.ts';
import { discardPaths, preparePaths, surveyPaths } from './paths.ts';
import { settleManager } from './settle-manager.ts';
import type { Prepared, StepContext, StepType } from './step.ts';

/**
 * A site's own script, called as AWS IoT Device Client calls it: as the agent's user, with the name of the user that
 * it shall work for as its first argument (empty without one), then the document's arguments. `NAME.undo.sh` beside
 * it is its undo, called alike, unless the document gives one.
 */
export const runHandler: StepType<RunHandlerStep> = {
  async survey(step, context) {
    const survey = await surveyPaths(step, context);
    const undo = await undoScript(step, context);
    const unusable = [await handlerOf(step, step.handler, context), undo].flatMap((found) =>
      // No undo beside it is no problem, but one that must not be run is.
      !found || found.kind === 'usable' || (found === undo && found.kind === 'missing')
        ? []
        : [{ kind: 'never' as const, path: step.path, reason: found.reason }],
    );
    const undoable = step.undo !== undefined || step.touches.length > 0 || undo?.kind === 'usable';
    return {
      ...survey,
      grade: undoable ? survey.grade : 'none',
      problems: [...survey.problems, ...unusable],
    };
  },

  async prepare(step, context) {
    const undo = await undoScript(step, context);
    if (undo?.kind === 'refused') return { ok: false, reason: undo.reason };
    const captured = undo?.kind === 'usable' ? await capture(undo.path, step, context) : undefined;
    return captured ?? (await preparePaths(step, context));
  },

  async do(step, before, attempt, context, signal) {
    const found = await handlerOf(step, step.handler, context);
    if (found.kind !== 'usable') return { result: 'failed', reason: found.reason };
    return await runProgram(step, called(found.path, step), before, attempt, context, signal);
  },

  async undo(step, before, after, attempt, context, signal) {
    const program = await undoOf(step, context);
    return await undoProgram(step, program, before, after, attempt, context, signal);
  },

  settle: settleManager,

  async discard(step, context) {
    await removeTree(context.disk, capturedPath(step, context));
    await discardPaths(step, context);
  },
};

function handlerOf(
  { directory }: RunHandlerStep,
  name: string,
  { disk, settings }: StepContext,
): Promise<Handler> {
  return findHandler(disk, directory ?? settings.handlerDirectory, name);
}

/** The undo beside the handler, where the document gives none itself. */
async function undoScript(step: RunHandlerStep, context: StepContext): Promise<Handler | undefined> {
  return step.undo ? undefined : await handlerOf(step, undoName(step.handler), context);
}

function called(path: string, { runAsUser, args }: RunHandlerStep): Program {
  return { argv: [path, runAsUser ?? '', ...args], user: undefined };
}

function capturedPath({ index }: RunHandlerStep, { directory }: StepContext): string {
  return join(directory, `handler-${index}.undo.sh`);
}

/** I4: all that the undo needs is durable before the step starts, also when the step itself replaces the handlers. */
async function capture(
  path: string,
  step: RunHandlerStep,
  context: StepContext,
): Promise<Prepared | undefined> {
  try {
    const script = await readFileBounded(context.disk, path, SCRIPT_BYTES_MAX);
    if (!script) return { ok: false, reason: `cannot keep the undo ${path}: it is gone` };
    await writeFileAtomic(context.disk, capturedPath(step, context), script, 0o700);
    return undefined;
  } catch (error) {
    return { ok: false, reason: `cannot keep the undo ${path}: ${(error as Error).message}` };
  }
}

/** The undo that was there before the step: in its own place while it is unchanged there, else our copy of it. */
async function undoOf(step: RunHandlerStep, context: StepContext): Promise<Program | undefined> {
  if (step.undo) return { argv: step.undo, user: step.runAsUser };
  const copy = capturedPath(step, context);
  const kept = await readFileBounded(context.disk, copy, SCRIPT_BYTES_MAX);
  if (!kept) return undefined;
  const found = await handlerOf(step, undoName(step.handler), context);
  const unchanged = found.kind === 'usable' && (await holds(context.disk, found.path, kept));
  return called(unchanged ? found.path : copy, step);
}

async function holds(disk: Disk, path: string, content: Uint8Array): Promise<boolean> {
  try {
    const found = await readFileBounded(disk, path, SCRIPT_BYTES_MAX);
    return found !== undefined && Buffer.compare(found, content) === 0;
  } catch {
    return false;
  }
}
