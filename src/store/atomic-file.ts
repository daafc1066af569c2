import { constants } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Disk } from '../host/disk.ts';

const NEW_FILE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL;
const TREE_DEPTH_MAX = 64;

/** Ends in this: not finished, and removed on the next start. */
export const LEFTOVER_SUFFIX = '.new';

/** Replaces a file as a whole: after a crash there is the old one or the new one. Durable when it resolves. */
export async function writeFileAtomic(
  disk: Disk,
  path: string,
  bytes: Uint8Array,
  mode = 0o600,
): Promise<void> {
  const staged = join(dirname(path), `${basename(path)}${LEFTOVER_SUFFIX}`);
  if (await disk.lstat(staged)) await disk.unlink(staged);
  const file = await disk.openFile(staged, NEW_FILE, mode);
  try {
    await file.write(bytes, 0);
    await file.sync();
  } finally {
    await file.close();
  }
  await disk.rename(staged, path);
  await syncDirectory(disk, dirname(path));
}

/** The content of a file; `undefined` where none is. Throws when it is longer than `bytesMax`. */
export async function readFileBounded(
  disk: Disk,
  path: string,
  bytesMax: number,
): Promise<Uint8Array | undefined> {
  const found = await disk.lstat(path);
  if (!found) return undefined;
  if (found.kind !== 'file') throw new Error(`cannot read ${path}: it is a ${found.kind}`);
  if (found.sizeBytes > bytesMax) throw new Error(`cannot read ${path}: it is longer than ${bytesMax} bytes`);
  const file = await disk.openFile(path, constants.O_RDONLY);
  try {
    const bytes = new Uint8Array(found.sizeBytes);
    let read = 0;
    while (read < bytes.length) {
      const count = await file.read(bytes.subarray(read), read);
      if (count === 0) break;
      read += count;
    }
    return bytes.subarray(0, read);
  } finally {
    await file.close();
  }
}

/**
 * Makes a directory, and those above it, where there is none; durable when it resolves. One that is there is made
 * durable too: a life that was killed may have made it and not come to its fsync.
 */
export async function ensureDirectory(disk: Disk, path: string, mode = 0o700): Promise<void> {
  if (!(await disk.lstat(path))) {
    await ensureDirectory(disk, dirname(path), mode);
    await disk.mkdir(path, mode).catch((error: unknown) => {
      // Somebody else was faster, the agent itself perhaps while a command looks.
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    });
  }
  // `/.`: the directory above may be reached by a link, as a state directory of systemd's DynamicUser is.
  await syncDirectory(disk, `${dirname(path)}/.`).catch((error: unknown) => {
    // What we may not open is not where we make directories.
    if ((error as NodeJS.ErrnoException).code !== 'EACCES') throw error;
  });
}

/** Removes an entry with all below it; links are removed, never followed. Nothing to remove is fine. */
export async function removeTree(disk: Disk, path: string, depth = 0): Promise<void> {
  if (depth > TREE_DEPTH_MAX)
    throw new Error(`cannot remove ${path}: deeper than ${TREE_DEPTH_MAX} directories`);
  const found = await disk.lstat(path);
  if (!found) return;
  if (found.kind !== 'directory') {
    await disk.unlink(path);
    return;
  }
  // Opened without following: what somebody puts a link in its place meanwhile is not gone into.
  const directory = await disk.openDirectory(path);
  try {
    for (const name of await disk.readDirectory(directory.path)) {
      await removeTree(disk, join(directory.path, name), depth + 1);
    }
  } finally {
    await directory.close();
  }
  await disk.rmdir(path);
}

/** fsync of a directory: what was created, renamed or removed in it is durable. */
export async function syncDirectory(disk: Disk, path: string): Promise<void> {
  const directory = await disk.openDirectory(path);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
