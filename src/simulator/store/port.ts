/**
 * Where the simulator keeps what must outlive it. A collection is a map in memory that is read at once; a change is
 * durable when `saved()` has resolved, and whoever answers a request waits for that first.
 */
export interface Store {
  /** The collection of that name, with all that was saved in it; the same object each time. */
  collection<T>(name: string): Collection<T>;
  /** Resolves when every change made so far would survive SIGKILL and a power cut. Rejects when the disk fails. */
  saved(): Promise<void>;
  close(): Promise<void>;
}

/** Values must be JSON; they belong to the collection's user, who may change them in place and then `set` them again. */
export interface Collection<T> {
  readonly size: number;
  get(key: string): T | undefined;
  has(key: string): boolean;
  /** In order of first `set`, also after a restart. */
  values(): IterableIterator<T>;
  entries(): IterableIterator<[string, T]>;
  set(key: string, value: T): void;
  delete(key: string): boolean;
}
