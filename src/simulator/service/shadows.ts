import { createMemoryStore } from '../store/memory-store.ts';
import type { Collection, Store } from '../store/port.ts';
import { Refusal } from './types.ts';

/** Named shadows, and the classic one under the empty name: state, versions, and when each member was set. */
export interface Shadow {
  state: Record<string, unknown>;
  metadata: Record<string, unknown>;
  version: number;
  /** Epoch seconds. */
  timestamp: number;
}

/** What remains of a deleted shadow: the next one goes on with its version. */
interface Kept extends Shadow {
  thing: string;
  name: string;
  deleted?: true;
}

export class Shadows {
  readonly #shadows: Collection<Kept>;
  readonly #listeners = new Set<(thing: string, name: string) => void>();

  constructor(store: Store = createMemoryStore()) {
    this.#shadows = store.collection('shadows');
  }

  /** Told after each change; returns its own end. */
  onChange(listener: (thing: string, name: string) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  get(thing: string, name: string): Shadow | undefined {
    const found = this.#shadows.get(`${thing}/${name}`);
    if (!found || found.deleted) return undefined;
    const { state, metadata, version, timestamp } = found;
    return { state, metadata, version, timestamp };
  }

  /** The names of a thing's shadows; the classic one is ''. */
  names(thing: string): string[] {
    const all = [...this.#shadows.values()];
    return all.filter((one) => one.thing === thing && !one.deleted).map(({ name }) => name);
  }

  /** Merges as the service does: objects deeply, `null` removes. A version is the one that must be there (409). */
  update(thing: string, name: string, state: object, timestamp: number, expectedVersion?: number): Shadow {
    const old = this.#shadows.get(`${thing}/${name}`);
    if (expectedVersion !== undefined && expectedVersion !== (old?.version ?? 0))
      throw new Refusal('VersionConflict', 'Version conflict');
    const former = old?.deleted ? undefined : old;
    const shadow: Kept = {
      thing,
      name,
      state: merged(former?.state ?? {}, state) as Record<string, unknown>,
      metadata: merged(former?.metadata ?? {}, stamped(state, timestamp)) as Record<string, unknown>,
      version: (old?.version ?? 0) + 1,
      timestamp,
    };
    this.#set(shadow);
    return shadow;
  }

  delete(thing: string, name: string): boolean {
    const found = this.#shadows.get(`${thing}/${name}`);
    if (!found || found.deleted) return false;
    this.#set({ ...found, state: {}, metadata: {}, deleted: true });
    return true;
  }

  #set(shadow: Kept): void {
    const { thing, name } = shadow;
    this.#shadows.set(`${thing}/${name}`, shadow);
    for (const listener of this.#listeners) listener(thing, name);
  }
}

function merged(old: unknown, change: unknown): unknown {
  if (!isObject(change)) return change;
  const result = new Map(isObject(old) ? Object.entries(old) : []);
  for (const [key, value] of Object.entries(change)) {
    if (value === null) result.delete(key);
    else result.set(key, merged(result.get(key), value));
  }
  return Object.fromEntries(result);
}

/** The same tree with the time in the place of each value. */
export function stamped(value: unknown, timestamp: number): unknown {
  if (value === null) return null;
  if (Array.isArray(value)) return value.map((one) => stamped(one, timestamp));
  if (!isObject(value)) return { timestamp };
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, stamped(one, timestamp)]));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
