import { namesOf, type PlanStep, type StockHandler } from '../document/plan.ts';
import { type Program, runProgram } from './command.ts';
import { findHandler, type Handler } from './handler-file.ts';
import { observe } from './observe.ts';
import { packageFiles } from './packages/files.ts';
import type { Attempt, Before, DoOutcome, StepContext, StepType } from './step.ts';

/**
 * A stock handler that the site has changed: its script does the work as the site wrote it, and what the step would
 * have touched has a before-image around it. What else the script may do nobody has declared.
 */
export function wrapped(type: StepType): StepType {
  const own: StepType = {
    ...type,
    async survey(step, context) {
      const survey = await type.survey(step, context);
      const found = await scriptOf(step, context);
      const problems =
        found.kind === 'usable' ? [] : [{ kind: 'never' as const, path: step.path, reason: found.reason }];
      return {
        ...survey,
        problems: [...survey.problems, ...problems],
        notes: [...(survey.notes ?? []), `runs the site's own ${stockOf(step).handler}`],
      };
    },
    // What is deferred behind the commit stays so.
    do: (step, before, attempt, context, signal) =>
      step.finishEndsBoot
        ? type.do(step, before, attempt, context, signal)
        : runScript(step, before, attempt, context, signal),
  };
  if (type.finish === undefined) return own;
  return {
    ...own,
    async finish(step, before, context) {
      if (!step.finishEndsBoot) return { result: 'ok', kept: [] };
      const { signal } = new AbortController();
      const attempt: Attempt = { number: 1, record: () => Promise.resolve() };
      const done = await runScript(step, before, attempt, context, signal);
      return done.result === 'ok' ? { result: 'ok', kept: [] } : { result: 'failed', reason: done.reason };
    },
  };
}

async function runScript(
  step: PlanStep,
  before: Before,
  attempt: Attempt,
  context: StepContext,
  signal: AbortSignal,
): Promise<DoOutcome> {
  const found = await scriptOf(step, context);
  if (found.kind !== 'usable') return { result: 'failed', reason: found.reason };
  const { args, stderrLinesMax } = stockOf(step);
  const program: Program = {
    argv: [found.path, step.runAsUser ?? '', ...args],
    user: undefined,
    // It has dpkg in it, which is not interrupted.
    ...('packages' in step && { unbrokenOutput: packageFiles(step.index, context).output }),
  };
  // Also a site's script has dpkg's own time.
  const timeoutSeconds = Math.max(
    step.timeoutSeconds,
    'packages' in step ? (context.settings.dpkgWaitMs ?? 0) / 1000 : 0,
  );
  const limited = { ...step, timeoutSeconds, ...(stderrLinesMax !== undefined && { stderrLinesMax }) };
  const done = await runProgram(limited, program, before, attempt, context, signal);
  if (done.result !== 'ok') return done;
  if (step.endsBoot) return await bootEnds(step, context, signal);
  const paths = new Set(
    namesOf(
      'path',
      before.resources.map(({ id }) => id),
    ).map((path) => `path:${path}`),
  );
  const others = before.resources.map(({ id }) => id).filter((id) => !paths.has(id));
  const seen = [...(await observe(others, context))].map(([id, fingerprint]) => ({ id, fingerprint }));
  return { ...done, after: { ...done.after, resources: [...done.after.resources, ...seen] } };
}

/** The script has asked for it; the agent that comes after finds it done. */
async function bootEnds(
  { timeoutSeconds }: PlanStep,
  { clock }: StepContext,
  signal: AbortSignal,
): Promise<DoOutcome> {
  await clock.sleep(timeoutSeconds * 1000, signal).catch(() => undefined);
  return signal.aborted
    ? { result: 'interrupted', reason: (signal.reason as Error | undefined)?.message ?? 'stopped' }
    : { result: 'failed', reason: `the device has not restarted within ${timeoutSeconds} s` };
}

function scriptOf(step: PlanStep, { disk, settings }: StepContext): Promise<Handler> {
  const { directory, handler } = stockOf(step);
  return findHandler(disk, directory ?? settings.handlerDirectory, handler);
}

function stockOf({ stock, index }: PlanStep): StockHandler {
  if (!stock) throw new Error(`internal error: step ${index} is wrapped, and names no handler`);
  return stock;
}
