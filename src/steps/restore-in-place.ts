import { constants } from 'node:fs';
import type { Disk } from '../host/disk.ts';
import { removeTree } from '../store/atomic-file.ts';

const CHUNK_BYTES = 256 * 1024;

/** Writes the image's bytes, mode, owner and attributes into the inode that is there; it keeps all of its names. Durable. */
export async function restoreInPlace(disk: Disk, image: string, path: string): Promise<void> {
  const source = await disk.openFile(image, constants.O_RDONLY);
  const target = await disk.openFile(path, constants.O_WRONLY);
  try {
    const old = await source.stat();
    const buffer = new Uint8Array(CHUNK_BYTES);
    for (let position = 0; position < old.sizeBytes; ) {
      const count = await source.read(buffer, position);
      if (count === 0) break;
      await target.write(buffer.subarray(0, count), position);
      position += count;
    }
    await target.truncate(old.sizeBytes);
    await disk.clearAttributes(path);
    await disk.copyAttributes(image, path);
    await target.sync();
  } finally {
    await source.close();
    await target.close();
  }
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
  if ((await disk.lstat(path))?.kind === 'directory' || !(await disk.lstat(inodeOf(image)))) return false;
  await restoreInPlace(disk, image, inodeOf(image));
  const name = `${image}-name`;
  await removeTree(disk, name);
  await disk.link(inodeOf(image), name);
  await disk.rename(name, path);
  return true;
}

function inodeOf(image: string): string {
  return `${image}-inode`;
}
