/** Named and unnamed shadows, as far as receipts need them: reported and desired state, versions. */
export interface Shadow {
  state: Record<string, unknown>;
  version: number;
  timestamp: number;
}

export class Shadows {
  readonly #shadows = new Map<string, Shadow>();
  readonly #listeners = new Set<(thing: string, name: string) => void>();

  /** Told after each change; returns its own end. */
  onChange(listener: (thing: string, name: string) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** The names of a thing's shadows; the unnamed one is ''. */
  names(thing: string): string[] {
    return [...this.#shadows.keys()]
      .filter((key) => key.startsWith(`${thing}/`))
      .map((key) => key.slice(thing.length + 1));
  }

  get(thing: string, name: string): Shadow | undefined {
    return this.#shadows.get(`${thing}/${name}`);
  }

  /** Merges as the service does: objects deeply, `null` removes. */
  update(thing: string, name: string, state: object, timestamp: number): Shadow {
    const old = this.get(thing, name);
    const shadow = {
      state: merged(old?.state ?? {}, state) as Record<string, unknown>,
      version: (old?.version ?? 0) + 1,
      timestamp,
    };
    this.#shadows.set(`${thing}/${name}`, shadow);
    for (const listener of this.#listeners) listener(thing, name);
    return shadow;
  }

  delete(thing: string, name: string): boolean {
    const deleted = this.#shadows.delete(`${thing}/${name}`);
    if (deleted) for (const listener of this.#listeners) listener(thing, name);
    return deleted;
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

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
