import { dirname, join } from 'node:path';
import { namesOf, type Plan } from '../document/plan.ts';
import type { Disk, DiskDirectory } from '../host/disk.ts';
import { withPlace } from '../host/safe-paths.ts';
import { OWN_PREFIX } from './fingerprint.ts';
import type { StepContext } from './step.ts';

/**
 * Images and staged files of one execution lie in a directory of ours on the target's own file system (design section
 * 7): beside the outermost path of the plan that holds the target, so that no step takes it away with a tree.
 */

/** For each path that the plan touches, the directory that ours lies in. */
export function homesOf(plan: Pick<Plan, 'steps'>): (path: string) => string {
  const outermost = outermostOf(plan);
  return (path) => dirname(outermost(path));
}

/** For each path that the plan touches, the outermost one that holds it: itself, where no step touches one above it. */
export function outermostOf(plan: Pick<Plan, 'steps'>): (path: string) => string {
  const paths = [...new Set(plan.steps.flatMap(({ touches }) => namesOf('path', touches)))];
  return (path) => paths.reduce((outermost, other) => (holds(other, outermost) ? other : outermost), path);
}

/** `inner` lies somewhere below `outer`. */
export function holds(outer: string, inner: string): boolean {
  return inner.startsWith(`${outer}/`);
}

/** Absolute path of a `path:` resource. */
export function pathOf(id: string): string {
  return id.slice('path:'.length);
}

/** Our directory for `path`, by name. */
export function ownDirectory(path: string, { homeOf, key }: Pick<StepContext, 'homeOf' | 'key'>): string {
  return join(homeOf(path), `${OWN_PREFIX}${key}`);
}

/** Something above `path` is touched by the job too: an undo may put another directory there. */
export function isInside(path: string, { homeOf }: Pick<StepContext, 'homeOf'>): boolean {
  return homeOf(path) !== dirname(path);
}

/** Our directory, reached without following a link; `home` is the opened directory that it lies in. */
export interface Own {
  path: string;
  home: DiskDirectory;
}

/** Does `use` with our directory for `path`, whether it is there or not. Throws where its home is gone. */
export async function withOwn<T>(
  disk: Disk,
  path: string,
  context: Pick<StepContext, 'homeOf' | 'key'>,
  use: (own: Own) => Promise<T>,
): Promise<T> {
  const own = ownDirectory(path, context);
  const used = await withPlace(disk, own, async (place) => ({
    value: await use({ path: place.path, home: place.directory }),
  }));
  if (!used) throw new Error(`${dirname(own)} is gone`);
  return used.value;
}
