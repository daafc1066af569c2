import { chmod, chown, lstat, mkdir } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { findGroup } from '../../host/users.ts';
import { answers, listenOn } from '../../store/state-lock.ts';

/**
 * The second socket, for those who may ask and not act. Node cannot tell who is at the other end of a Unix socket (it
 * has no SO_PEERCRED), so there are two, and the kernel decides by their modes who gets to which: the one in the state
 * directory is its owner's alone, this one may be written to by the members of a group. It stands outside the state
 * directory, where they may not enter.
 */
export interface ReadersSettings {
  group: string;
  directory: string;
}

export interface ReadSocketDeps {
  log: { info(fields: object, message: string): void; warn(fields: object, message: string): void };
  groupOf?: (name: string) => Promise<number | undefined>;
}

const SOCKET = 'read.sock';
const OTHERS_MAY_WRITE = 0o022;

/** Serves the group; what stands in its way is logged, and no reason for the agent not to run. Resolves to its end. */
export async function openReadSocket(
  { group, directory }: ReadersSettings,
  serve: (socket: Socket) => void,
  { log, groupOf = findGroup }: ReadSocketDeps,
): Promise<() => Promise<void>> {
  const path = join(directory, SOCKET);
  try {
    const gid = await groupOf(group);
    if (gid === undefined) return () => Promise.resolve();
    await ownDirectory(directory, gid);
    if (await answers(path)) throw new Error('another agent listens there');
    const close = await listenOn(path, serve);
    // Until here the umask kept others out, and their directory did.
    await chown(path, process.geteuid?.() ?? 0, gid);
    await chmod(path, 0o660);
    log.info({ path, group }, 'the group may ask');
    return close;
  } catch (error) {
    log.warn({ path, group, error: (error as Error).message }, 'cannot serve the group');
    return () => Promise.resolve();
  }
}

/** A socket in a directory where others can rename could be anybody's. */
async function ownDirectory(directory: string, gid: number): Promise<void> {
  await mkdir(directory, { mode: 0o750 }).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  });
  const stat = await lstat(directory);
  const isOwn = stat.isDirectory() && stat.uid === process.geteuid?.();
  if (!isOwn || (stat.mode & OTHERS_MAY_WRITE) !== 0) {
    throw new Error(`${directory} must be a directory of the agent's user, which nobody else can write to`);
  }
  await chown(directory, stat.uid, gid);
  await chmod(directory, 0o750);
}

/** A connection as a member of the group; `undefined` where nobody listens, or we are none. */
export function connectToReaders({ directory }: ReadersSettings): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = connect(join(directory, SOCKET), () => resolve(socket));
    socket.once('error', () => resolve(undefined));
  });
}
