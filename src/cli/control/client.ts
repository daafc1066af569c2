import type { Clock } from '../../host/clock.ts';
import type { Disk } from '../../host/disk.ts';
import { within } from '../../host/within.ts';
import { connectToOwner } from '../../store/state-lock.ts';
import { ANSWER_BYTES_MAX, type Answer, type Request, readLine } from './protocol.ts';

export interface AskDeps {
  disk: Disk;
  clock: Pick<Clock, 'sleep'>;
}

const ASK_LIMIT_MS = 60_000;

/**
 * Asks the agent that runs on a state directory; `undefined` when none does. Throws when one is there and does not
 * answer: a hanging process, or another program.
 */
export async function askAgent<T>(
  stateDirectory: string,
  request: Request,
  { disk, clock }: AskDeps,
  limitMs = ASK_LIMIT_MS,
): Promise<Answer<T> | undefined> {
  if (!(await disk.lstat(stateDirectory))) return undefined;
  const socket = await connectToOwner(disk, stateDirectory);
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
