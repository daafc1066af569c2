import type { RemoveFileStep } from '../document/plan.ts';
import { withPlace } from '../host/safe-paths.ts';
import { removeTree } from '../store/atomic-file.ts';
import { afterOf, filePaths } from './place-file.ts';
import type { StepType } from './step.ts';

/** Removes a file, a link, or a directory with all that is in it. Nothing there is fine. */
export const removeFile: StepType<RemoveFileStep> = {
  ...filePaths,
  async do(step, before, _attempt, context) {
    await withPlace(context.disk, step.target, async (place) => {
      await removeTree(context.disk, place.path);
      await place.directory.sync();
    });
    return { result: 'ok', after: await afterOf(before, context) };
  },
};
