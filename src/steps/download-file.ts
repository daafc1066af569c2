import type { DownloadFileStep } from '../document/plan.ts';
import { within } from '../host/within.ts';
import { DownloadFailed, fetchAll } from './fetch-file.ts';
import type { Own } from './own-directory.ts';
import { existingParent } from './paths.ts';
import { afterOf, filePaths, openStaged, putInPlace, withStaging } from './place-file.ts';
import type { StepContext, StepType } from './step.ts';

/** Fetches a file beside its target, resumes by Range, checks size and SHA-256, and only then renames. */
export const downloadFile: StepType<DownloadFileStep> = {
  ...filePaths,
  async survey(step, context) {
    const survey = await filePaths.survey(step, context);
    const room = { path: await existingParent(context.disk, step.target), bytes: step.sizeBytes ?? 0 };
    return { ...survey, diskNeed: [...survey.diskNeed, room] };
  },
  async do(step, before, _attempt, context, signal) {
    try {
      const limitMs = step.timeoutSeconds * 1000;
      await withStaging(step.target, context, async (own) => {
        const staged = await within(limitMs, context.clock, signal, (both) =>
          stage(step, own, context, both),
        );
        await putInPlace(context.disk, own, staged, step);
      });
      return { result: 'ok', after: await afterOf(before, context) };
    } catch (error) {
      if (signal.aborted) return { result: 'interrupted', reason: (signal.reason as Error).message };
      if (error instanceof DownloadFailed) return { result: 'failed', reason: error.message };
      throw error;
    }
  },
};

/** Fetches into a file beside the target; its bytes are whole, checked and durable when this resolves. */
async function stage(
  step: DownloadFileStep,
  own: Own,
  context: StepContext,
  signal: AbortSignal,
): Promise<string> {
  const staged = await openStaged(context.disk, own, `${step.index}-staged`);
  try {
    await fetchAll(step, staged.file, context, signal);
    await staged.file.sync();
    return staged.path;
  } finally {
    await staged.file.close();
  }
}
