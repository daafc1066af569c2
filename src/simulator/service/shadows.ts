/** Named and unnamed shadows, as far as receipts need them: reported and desired state, versions. */
export interface Shadow {
  state: Record<string, unknown>;
  version: number;
  timestamp: number;
}

export class Shadows {
  readonly #shadows = new Map<string, Shadow>();

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
    return shadow;
  }

  delete(thing: string, name: string): boolean {
    return this.#shadows.delete(`${thing}/${name}`);
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
