import type { Collection, Store } from './port.ts';

/** Everything is forgotten with the process. */
export function createMemoryStore(): Store {
  const collections = new Map<string, Collection<never>>();
  return {
    collection<T>(name: string): Collection<T> {
      let found = collections.get(name);
      if (!found) {
        found = new Map<string, never>();
        collections.set(name, found);
      }
      return found as unknown as Collection<T>;
    },
    saved: () => Promise.resolve(),
    close: () => Promise.resolve(),
  };
}
