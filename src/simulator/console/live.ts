import type { SimulatorClock } from '../service/types.ts';
import type { TraceEntry } from '../trace.ts';
import type { Changed } from './book.ts';
import { type TraceRow, traceFilter, traceRow } from './trace-view.ts';

/** What an open page is told: which of the things it may show have changed, and the trace that passes its filter. */
export interface Batch {
  /** Names by kind; `null` when there were too many to name, and the page must look at all it shows. */
  changed: Record<Changed['kind'], string[]> | null;
  trace: TraceRow[];
  /** Lines that passed the filter and were too many to send. */
  skipped: number;
}

/** A page is told at most this often, and of this much at once, however busy the simulator is. */
const BATCH_INTERVAL_MS = 150;
const NAMES_MAX = 300;
const TRACE_MAX = 200;
/** A page notices a dead connection by the absence of these. */
export const HEARTBEAT_MS = 15_000;

/** One open page: gathers what happens until the page can take it. Bounded, so that a slow page costs nothing. */
export class Feed {
  readonly #clock: SimulatorClock;
  readonly #passes: (entry: TraceEntry) => boolean;
  #changed: Record<Changed['kind'], Set<string>> | null = emptyNames();
  #trace: TraceEntry[] = [];
  #skipped = 0;
  #wake = new AbortController();

  constructor(clock: SimulatorClock, search: string) {
    this.#clock = clock;
    this.#passes = traceFilter(search);
  }

  changed({ kind, key }: Changed): void {
    const names = this.#changed;
    if (names) {
      names[kind].add(key);
      if (names[kind].size > NAMES_MAX) this.#changed = null;
    }
    this.#wake.abort();
  }

  traced(entry: TraceEntry): void {
    if (!this.#passes(entry)) return;
    this.#trace.push(entry);
    if (this.#trace.length > TRACE_MAX) {
      this.#trace.shift();
      this.#skipped += 1;
    }
    this.#wake.abort();
  }

  /** The next batch, once there is one; `undefined` when nothing has happened for long. */
  async next(end: AbortSignal): Promise<Batch | undefined> {
    await this.#sleep(HEARTBEAT_MS, AbortSignal.any([end, this.#wake.signal]));
    if (!this.#wake.signal.aborted) return undefined;
    await this.#sleep(BATCH_INTERVAL_MS, end);
    const names = this.#changed;
    const batch = {
      changed: names && { thing: [...names.thing], job: [...names.job], execution: [...names.execution] },
      trace: this.#trace.map(traceRow),
      skipped: this.#skipped,
    };
    this.#changed = emptyNames();
    this.#trace = [];
    this.#skipped = 0;
    this.#wake = new AbortController();
    return batch;
  }

  async #sleep(ms: number, signal: AbortSignal): Promise<void> {
    try {
      await this.#clock.sleep(ms, signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }
}

function emptyNames(): Record<Changed['kind'], Set<string>> {
  return { thing: new Set(), job: new Set(), execution: new Set() };
}
