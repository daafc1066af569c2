import { join } from 'node:path';
import { z } from 'zod';
import type { Clock } from '../host/clock.ts';
import type { Disk } from '../host/disk.ts';
import type { Log } from '../host/log.ts';
import { readFileBounded, syncDirectory, writeFileAtomic } from '../store/atomic-file.ts';

/**
 * A local application is busy: until it says otherwise, or the time that it asked for is over, no job is begun, and
 * with `steps` no step either. Kept in a file. No wall clock decides when it ends (A11): within one boot the kernel's
 * uptime counts on over restarts of the agent. Over a restart of the device nobody knows how long it was off, so what
 * is left is noted every tenth of the time, and each restart costs another tenth: an inhibition always ends.
 */
export interface Inhibition {
  reason: string;
  steps: boolean;
  /** Wall clock, for people. */
  since: number;
  leftMs: number;
}

export interface InhibitorDeps {
  disk: Disk;
  clock: Pick<Clock, 'monotonicMs' | 'wallMs' | 'sleep'>;
  log: Log;
  stateDirectory: string;
  bootId: string;
  /** Of the boot; `undefined` where the kernel hides it. */
  uptimeMs(): Promise<number | undefined>;
  onChange(inhibition: Inhibition | undefined): void;
}

export const INHIBIT_MS_MAX = 7 * 86_400_000;
export const INHIBIT_REASON_CHARS_MAX = 200;

const fileSchema = z.object({
  format: z.literal(1),
  reason: z.string(),
  steps: z.boolean(),
  since: z.number(),
  totalMs: z.number().min(0).max(INHIBIT_MS_MAX),
  leftMs: z.number().min(0).max(INHIBIT_MS_MAX),
  /** When `leftMs` was true. */
  bootId: z.string(),
  uptimeMs: z.number().optional(),
});
type Noted = z.infer<typeof fileSchema>;

const FILE = 'inhibit.json';
const BYTES_MAX = 16 * 1024;
const SHARES = 10;

export class Inhibitor {
  readonly #deps: InhibitorDeps;
  readonly #path: string;
  #noted: Noted | undefined;
  #endsAtMs = 0;
  #timer = new AbortController();
  #last: Promise<unknown> = Promise.resolve();

  constructor(deps: InhibitorDeps) {
    this.#deps = deps;
    this.#path = join(deps.stateDirectory, FILE);
  }

  get current(): Inhibition | undefined {
    const leftMs = this.#leftMs();
    if (!this.#noted || leftMs <= 0) return undefined;
    const { reason, steps, since } = this.#noted;
    return { reason, steps, since, leftMs };
  }

  /** What an earlier life has left. */
  async load(): Promise<void> {
    const noted = await this.#read();
    if (!noted) return;
    const leftMs = await this.#leftOver(noted);
    if (leftMs > 0) await this.#begin(noted, leftMs);
    else await this.#remove();
  }

  /** Durable when it resolves; takes the place of the one before. */
  set({ reason, steps, forMs }: { reason: string; steps: boolean; forMs: number }): Promise<Inhibition> {
    return this.#exclusive(async () => {
      const { clock, bootId } = this.#deps;
      const since = clock.wallMs();
      await this.#begin({ format: 1, reason, steps, since, totalMs: forMs, leftMs: forMs, bootId }, forMs);
      return { reason, steps, since, leftMs: forMs };
    });
  }

  /** False when there was none. */
  lift(): Promise<boolean> {
    return this.#exclusive(async () => {
      const was = this.current !== undefined;
      await this.#remove();
      return was;
    });
  }

  /** No timer is left. */
  close(): void {
    this.#timer.abort(new Error('closed'));
  }

  #leftMs(): number {
    return this.#endsAtMs - this.#deps.clock.monotonicMs();
  }

  async #leftOver({ bootId, uptimeMs, leftMs, totalMs }: Noted): Promise<number> {
    const now = bootId === this.#deps.bootId ? await this.#deps.uptimeMs() : undefined;
    if (now === undefined || uptimeMs === undefined) return leftMs - totalMs / SHARES;
    return leftMs - (now - uptimeMs);
  }

  async #begin(noted: Noted, leftMs: number): Promise<void> {
    await this.#note(noted, leftMs);
    this.#endsAtMs = this.#deps.clock.monotonicMs() + leftMs;
    this.#timer.abort(new Error('another'));
    this.#timer = new AbortController();
    this.#deps.onChange(this.current);
    void this.#count(this.#timer.signal);
  }

  /** Notes what is left from time to time, and ends it. */
  async #count(stop: AbortSignal): Promise<void> {
    const { clock, log } = this.#deps;
    try {
      while (this.#noted && !stop.aborted) {
        await clock.sleep(Math.max(0, Math.min(this.#noted.totalMs / SHARES, this.#leftMs())), stop);
        await this.#exclusive(async () => {
          if (stop.aborted || !this.#noted) return;
          if (this.#leftMs() > 0) await this.#note(this.#noted, this.#leftMs());
          else await this.#remove();
        });
      }
    } catch (error) {
      if (!stop.aborted) log.warn({ error: String(error) }, 'cannot note the inhibition');
    }
  }

  async #note(noted: Noted, leftMs: number): Promise<void> {
    const { disk, bootId } = this.#deps;
    const uptimeMs = await this.#deps.uptimeMs();
    const { uptimeMs: _, ...rest } = noted;
    const now = { ...rest, leftMs, bootId, ...(uptimeMs !== undefined && { uptimeMs }) };
    await writeFileAtomic(disk, this.#path, Buffer.from(JSON.stringify(now)));
    this.#noted = now;
  }

  async #remove(): Promise<void> {
    const { disk, stateDirectory, onChange } = this.#deps;
    this.#timer.abort(new Error('over'));
    this.#noted = undefined;
    this.#endsAtMs = 0;
    onChange(undefined);
    if (!(await disk.lstat(this.#path))) return;
    await disk.unlink(this.#path);
    await syncDirectory(disk, stateDirectory);
  }

  async #read(): Promise<Noted | undefined> {
    try {
      const bytes = await readFileBounded(this.#deps.disk, this.#path, BYTES_MAX);
      return bytes && fileSchema.parse(JSON.parse(Buffer.from(bytes).toString()));
    } catch (error) {
      this.#deps.log.warn(
        { path: this.#path, error: String(error) },
        'cannot read the inhibition; there is none',
      );
      return undefined;
    }
  }

  #exclusive<T>(task: () => Promise<T>): Promise<T> {
    const next = this.#last.then(task, task);
    this.#last = next.catch(() => undefined);
    return next;
  }
}
