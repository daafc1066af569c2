import type { WriteFileStep } from '../document/plan.ts';
import { afterOf, filePaths, openStaged, putInPlace } from './place-file.ts';
import type { StepType } from './step.ts';

/** Replaces a file's content as a whole; mode and owner stay unless the document gives a mode. */
export const writeFile: StepType<WriteFileStep> = {
  ...filePaths,
  async do(step, before, _attempt, context) {
    const staged = await openStaged(step.target, `${step.index}-staged`, context);
    try {
      await staged.file.truncate(0);
      await staged.file.write(Buffer.from(step.contentBase64, 'base64'), 0);
    } finally {
      await staged.file.close();
    }
    await putInPlace(context.disk, staged.path, step.target, step.mode, undefined);
    return { result: 'ok', after: await afterOf(before, context) };
  },
};
