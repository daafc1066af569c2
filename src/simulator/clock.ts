import { scheduler } from 'node:timers/promises';

/** Time, as the simulator needs it; the real one is passed in, for the simulator imports nothing of the agent. */
export interface SimulatorClock {
  wallMs(): number;
  monotonicMs(): number;
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
}

interface Sleeper {
  dueMs: number;
  /** Of two that are due at once the older is first. */
  order: number;
  wake(): void;
}

export interface VirtualClockOptions {
  /** Time goes on by itself with this one; without it only `advance` moves it. */
  base?: SimulatorClock;
  /** Where a clock without a base starts: 2026-01-01T00:00:00Z unless told. */
  startMs?: number;
}

const START_MS = 1_767_225_600_000;

/**
 * A clock that can be moved on: a time-out of seven days is a millisecond of work. On a base it runs by itself, and
 * jumps when told; alone it stands still until told.
 */
export class VirtualClock implements SimulatorClock {
  readonly #base: SimulatorClock | undefined;
  readonly #sleepers = new Set<Sleeper>();
  readonly #startMs: number;
  #aheadMs = 0;
  #order = 0;

  constructor({ base, startMs = START_MS }: VirtualClockOptions = {}) {
    this.#base = base;
    this.#startMs = startMs;
  }

  wallMs(): number {
    return (this.#base ? this.#base.wallMs() : this.#startMs) + this.#aheadMs;
  }

  monotonicMs(): number {
    return (this.#base ? this.#base.monotonicMs() : 0) + this.#aheadMs;
  }

  async sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (delayMs <= 0) return;
    const woken = new AbortController();
    const ended = new AbortController();
    this.#order += 1;
    const sleeper: Sleeper = {
      dueMs: this.monotonicMs() + delayMs,
      order: this.#order,
      wake: () => woken.abort(),
    };
    this.#sleepers.add(sleeper);
    const onAbort = (): void => ended.abort();
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      await this.#until(sleeper, woken.signal, ended.signal);
    } finally {
      this.#sleepers.delete(sleeper);
      signal?.removeEventListener('abort', onAbort);
    }
    signal?.throwIfAborted();
  }

  /** Moves time on, waking each sleeper at its own moment; what a sleeper does is done before the next one wakes. */
  async advance(byMs: number): Promise<void> {
    const targetMs = this.monotonicMs() + byMs;
    for (;;) {
      await settled();
      const next = this.#earliest();
      if (!next || next.dueMs > targetMs) break;
      this.#aheadMs += Math.max(0, next.dueMs - this.monotonicMs());
      this.#sleepers.delete(next);
      next.wake();
    }
    this.#aheadMs += Math.max(0, targetMs - this.monotonicMs());
    await settled();
  }

  async #until(sleeper: Sleeper, woken: AbortSignal, ended: AbortSignal): Promise<void> {
    if (!this.#base) return aborted(AbortSignal.any([woken, ended]));
    try {
      await this.#base.sleep(sleeper.dueMs - this.monotonicMs(), AbortSignal.any([woken, ended]));
    } catch {
      // Woken by a jump, or given up by its owner, who looks at his own signal.
    }
  }

  #earliest(): Sleeper | undefined {
    let first: Sleeper | undefined;
    for (const one of this.#sleepers) {
      if (!first || one.dueMs < first.dueMs || (one.dueMs === first.dueMs && one.order < first.order))
        first = one;
    }
    return first;
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** Every promise that could go on has gone on. */
async function settled(): Promise<void> {
  await scheduler.yield();
}
