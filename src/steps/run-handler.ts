import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import type { RunHandlerStep } from '../document/plan.ts';
import { runProgram, undoProgram, userProblems } from './command.ts';
import { discardPaths, preparePaths, surveyPaths } from './paths.ts';
import type { StepContext, StepType } from './step.ts';

const WRITABLE_BY_OTHERS = 0o022;

/** A site's own script: the user's name first, then the document's arguments, as AWS IoT Device Client calls it. */
export const runHandler: StepType<RunHandlerStep> = {
  async survey(step, context) {
    const survey = await surveyPaths(step, context);
    const found = await handlerPath(step, step.handler, context);
    const missing = found.ok ? [] : [{ kind: 'never' as const, path: step.path, reason: found.reason }];
    const problems = [...survey.problems, ...missing, ...(await userProblems(step))];
    return { ...survey, grade: (await hasUndo(step, context)) ? step.grade : 'none', problems };
  },
  prepare: preparePaths,
  async do(step, before, attempt, context, signal) {
    const found = await handlerPath(step, step.handler, context);
    if (!found.ok) return { result: 'failed', reason: found.reason };
    return await runProgram(step, [found.path, ...argumentsOf(step)], before, attempt, context, signal);
  },
  async undo(step, before, after, attempt, context, signal) {
    const sibling = await handlerPath(step, undoName(step.handler), context);
    const argv = step.undo ?? (sibling.ok ? [sibling.path, ...argumentsOf(step)] : undefined);
    return await undoProgram(step, argv, before, after, attempt, context, signal);
  },
  discard: (_step, before, context) => discardPaths(before, context),
};

function argumentsOf({ runAsUser, args }: RunHandlerStep): string[] {
  return [runAsUser ?? '', ...args];
}

/** `install.sh` is undone by `install.undo.sh`. */
function undoName(handler: string): string {
  return handler.endsWith('.sh') ? `${handler.slice(0, -'.sh'.length)}.undo.sh` : `${handler}.undo.sh`;
}

async function hasUndo(step: RunHandlerStep, context: StepContext): Promise<boolean> {
  if (step.undo || step.touches.length > 0) return true;
  return (await handlerPath(step, undoName(step.handler), context)).ok;
}

/** The script, if it is one that only its owner could have put there, and lies in the directory it is looked for in. */
async function handlerPath(
  step: RunHandlerStep,
  name: string,
  { disk, settings }: StepContext,
): Promise<{ ok: true; path: string } | { ok: false; reason: string }> {
  const directory = step.directory ?? settings.handlerDirectory;
  const path = join(directory, name);
  try {
    const home = await realpath(directory);
    const real = await realpath(path);
    if (!real.startsWith(`${home}/`)) return { ok: false, reason: `${path} leads out of ${directory}` };
    for (const checked of [home, real]) {
      const stat = await disk.lstat(checked);
      const owned = stat && (stat.uid === 0 || stat.uid === process.getuid?.());
      if (!owned || (stat.mode & WRITABLE_BY_OTHERS) !== 0) {
        return {
          ok: false,
          reason: `${checked} must belong to root or the agent, and be writable by nobody else`,
        };
      }
    }
    return { ok: true, path: real };
  } catch {
    return { ok: false, reason: `there is no handler ${path}` };
  }
}
