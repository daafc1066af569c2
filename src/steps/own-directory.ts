import { dirname, join } from 'node:path';
import { namesOf, type Plan } from '../document/plan.ts';
import type { DiskDirectory } from '../host/disk.ts';
import { UnsafePath, withPlace } from '../host/safe-paths.ts';
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

/** Our directory, opened; however its name changes, `path` reaches it. */
export interface Own {
  path: string;
  sync(): Promise<void>;
}

const FOR_US_ALONE = 0o700;
const FOR_OTHERS = 0o077;

/**
 * Does `use` with our directory for `path`; with `undefined` where it is not there and shall not be made. Throws where
 * somebody else has put something in its place: who may write beside the target could have.
 */
export async function withOwn<T>(
  path: string,
  { disk, ...context }: Pick<StepContext, 'homeOf' | 'key' | 'disk'>,
  { make }: { make: boolean },
  use: (own: Own | undefined) => Promise<T>,
): Promise<T> {
  const own = ownDirectory(path, context);
  const used = await withPlace(disk, own, async (place) => {
    const found = await disk.lstat(place.path);
    if (!found && !make) return { value: await use(undefined) };
    if (!found) await disk.mkdir(place.path, FOR_US_ALONE);
    const directory = await disk.openDirectory(place.path);
    try {
      await checkOurs(directory, own);
      if (make) await place.directory.sync();
      return { value: await use({ path: directory.path, sync: () => directory.sync() }) };
    } finally {
      await directory.close();
    }
  });
  if (!used) throw new Error(`${dirname(own)} is gone`);
  return used.value;
}

/** Likewise, where our directory is made when it is not there. */
export function withOwnMade<T>(
  path: string,
  context: Pick<StepContext, 'homeOf' | 'key' | 'disk'>,
  use: (own: Own) => Promise<T>,
): Promise<T> {
  return withOwn(path, context, { make: true }, (own) => {
    if (!own) throw new Error('internal error: our directory was not made');
    return use(own);
  });
}

async function checkOurs(directory: DiskDirectory, own: string): Promise<void> {
  const { uid, mode } = await directory.stat();
  const foreign = uid !== (process.geteuid?.() ?? uid) && uid !== 0;
  if (foreign || (mode & FOR_OTHERS) !== 0) throw new UnsafePath(`cannot use ${own}: it is not ours`);
}
