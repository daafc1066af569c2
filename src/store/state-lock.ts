import { chmod, unlink } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Disk } from '../host/disk.ts';
import { ensureDirectory } from './atomic-file.ts';

/** The state directory has one owner: a bound Unix socket inside it. Others talk to the owner through it. */
export interface StateLock {
  release(): Promise<void>;
}

export const TMPFS_TYPE = 0x01021994;
const SOCKET = 'agent.sock';

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

/**
 * Throws when another agent holds it. The socket of a dead one is taken over. `serve` gets each connection; one that
 * comes only to see whether somebody is there closes at once.
 */
export async function acquireStateLock(
  disk: Disk,
  directory: string,
  serve: (socket: Socket) => void = (socket) => socket.destroy(),
): Promise<StateLock> {
  // A Unix socket's path has 108 bytes; through /proc/self/fd it is short, however deep the directory lies.
  const opened = await disk.openDirectory(directory);
  const path = join(opened.path, SOCKET);
  if (await answers(path)) {
    await opened.close();
    throw new Error(`cannot use ${directory}: another agent is running on it`);
  }
  const close = await listenOn(path, serve);
  // The directory is the owner's alone; this holds where somebody has opened it up.
  await chmod(path, 0o600);
  return {
    async release() {
      await close();
      await opened.close();
    },
  };
}

/** Listens on a path where nobody answers; neither server nor connections keep the process alive. */
export async function listenOn(path: string, serve: (socket: Socket) => void): Promise<() => Promise<void>> {
  await unlink(path).catch(() => undefined);
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
    socket.unref();
    serve(socket);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  server.unref();
  return async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of open) socket.destroy();
    await closed;
  };
}

/** A connection to the agent that owns the directory; `undefined` where none does. Throws where it may not be asked. */
export async function connectToOwner(disk: Disk, directory: string): Promise<Socket | undefined> {
  const opened = await disk.openDirectory(directory);
  try {
    return await new Promise((resolve, reject) => {
      const socket = connect(join(opened.path, SOCKET), () => resolve(socket));
      socket.once('error', (error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') resolve(undefined);
        else reject(error);
      });
    });
  } finally {
    await opened.close();
  }
}

/** Whether somebody listens there. */
export function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
