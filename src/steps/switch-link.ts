import { join } from 'node:path';
import type { SwitchLinkStep } from '../document/plan.ts';
import { withPlace } from '../host/safe-paths.ts';
import { removeTree } from '../store/atomic-file.ts';
import { afterOf, filePaths, withStaging } from './place-file.ts';
import type { StepType } from './step.ts';

/** Points a symbolic link somewhere else in one rename: the switch between releases. */
export const switchLink: StepType<SwitchLinkStep> = {
  ...filePaths,
  async survey(step, context) {
    const survey = await filePaths.survey(step, context);
    const found = await context.disk.lstat(step.link);
    if (!found || found.kind === 'link') return survey;
    const reason = `${step.link} is a ${found.kind}, not a link`;
    return { ...survey, problems: [...survey.problems, { kind: 'never', path: step.path, reason }] };
  },
  async do(step, before, _attempt, context) {
    const { disk } = context;
    await withStaging(step.link, context, async (own) => {
      const staged = join(own.path, `${step.index}-staged`);
      await removeTree(disk, staged);
      await disk.symlink(step.target, staged);
      await withPlace(disk, step.link, async (place) => {
        await disk.rename(staged, place.path);
        await place.directory.sync();
      });
    });
    return { result: 'ok', after: await afterOf(before, context) };
  },
};
