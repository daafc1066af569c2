import { unlink } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import type { Disk } from '../host/disk.ts';
import { ensureDirectory } from './atomic-file.ts';

/** The state directory has one owner: a bound Unix socket inside it. */
export interface StateLock {
  release(): Promise<void>;
}

const TMPFS_TYPE = 0x01021994;

/** Makes the directory where there is none; throws where journals in it would not outlive a power cut. */
export async function checkStateDirectory(disk: Disk, directory: string): Promise<void> {
  await ensureDirectory(disk, directory);
  const { type } = await disk.room(directory);
  if (type === TMPFS_TYPE) {
    throw new Error(
      `cannot keep state in ${directory}: it is on tmpfs, which a restart of the device empties`,
    );
  }
}

/** Throws when another agent holds it. The socket of a dead one is taken over. */
export async function acquireStateLock(disk: Disk, directory: string): Promise<StateLock> {
  // A Unix socket's path has 108 bytes; through /proc/self/fd it is short, however deep the directory lies.
  const opened = await disk.openDirectory(directory);
  const path = join(opened.path, 'agent.sock');
  if (await answers(path)) {
    await opened.close();
    throw new Error(`cannot use ${directory}: another agent is running on it`);
  }
  await unlink(path).catch(() => undefined);
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  server.unref();
  return {
    async release() {
      await new Promise((resolve) => server.close(resolve));
      await opened.close();
    },
  };
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
