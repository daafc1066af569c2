import type { Shadows } from '../service/shadows.ts';
import type { Change, Execution, Job, SimulatorClock, Status } from '../service/types.ts';
import { entryOf, History } from './history.ts';
import { Presence } from './presence.ts';

/** What the book reads of the service. */
export interface BookService {
  onChange(listener: (change: Change) => void): () => void;
  things(): readonly string[];
  jobs(): readonly Job[];
  executions(of: object): readonly Execution[];
}

export interface BookDeps {
  service: BookService;
  shadows: Pick<Shadows, 'get' | 'onChange'>;
  clock: SimulatorClock;
}

export interface Recorded {
  /** The page's name for it, and its place in the address. */
  key: string;
  execution: Execution;
  status: Status;
  history: History;
  receipt?: Record<string, unknown>;
}

export type Counts = Partial<Record<Status, number>>;

/** What has changed since somebody looked last. */
export interface Changed {
  kind: 'thing' | 'job' | 'execution';
  key: string;
}

/** Histories kept in all; beyond it those that changed longest ago keep their last line alone. */
const HISTORIES_MAX = 20_000;
/** The shadow that receipts are written to. */
export const RECEIPT_SHADOW = 'evenkeel';

export const executionKey = (thing: string, jobId: string, executionNumber: number): string =>
  `${thing}/${jobId}/${executionNumber}`;

/**
 * The console's own record of the service: which executions a thing and a job have, how many in which status, and the
 * history of each. Kept up to date by changes, so that a page of 10,000 things costs no search through the service.
 */
export class Book {
  readonly presence = new Presence();
  readonly #deps: BookDeps;
  readonly #executions = new Map<string, Recorded>();
  /** Those with more than one line, the one that changed last at the end. */
  readonly #long = new Set<Recorded>();
  readonly #ofThing = new Map<string, Map<string, Recorded>>();
  readonly #ofJob = new Map<string, Map<string, Recorded>>();
  readonly #countsOfJob = new Map<string, Counts>();
  readonly #listeners = new Set<(changed: Changed) => void>();
  readonly #ends: (() => void)[];
  /** Sorted names, made when they are asked for. */
  #things: readonly string[] | undefined;

  constructor(deps: BookDeps) {
    this.#deps = deps;
    for (const execution of deps.service.executions({})) this.#seen(execution);
    this.#ends = [
      deps.service.onChange((change) => this.#onChange(change)),
      deps.shadows.onChange((thing, name) => this.#onShadow(thing, name)),
      this.presence.onChange((thing) => this.#tell('thing', thing)),
    ];
  }

  close(): void {
    for (const end of this.#ends) end();
  }

  onChange(listener: (changed: Changed) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  things(): readonly string[] {
    this.#things ??= [...this.#deps.service.things()].sort(NATURAL.compare);
    return this.#things;
  }

  execution(key: string): Recorded | undefined {
    return this.#executions.get(key);
  }

  ofThing(thing: string): Recorded[] {
    return [...(this.#ofThing.get(thing)?.values() ?? [])];
  }

  ofJob(jobId: string): Recorded[] {
    return [...(this.#ofJob.get(jobId)?.values() ?? [])];
  }

  countsOf(jobId: string): Counts {
    return this.#countsOfJob.get(jobId) ?? {};
  }

  /** A device's update was refused: the service itself does not remember that. */
  refused(thing: string, jobId: string, refusal: { code: string; message: string }): void {
    const recorded = this.ofThing(thing).findLast(({ execution }) => execution.jobId === jobId);
    if (!recorded) return;
    const { execution, status, history } = recorded;
    history.add({ ...entryOf(execution, status, this.#deps.clock.wallMs()), kind: 'refused', refusal });
    this.#tell('execution', recorded.key);
  }

  #onChange(change: Change): void {
    if (change.kind === 'thing') {
      this.#things = undefined;
      this.#tell('thing', change.thing);
    } else if (change.kind === 'job') this.#tell('job', change.jobId);
    else if (change.deleted) this.#forget(change.execution);
    else this.#seen(change.execution);
  }

  #seen(execution: Execution): void {
    const { thing, jobId, executionNumber, status } = execution;
    const key = executionKey(thing, jobId, executionNumber);
    const old = this.#executions.get(key);
    const recorded = old ?? { key, execution, status, history: new History() };
    recorded.history.add(entryOf(execution, old?.status, this.#deps.clock.wallMs()));
    this.#count(jobId, old?.status, status);
    Object.assign(recorded, { execution, status });
    if (!old) {
      this.#executions.set(key, recorded);
      within(this.#ofThing, thing).set(key, recorded);
      within(this.#ofJob, jobId).set(key, recorded);
    }
    this.#bound(recorded);
    this.#tellAll(recorded);
  }

  #forget({ thing, jobId, executionNumber }: Execution): void {
    const key = executionKey(thing, jobId, executionNumber);
    const recorded = this.#executions.get(key);
    if (!recorded) return;
    this.#count(jobId, recorded.status, undefined);
    this.#executions.delete(key);
    this.#long.delete(recorded);
    drop(this.#ofThing, thing, key);
    drop(this.#ofJob, jobId, key);
    this.#tellAll(recorded);
  }

  /** The agent's receipt names its execution; anything else in that shadow is no receipt. */
  #onShadow(thing: string, name: string): void {
    this.#tell('thing', thing);
    if (name !== RECEIPT_SHADOW) return;
    const receipt = receiptIn(this.#deps.shadows.get(thing, name)?.state);
    if (!receipt) return;
    const recorded = this.#executions.get(
      executionKey(thing, String(receipt['jobId']), Number(receipt['executionNumber'])),
    );
    if (!recorded || JSON.stringify(recorded.receipt) === JSON.stringify(receipt)) return;
    recorded.receipt = receipt;
    const { execution, status, history } = recorded;
    history.add({ ...entryOf(execution, status, this.#deps.clock.wallMs()), kind: 'receipt', receipt });
    this.#tell('execution', recorded.key);
  }

  #count(jobId: string, from: Status | undefined, to: Status | undefined): void {
    const counts = this.#countsOfJob.get(jobId) ?? {};
    if (from) counts[from] = (counts[from] ?? 0) - 1;
    if (to) counts[to] = (counts[to] ?? 0) + 1;
    this.#countsOfJob.set(jobId, counts);
  }

  #bound(recorded: Recorded): void {
    this.#long.delete(recorded);
    if (recorded.history.entries.length > 1) this.#long.add(recorded);
    if (this.#long.size <= HISTORIES_MAX) return;
    for (const oldest of this.#long) {
      const { history } = oldest;
      history.left += history.entries.splice(0, history.entries.length - 1).length;
      this.#long.delete(oldest);
      return;
    }
  }

  #tellAll({ key, execution: { thing, jobId } }: Recorded): void {
    this.#tell('execution', key);
    this.#tell('thing', thing);
    this.#tell('job', jobId);
  }

  #tell(kind: Changed['kind'], key: string): void {
    for (const listener of this.#listeners) listener({ kind, key });
  }
}

const NATURAL = new Intl.Collator('en', { numeric: true });

export function receiptIn(state: unknown): Record<string, unknown> | undefined {
  const reported = (state as { reported?: { receipt?: unknown } } | undefined)?.reported;
  const receipt = reported?.receipt;
  const isReceipt = typeof receipt === 'object' && receipt !== null && 'jobId' in receipt;
  return isReceipt ? (receipt as Record<string, unknown>) : undefined;
}

function within<V>(maps: Map<string, Map<string, V>>, name: string): Map<string, V> {
  const found = maps.get(name) ?? new Map<string, V>();
  maps.set(name, found);
  return found;
}

function drop<V>(maps: Map<string, Map<string, V>>, name: string, key: string): void {
  const map = maps.get(name);
  map?.delete(key);
  if (map?.size === 0) maps.delete(name);
}
