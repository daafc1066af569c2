import type { SimulatorClock } from '../clock.ts';

interface Entry {
  atMs: number;
  order: number;
  key: string;
  act(): void;
}

const DAY_MS = 86_400_000;

/**
 * All timers of the service in one heap, with one sleeper for the earliest: setting and clearing are O(log n), however
 * many executions have one. Moments are epoch milliseconds on a time line that never goes back.
 */
export class Timers {
  readonly #clock: SimulatorClock;
  /** Wall time at the start, less monotonic time at the start. */
  readonly #epochMs: number;
  /** What a timer does is one change. */
  readonly #during: <T>(act: () => T) => T;
  readonly #byKey = new Map<string, Entry>();
  /** A binary heap; entries that are no longer in `#byKey` are dead, and dropped when they come up. */
  #heap: Entry[] = [];
  #order = 0;
  #sleeper: { atMs: number; end: AbortController } | undefined;
  #closed = false;

  constructor(clock: SimulatorClock, during: <T>(act: () => T) => T) {
    this.#clock = clock;
    this.#during = during;
    this.#epochMs = clock.wallMs() - clock.monotonicMs();
  }

  nowMs(): number {
    return this.#epochMs + this.#clock.monotonicMs();
  }

  /** Replaces the timer of that key. */
  set(key: string, atMs: number, act: () => void): void {
    this.#order += 1;
    const entry = { atMs, order: this.#order, key, act };
    this.#byKey.set(key, entry);
    this.#push(entry);
    this.#sleep();
  }

  clear(key: string): void {
    this.#byKey.delete(key);
    // The dead must not outnumber the living.
    if (this.#heap.length > 64 && this.#heap.length > 4 * this.#byKey.size) {
      this.#heap = [...this.#byKey.values()].sort((a, b) => (isBefore(a, b) ? -1 : 1));
    }
  }

  close(): void {
    this.#closed = true;
    this.#byKey.clear();
    this.#sleeper?.end.abort(new Error('closed'));
  }

  #sleep(): void {
    const first = this.#first();
    if (this.#closed || !first || (this.#sleeper && this.#sleeper.atMs <= first.atMs)) return;
    this.#sleeper?.end.abort(new Error('an earlier timer was set'));
    const sleeper = { atMs: first.atMs, end: new AbortController() };
    this.#sleeper = sleeper;
    // A day at most, for the clock's own timers overflow at 24.8 days; who wakes too early goes back to sleep.
    const delayMs = Math.min(DAY_MS, Math.max(0, first.atMs - this.nowMs()));
    this.#clock.sleep(delayMs, sleeper.end.signal).then(
      () => {
        if (this.#sleeper !== sleeper) return;
        this.#sleeper = undefined;
        this.#fire();
      },
      () => undefined,
    );
  }

  #fire(): void {
    const nowMs = this.nowMs();
    for (let due = this.#first(); due && due.atMs <= nowMs; due = this.#first()) {
      this.#pop();
      this.#byKey.delete(due.key);
      this.#during(() => due.act());
    }
    this.#sleep();
  }

  #first(): Entry | undefined {
    for (;;) {
      const first = this.#heap[0];
      if (!first || this.#byKey.get(first.key) === first) return first;
      this.#pop();
    }
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let at = heap.push(entry) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = heap[above] as Entry;
      if (!isBefore(entry, parent)) break;
      heap[at] = parent;
      at = above;
    }
    heap[at] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (!last || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= heap.length) break;
      if (below + 1 < heap.length && isBefore(heap[below + 1] as Entry, heap[below] as Entry)) below += 1;
      if (!isBefore(heap[below] as Entry, last)) break;
      heap[at] = heap[below] as Entry;
      at = below;
    }
    heap[at] = last;
  }
}

function isBefore(a: Entry, b: Entry): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
