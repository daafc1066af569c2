import type { WriteFileStep } from '../document/plan.ts';
import { afterOf, filePaths, openStaged, putInPlace, withStaging } from './place-file.ts';
import type { StepType } from './step.ts';

/** Replaces a file's content as a whole; mode and owner stay unless the document gives a mode. */
export const writeFile: StepType<WriteFileStep> = {
  ...filePaths,
  async do(step, before, _attempt, context) {
    await withStaging(step.target, context, async (own) => {
      const staged = await openStaged(context.disk, own, `${step.index}-staged`);
      try {
        await staged.file.truncate(0);
        await staged.file.write(Buffer.from(step.contentBase64, 'base64'), 0);
      } finally {
        await staged.file.close();
      }
      await putInPlace(context.disk, own, staged.path, step);
    });
    return { result: 'ok', after: await afterOf(before, context) };
  },
};
