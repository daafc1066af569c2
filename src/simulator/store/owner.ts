import { unlink } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { relative } from 'node:path';

/**
 * One simulator at a time owns a data directory: it listens on a Unix socket there. A socket on which nobody listens
 * was left behind by a process that died, and is taken over.
 */
export async function own(path: string): Promise<{ release(): Promise<void> }> {
  // A socket's path has 107 bytes at most.
  const short = relative(process.cwd(), path);
  const address = short.length < path.length ? short : path;
  for (let attempt = 0; attempt < 3; attempt += 1) {
    const server = await listening(address);
    if (server) {
      server.unref();
      return { release: () => new Promise((resolve) => server.close(() => resolve())) };
    }
    if (await isAlive(address)) break;
    await unlink(address).catch(() => undefined);
  }
  throw new Error(`cannot open ${path}: another simulator uses this directory`);
}

/** `undefined` when the socket is there already. */
function listening(address: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(undefined);
      else reject(new Error(`cannot listen on ${address}: ${error.message}`, { cause: error }));
    });
    server.listen(address, () => resolve(server));
  });
}

function isAlive(address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(address);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
