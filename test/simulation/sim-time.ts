import type { Clock } from '../../src/host/clock.ts';
import type { Random } from '../support/random.ts';

/** Who may still act: what a dead one has asked for never comes. */
export interface Mortal {
  readonly ended: boolean;
}

interface Due {
  atMs: number;
  order: number;
  act(): void;
}

export interface ClockOptions {
  owner?: Mortal;
  /** How far the wall clock is off. */
  wallOffMs?(): number;
}

/** 2026-01-01T00:00:00Z, where simulated time starts. */
const EPOCH_MS = 1_767_225_600_000;

/**
 * Simulated time, for everybody in one world. It stands still while anybody can go on, and then jumps to what is due
 * next; of two that are due at once the older is first. So a year of waiting costs nothing, and the same seed is the
 * same run.
 */
export class SimTime {
  #nowMs = 0;
  #order = 0;
  /** Sorted, the next one last. */
  readonly #queue: Due[] = [];

  get nowMs(): number {
    return this.#nowMs;
  }

  /** Calls back so much later; returns what takes it back. */
  after(delayMs: number, act: () => void): () => void {
    this.#order += 1;
    const due: Due = { atMs: this.#nowMs + Math.max(0, delayMs), order: this.#order, act };
    let low = 0;
    for (let high = this.#queue.length; low < high; ) {
      const middle = (low + high) >> 1;
      if ((this.#queue[middle] as Due).atMs > due.atMs) low = middle + 1;
      else high = middle;
    }
    this.#queue.splice(low, 0, due);
    return () => {
      const at = this.#queue.indexOf(due);
      if (at >= 0) this.#queue.splice(at, 1);
    };
  }

  clock(random: Random, { owner = { ended: false }, wallOffMs = () => 0 }: ClockOptions = {}): Clock {
    let uuids = 0;
    const name = random.below(2 ** 32).toString(16);
    return {
      wallMs: () => EPOCH_MS + this.#nowMs + wallOffMs(),
      monotonicMs: () => this.#nowMs,
      sleep: (delayMs, signal) =>
        new Promise((resolve, reject) => {
          if (signal?.aborted) {
            reject(signal.reason as Error);
            return;
          }
          const onAbort = (): void => {
            takeBack();
            reject(signal?.reason as Error);
          };
          const takeBack = this.after(delayMs, () => {
            signal?.removeEventListener('abort', onAbort);
            if (!owner.ended) resolve();
          });
          signal?.addEventListener('abort', onAbort, { once: true });
        }),
      random: () => random.next(),
      uuid() {
        uuids += 1;
        return `uuid-${name}-${uuids}`;
      },
    };
  }

  /** Goes on until `done` says so (true), or so much time has passed, or nothing would ever happen again (false). */
  async run(done: () => boolean, limitMs: number): Promise<boolean> {
    const endMs = this.#nowMs + limitMs;
    for (;;) {
      await everybodyRests();
      if (done()) return true;
      const next = this.#queue.at(-1);
      if (!next || next.atMs > endMs) return false;
      this.#queue.pop();
      this.#nowMs = next.atMs;
      next.act();
    }
  }
}

/**
 * Every promise that could go on has gone on. The simulator lets others go first by a turn of the event loop, twice in
 * a row at most.
 */
async function everybodyRests(): Promise<void> {
  for (let turns = 0; turns < 3; turns += 1) await new Promise((resolve) => setImmediate(resolve));
}
