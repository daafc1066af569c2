import { constants } from 'node:fs';
import type { Disk, DiskFile, DiskStat } from '../host/disk.ts';
import { removeTree } from '../store/atomic-file.ts';

const CHUNK_BYTES = 256 * 1024;

/**
 * Writes the image's bytes, mode, owner, times and attributes into the inode that is there; it keeps all of its names. Durable.
 * `known` is what was found there: another file, put there meanwhile, is not written to.
 */
export async function restoreInPlace(
  disk: Disk,
  image: string,
  path: string,
  known: Pick<DiskStat, 'dev' | 'ino'>,
): Promise<void> {
  const source = await disk.openFile(image, constants.O_RDONLY);
  try {
    const target = await disk.openFile(path, constants.O_WRONLY | constants.O_NONBLOCK);
    try {
      const { dev, ino } = await target.stat();
      if (dev !== known.dev || ino !== known.ino) throw new Error('it is being changed');
      const old = await source.stat();
      await copyBytes(source, target, old.sizeBytes);
      await disk.clearAttributes(path);
      await disk.copyAttributes(image, path);
      await disk.lutimes(path, old.atimeMs, old.mtimeMs);
      await target.sync();
    } finally {
      await target.close();
    }
  } finally {
    await source.close();
  }
}

async function copyBytes(source: DiskFile, target: DiskFile, sizeBytes: number): Promise<void> {
  const buffer = new Uint8Array(CHUNK_BYTES);
  for (let position = 0; position < sizeBytes; ) {
    const count = await source.read(buffer, position);
    if (count === 0) break;
    await target.write(buffer.subarray(0, count), position);
    position += count;
  }
  await target.truncate(sizeBytes);
}

/**
 * Keeps a name of a hard-linked file's inode beside its image: when a step puts another file under its name, its other
 * names are out of reach otherwise. Where the kernel does not let us (fs.protected_hardlinks), only the content is kept.
 */
export async function keepInode(disk: Disk, path: string, image: string): Promise<void> {
  await removeTree(disk, inodeOf(image));
  await disk.link(path, inodeOf(image)).catch((error: unknown) => {
    if (!['EPERM', 'EMLINK'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  });
}

/** Puts the content back into the inode that was kept, and its name back in its place; false where none was kept. */
export async function restoreInode(disk: Disk, image: string, path: string): Promise<boolean> {
  const kept = await disk.lstat(inodeOf(image));
  if ((await disk.lstat(path))?.kind === 'directory' || kept?.kind !== 'file') return false;
  await restoreInPlace(disk, image, inodeOf(image), kept);
  const name = `${image}-name`;
  await removeTree(disk, name);
  await disk.link(inodeOf(image), name);
  await disk.rename(name, path);
  return true;
}

function inodeOf(image: string): string {
  return `${image}-inode`;
}
