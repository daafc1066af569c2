import { join } from 'node:path';
import { z } from 'zod';
import type { Clock } from '../host/clock.ts';
import type { Disk } from '../host/disk.ts';
import type { Log } from '../host/log.ts';
import { readFileBounded, writeFileAtomic } from '../store/atomic-file.ts';
import type { Transport } from '../transport/port.ts';

/**
 * How soon a life of the agent may make its first connection. After a power cut a whole fleet boots in the same
 * second, and a fleet that crashes on connecting starts again in step: both must be spread out, or AWS throttles all
 * of them. A person who starts or restarts the agent of one device wants the link at once. What tells them apart is a
 * small file: the boot of the life before, and how many lives in a row crashed before their link had lasted. Two writes
 * a life, whatever the length of an outage: the count of attempts is not kept, for an outage ends no process.
 */
export interface Life {
  /** The first attempt is made at a moment drawn from now to this much later. */
  readonly connectWithinMs: number;
  /** The link has lasted, or this life ends as it should. */
  proved(): Promise<void>;
}

export interface LifeDeps {
  disk: Disk;
  stateDirectory: string;
  log: Log;
}

export interface LifeFacts {
  bootId: string;
  uptimeMs: number | undefined;
}

const fileSchema = z.object({
  format: z.literal(1),
  bootId: z.string(),
  unproved: z.number().int().min(0),
});
type LastLife = Pick<z.infer<typeof fileSchema>, 'bootId' | 'unproved'>;

const FILE = 'life.json';
const BYTES_MAX = 4096;
/** Who starts an agent later than this after the boot is a person. */
const BOOTING_MS = 600_000;
const FIRST_MS = 1000;
const DOUBLINGS_MAX = 30;

/** Notes that a life begins. A disk that takes no more words is no reason not to live. */
export async function beginLife(deps: LifeDeps, now: LifeFacts, spreadMs: number): Promise<Life> {
  const path = join(deps.stateDirectory, FILE);
  const last = await readLife(deps.disk, path);
  let unproved = (last?.unproved ?? 0) + 1;
  const write = async (): Promise<void> => {
    const text = JSON.stringify({ format: 1, bootId: now.bootId, unproved });
    await writeFileAtomic(deps.disk, path, Buffer.from(text)).catch((error: unknown) =>
      deps.log.warn({ path, error: String(error) }, 'cannot note this life'),
    );
  };
  await write();
  return {
    connectWithinMs: connectWithinMs(last, now, spreadMs),
    async proved() {
      if (unproved === 0) return;
      unproved = 0;
      await write();
    },
  };
}

/** Calls the life proved as soon as a link has lasted for `healthyMs`. */
export function watchLife(
  life: Life,
  transport: Pick<Transport, 'subscribe'>,
  clock: Pick<Clock, 'sleep'>,
  healthyMs: number,
): void {
  let lost = new AbortController();
  const stop = transport.subscribe({
    onUp() {
      lost = new AbortController();
      clock.sleep(healthyMs, lost.signal).then(
        () => {
          stop();
          void life.proved();
        },
        () => undefined,
      );
    },
    onDown: () => lost.abort(),
  });
}

export function connectWithinMs(last: LastLife | undefined, now: LifeFacts, spreadMs: number): number {
  // Installed just now, by somebody who looks at it.
  if (last === undefined) return 0;
  const booted = last.bootId !== now.bootId && now.uptimeMs !== undefined && now.uptimeMs < BOOTING_MS;
  if (booted) return spreadMs;
  // One life that was short is a restart by hand; from the second on it looks like a crash that comes back.
  if (last.unproved < 2) return 0;
  return Math.min(spreadMs, FIRST_MS * 2 ** Math.min(last.unproved - 1, DOUBLINGS_MAX));
}

/** None where there is no file, or none that can be read: it only ever delays. */
async function readLife(disk: Disk, path: string): Promise<LastLife | undefined> {
  try {
    const bytes = await readFileBounded(disk, path, BYTES_MAX);
    return bytes && fileSchema.parse(JSON.parse(Buffer.from(bytes).toString()));
  } catch {
    return undefined;
  }
}
