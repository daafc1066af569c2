import type { Collection, Store } from '../store/port.ts';

interface Waiter {
  jobId: string;
  thing: string;
  /** The target of the job that the thing belongs to. */
  target: string;
}

const keyOf = (jobId: string, thing: string): string => `${jobId}/${thing}`;

/**
 * Things for which a job has made no execution yet, in turn. An entry each, and not a list in the job: what one thing
 * costs, in time and on disk, must not depend on how many others wait.
 */
export class Waiting {
  readonly #stored: Collection<Waiter>;
  readonly #ofJob = new Map<string, Map<string, Waiter>>();
  readonly #jobsOf = new Map<string, Set<string>>();

  constructor(store: Store) {
    this.#stored = store.collection('waiting');
    for (const waiter of this.#stored.values()) this.#index(waiter);
  }

  count(jobId: string): number {
    return this.#ofJob.get(jobId)?.size ?? 0;
  }

  has(jobId: string, thing: string): boolean {
    return this.#ofJob.get(jobId)?.has(thing) ?? false;
  }

  /** Jobs that a thing waits for. */
  jobsOf(thing: string): Iterable<string> {
    return this.#jobsOf.get(thing) ?? [];
  }

  /** Targets whose things still wait. */
  targets(jobId: string): string[] {
    return [...new Set([...(this.#ofJob.get(jobId)?.values() ?? [])].map(({ target }) => target))];
  }

  add(jobId: string, thing: string, target: string): void {
    const waiter = { jobId, thing, target };
    this.#stored.set(keyOf(jobId, thing), waiter);
    this.#index(waiter);
  }

  /** The next ones, which wait no longer. */
  take(jobId: string, atMost: number): string[] {
    const things: string[] = [];
    for (const thing of this.#ofJob.get(jobId)?.keys() ?? []) {
      if (things.length >= atMost) break;
      things.push(thing);
    }
    for (const thing of things) this.drop(jobId, thing);
    return things;
  }

  drop(jobId: string, thing: string): void {
    const ofJob = this.#ofJob.get(jobId);
    if (!ofJob?.delete(thing)) return;
    if (ofJob.size === 0) this.#ofJob.delete(jobId);
    const jobs = this.#jobsOf.get(thing);
    jobs?.delete(jobId);
    if (jobs?.size === 0) this.#jobsOf.delete(thing);
    this.#stored.delete(keyOf(jobId, thing));
  }

  clear(jobId: string): void {
    this.take(jobId, Number.POSITIVE_INFINITY);
  }

  #index(waiter: Waiter): void {
    const { jobId, thing } = waiter;
    const ofJob = this.#ofJob.get(jobId) ?? new Map<string, Waiter>();
    this.#ofJob.set(jobId, ofJob.set(thing, waiter));
    this.#jobsOf.set(thing, (this.#jobsOf.get(thing) ?? new Set<string>()).add(jobId));
  }
}
