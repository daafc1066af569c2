import { join } from 'node:path';
import type { ExecutionRecord } from '../../execution/records.ts';
import type { Clock } from '../../host/clock.ts';
import type { Disk } from '../../host/disk.ts';
import type { Log } from '../../host/log.ts';
import { countReceipts } from '../../receipts/outbox.ts';
import { writeFileAtomic } from '../../store/atomic-file.ts';
import { executionsDirectory, listExecutions } from '../../store/execution-directory.ts';
import { openLibrary } from '../story/library.ts';
import type { StorySummary } from '../story/story.ts';
import { type Counters, readCounters, SECONDS, withClosed, writeCounters } from './counters.ts';
import { observed } from './exposition.ts';
import { type Gauges, metricsText } from './families.ts';

/**
 * The file of `metrics.file`, for the textfile collector of Prometheus' node exporter. It is written after something
 * has happened and its text is another one; an idle agent writes nothing.
 */
export interface Metrics {
  /** To be called with each record that became durable. */
  onRecord(key: string, record: ExecutionRecord): void;
  /** The execution has to turn back: that is known from here on. */
  onTurn(key: string): void;
  /** A job was answered with REJECTED. */
  onRejected(): void;
  /** To be called with everything that the transport logs. */
  heard(event: string): void;
  /** Something else may have changed, such as the outbox. */
  touch(): void;
  /** Writes what is left to write. */
  close(): Promise<void>;
}

export interface MetricsDeps {
  file: string | undefined;
  stateDirectory: string;
  version: string;
  disk: Disk;
  clock: Pick<Clock, 'sleep' | 'monotonicMs'>;
  log: Pick<Log, 'warn'>;
}

/** What happens together is written together. */
const SETTLE_MS = 1000;
/** A link that comes and goes must not wear out the flash: counts of links wait this long. */
const COUNTERS_EVERY_MS = 600_000;

const NONE: Metrics = {
  onRecord: () => undefined,
  onTurn: () => undefined,
  onRejected: () => undefined,
  heard: () => undefined,
  touch: () => undefined,
  close: () => Promise.resolve(),
};

export async function startMetrics(deps: MetricsDeps): Promise<Metrics> {
  const { file } = deps;
  if (file === undefined) return NONE;
  const counters = await readCounters(deps.disk, deps.stateDirectory);
  const metrics = new FileMetrics(deps, file, counters);
  metrics.touch();
  return metrics;
}

class FileMetrics implements Metrics {
  readonly #deps: MetricsDeps;
  readonly #file: string;
  readonly #end = new AbortController();
  readonly #turnedAtMs = new Map<string, number>();
  #counters: Counters;
  #savedCounters: Counters;
  #savedAtMs: number;
  #linkUp = false;
  #wasUp = false;
  #text = '';
  #failed = false;
  #waiting = false;
  #last: Promise<void> = Promise.resolve();

  constructor(deps: MetricsDeps, file: string, counters: Counters) {
    this.#deps = deps;
    this.#file = file;
    this.#counters = counters;
    this.#savedCounters = counters;
    this.#savedAtMs = deps.clock.monotonicMs();
  }

  onRecord(key: string, { type }: ExecutionRecord): void {
    const since = this.#turnedAtMs.get(key);
    if (type === 'aborted' && since !== undefined) {
      const seconds = (this.#deps.clock.monotonicMs() - since) / 1000;
      const cancelSeconds = observed(this.#counters.cancelSeconds, SECONDS, seconds);
      this.#counters = { ...this.#counters, cancelSeconds };
    }
    if (type === 'aborted' || type === 'committed') this.#turnedAtMs.delete(key);
    if (['started', 'closed', 'resolved'].includes(type)) this.touch();
  }

  onTurn(key: string): void {
    if (!this.#turnedAtMs.has(key)) this.#turnedAtMs.set(key, this.#deps.clock.monotonicMs());
  }

  onRejected(): void {
    const { jobs } = this.#counters;
    this.#counters = { ...this.#counters, jobs: { ...jobs, rejected: (jobs['rejected'] ?? 0) + 1 } };
    this.touch();
  }

  heard(event: string): void {
    if (event !== 'transport.up' && event !== 'transport.down') return;
    this.#linkUp = event === 'transport.up';
    if (this.#linkUp && this.#wasUp) {
      this.#counters = { ...this.#counters, reconnects: this.#counters.reconnects + 1 };
    }
    this.#wasUp ||= this.#linkUp;
    this.touch();
  }

  touch(): void {
    if (this.#waiting || this.#end.signal.aborted) return;
    this.#waiting = true;
    this.#deps.clock.sleep(SETTLE_MS, this.#end.signal).then(
      () => {
        this.#waiting = false;
        void this.#write(false);
      },
      () => undefined,
    );
  }

  async close(): Promise<void> {
    this.#end.abort(new Error('closed'));
    this.#linkUp = false;
    await this.#write(true);
  }

  #write(last: boolean): Promise<void> {
    this.#last = this.#last.then(() => this.#writeOnce(last)).catch((error: unknown) => this.#cannot(error));
    return this.#last;
  }

  async #writeOnce(last: boolean): Promise<void> {
    const { disk, stateDirectory } = this.#deps;
    const kept = await openLibrary(disk, stateDirectory).summaries();
    const countedBefore = this.#counters.counted;
    this.#counters = withClosed(this.#counters, kept);
    await this.#save(last || String(countedBefore) !== String(this.#counters.counted));
    const text = metricsText(this.#counters, await this.#gauges(kept));
    if (text !== this.#text) {
      await writeFileAtomic(disk, this.#file, Buffer.from(text), 0o644);
      this.#text = text;
    }
    this.#failed = false;
  }

  async #save(now: boolean): Promise<void> {
    const { disk, stateDirectory, clock } = this.#deps;
    const isDue = clock.monotonicMs() - this.#savedAtMs >= COUNTERS_EVERY_MS;
    const changed = JSON.stringify(this.#counters) !== JSON.stringify(this.#savedCounters);
    if (!changed || !(now || isDue)) return;
    await writeCounters(disk, stateDirectory, this.#counters);
    this.#savedCounters = this.#counters;
    this.#savedAtMs = clock.monotonicMs();
  }

  async #gauges(kept: readonly StorySummary[]): Promise<Gauges> {
    const { disk, stateDirectory, version } = this.#deps;
    return {
      version,
      linkUp: this.#linkUp,
      receiptsWaiting: await countReceipts(disk, stateDirectory),
      journalBytes: await journalBytes(disk, stateDirectory),
      underWay: kept.filter(({ state }) => state === 'underWay').length,
      needsHelp: kept.filter(
        ({ state, outcome, resolved }) => state === 'unreadable' || (outcome === 'inconsistent' && !resolved),
      ).length,
    };
  }

  /** Said once, until it works again. */
  #cannot(error: unknown): void {
    if (!this.#failed)
      this.#deps.log.warn({ path: this.#file, error: String(error) }, 'cannot write metrics');
    this.#failed = true;
  }
}

async function journalBytes(disk: Disk, state: string): Promise<number> {
  let bytes = 0;
  for (const key of await listExecutions(disk, state)) {
    bytes += (await disk.lstat(join(executionsDirectory(state), key, 'journal')))?.sizeBytes ?? 0;
  }
  return bytes;
}
