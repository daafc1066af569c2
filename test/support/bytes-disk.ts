import type { Disk, DiskFile } from '../../src/host/disk.ts';

/** A disk that holds one file, of these bytes, and can only be read: for reading tens of thousands of damaged ones. */
export function bytesAsDisk(bytes: Uint8Array): Disk {
  const file = {
    read: (buffer: Uint8Array, position: number) => {
      const part = bytes.subarray(position, position + buffer.length);
      buffer.set(part);
      return Promise.resolve(part.length);
    },
    stat: () => Promise.resolve({ sizeBytes: bytes.length }),
    close: () => Promise.resolve(),
  } as unknown as DiskFile;
  return { openFile: () => Promise.resolve(file) } as unknown as Disk;
}
