import type { Socket } from 'node:net';
import type { Clock } from '../../host/clock.ts';
import type { Disk } from '../../host/disk.ts';
import { within } from '../../host/within.ts';
import { connectToOwner } from '../../store/state-lock.ts';
import { ANSWER_BYTES_MAX, type Answer, type Request, readLine } from './protocol.ts';
import { connectToReaders, type ReadersSettings } from './read-socket.ts';

export interface AskDeps {
  disk: Disk;
  clock: Pick<Clock, 'sleep'>;
  /** `control` of the configuration: where those ask who may not enter the state directory. */
  readers?: ReadersSettings;
}

const ASK_LIMIT_MS = 60_000;

/**
 * Asks the agent that runs on a state directory; `undefined` when none does. Throws when one is there and does not
 * answer: a hanging process, or another program.
 */
export async function askAgent<T>(
  stateDirectory: string,
  request: Request,
  { disk, clock, readers }: AskDeps,
  limitMs = ASK_LIMIT_MS,
): Promise<Answer<T> | undefined> {
  const socket = await connectTo(stateDirectory, disk, readers);
  if (!socket) return undefined;
  socket.on('error', () => undefined);
  try {
    socket.write(`${JSON.stringify(request)}\n`);
    const line = await within(limitMs, clock, new AbortController().signal, (signal) => {
      signal.addEventListener('abort', () => socket.destroy(), { once: true });
      return readLine(socket, ANSWER_BYTES_MAX);
    });
    if (line === undefined) throw new Error('it does not answer');
    return JSON.parse(line) as Answer<T>;
  } catch (error) {
    throw new Error(`cannot ask the agent of ${stateDirectory}: ${(error as Error).message}`, {
      cause: error,
    });
  } finally {
    socket.destroy();
  }
}

async function connectTo(
  stateDirectory: string,
  disk: Disk,
  readers: ReadersSettings | undefined,
): Promise<Socket | undefined> {
  try {
    return (await disk.lstat(stateDirectory)) && (await connectToOwner(disk, stateDirectory));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const isForbidden = code === 'EACCES' || code === 'EPERM';
    const socket = isForbidden && readers ? await connectToReaders(readers) : undefined;
    if (socket) return socket;
    const hint = isForbidden && readers ? `; become root, or a member of the group ${readers.group}` : '';
    throw new Error(`cannot ask the agent of ${stateDirectory}: ${message}${hint}`, { cause: error });
  }
}
