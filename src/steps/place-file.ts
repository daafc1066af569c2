import { constants } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Disk, DiskFile } from '../host/disk.ts';
import { makeDirectories, withPlace } from '../host/safe-paths.ts';
import { findUser } from '../host/users.ts';
import { type Own, withOwnMade } from './own-directory.ts';
import { afterOf, discardPaths, preparePaths, surveyPaths, undoPaths } from './paths.ts';
import { settleManager } from './settle-manager.ts';
import type { StepContext, StepType } from './step.ts';

/** What all file steps share: everything but `do`. */
export const filePaths = {
  survey: surveyPaths,
  prepare: preparePaths,
  undo: (step, before, after, attempt, context) => undoPaths(step, before, after, attempt, context),
  settle: settleManager,
  discard: discardPaths,
} satisfies Omit<StepType, 'do'>;

export { afterOf };

const NEW_FILE_MODE = 0o644;

/**
 * Does `use` with our directory for `target`, where a rename can reach the target; directories above it are made. No
 * link is followed on the way: whoever may write there could have put one.
 */
export async function withStaging<T>(
  target: string,
  context: StepContext,
  use: (own: Own) => Promise<T>,
): Promise<T> {
  await makeDirectories(context.disk, dirname(target), 0o755);
  return withOwnMade(target, context, use);
}

/** Opens a staged file; what was staged before stays in it. */
export async function openStaged(disk: Disk, own: Own, name: string): Promise<StagedFile> {
  const path = join(own.path, name);
  return { path, file: await disk.openFile(path, constants.O_RDWR | constants.O_CREAT, 0o600) };
}

export interface StagedFile {
  path: string;
  file: DiskFile;
}

/** Gives a staged file the mode and owner it should have and puts it in its place; durable, with its content. */
export async function putInPlace(
  disk: Disk,
  own: Own,
  staged: string,
  { target, mode, runAsUser }: { target: string; mode?: number; runAsUser?: string },
): Promise<void> {
  const done = await withPlace(disk, target, async (place) => {
    const known = await disk.lstat(place.path);
    const before = known?.kind === 'file' ? known : undefined;
    const owner = before ?? (runAsUser === undefined ? undefined : await findUser(runAsUser));
    await finishStaged(disk, staged, mode ?? before?.mode ?? NEW_FILE_MODE, owner);
    await disk.rename(staged, place.path);
    await place.directory.sync();
    return true;
  });
  if (!done) throw new Error(`cannot write ${basename(target)}: its directory is gone`);
  await own.sync();
}

async function finishStaged(
  disk: Disk,
  staged: string,
  mode: number,
  owner: { uid: number; gid: number } | undefined,
): Promise<void> {
  const file = await disk.openFile(staged, constants.O_RDONLY);
  try {
    if (owner) await file.chown(owner.uid, owner.gid);
    await file.chmod(mode);
    // Behind both: a file that is renamed into its place with an unsynced mode may come back with another one.
    await file.sync();
  } finally {
    await file.close();
  }
}
