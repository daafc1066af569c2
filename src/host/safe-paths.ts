import { basename, dirname, join } from 'node:path';
import type { Disk, DiskDirectory } from './disk.ts';

/** The directory of an entry, opened without following a link anywhere, and the entry's name in it. */
export interface Place {
  directory: DiskDirectory;
  /** Reaches the entry through the opened directory, whatever becomes of the directory's own name. */
  path: string;
}

/** A component of the path is a link: nothing is done through it. */
export class UnsafePath extends Error {}

/** Opens the parent of `path`, component by component; `undefined` when a component is no directory. Close it after use. */
export async function openPlace(disk: Disk, path: string): Promise<Place | undefined> {
  let directory = await disk.openDirectory('/');
  let reached = '/';
  try {
    for (const name of dirname(path).split('/').filter(Boolean)) {
      reached = join(reached, name);
      const found = await disk.lstat(join(directory.path, name));
      if (found?.kind === 'link') throw new UnsafePath(`cannot use ${path}: ${reached} is a link`);
      if (found?.kind !== 'directory') {
        await directory.close();
        return undefined;
      }
      const inner = await disk.openDirectory(join(directory.path, name));
      await directory.close();
      directory = inner;
    }
    return { directory, path: join(directory.path, basename(path)) };
  } catch (error) {
    await directory.close();
    throw error;
  }
}

/**
 * Makes the directory and those above it where there are none, without going through a link; durable when it resolves.
 * One that is there is made durable too: a life that was killed may have made it and not come to its fsync.
 */
export async function makeDirectories(disk: Disk, path: string, mode: number): Promise<void> {
  const opened = [await disk.openDirectory('/')];
  try {
    let reached = '/';
    let known = 0;
    for (const name of path.split('/').filter(Boolean)) {
      const at = join(opened.at(-1)!.path, name);
      reached = join(reached, name);
      const found = await disk.lstat(at);
      if (found?.kind === 'link') throw new UnsafePath(`cannot use ${path}: ${reached} is a link`);
      if (found) known += 1;
      else await makeDirectory(disk, at, mode);
      opened.push(await disk.openDirectory(at));
    }
    for (const directory of opened.slice(Math.max(0, known - 1), -1)) await directory.sync();
  } finally {
    for (const directory of opened) await directory.close();
  }
}

/** Somebody else may be faster: what is there then is looked at when it is opened. */
async function makeDirectory(disk: Disk, path: string, mode: number): Promise<void> {
  await disk.mkdir(path, mode).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  });
}

/** Does `use` with the place of `path`; `undefined` when its directory is not there. */
export async function withPlace<T>(
  disk: Disk,
  path: string,
  use: (place: Place) => Promise<T>,
): Promise<T | undefined> {
  const place = await openPlace(disk, path);
  if (!place) return undefined;
  try {
    return await use(place);
  } finally {
    await place.directory.close();
  }
}
