import { join } from 'node:path';
import type { SwitchLinkStep } from '../document/plan.ts';
import { withPlace } from '../host/safe-paths.ts';
import { removeTree } from '../store/atomic-file.ts';
import { afterOf, filePaths, withStaging } from './place-file.ts';
import type { StepContext, StepType } from './step.ts';

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
    await placeLink(step.index, step.link, step.target, context);
    return { result: 'ok', after: await afterOf(before, context) };
  },
};

/** The link is made beside its place and renamed over what is there; durable. */
export async function placeLink(
  index: number,
  link: string,
  target: string,
  context: StepContext,
): Promise<void> {
  const { disk } = context;
  await withStaging(link, context, async (own) => {
    const staged = join(own.path, `${index}-link`);
    await removeTree(disk, staged);
    await disk.symlink(target, staged);
    await withPlace(disk, link, async (place) => {
      await disk.rename(staged, place.path);
      await place.directory.sync();
    });
  });
}
