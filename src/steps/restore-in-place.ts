import { constants } from 'node:fs';
import type { Disk } from '../host/disk.ts';

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
