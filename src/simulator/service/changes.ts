import type { Execution } from './types.ts';

/** One thing that is now other than it was: told after the change is complete, in the order of the changes. */
export type Change =
  | { kind: 'thing'; thing: string }
  | { kind: 'job'; jobId: string }
  | { kind: 'execution'; execution: Execution; deleted: boolean };

/** Tells whoever watches, as the console does, of everything that an act has changed: each once, when it is over. */
export class Changes {
  readonly #listeners = new Set<(change: Change) => void>();
  /** By what has changed, so that each is told once. */
  readonly #changed = new Map<unknown, Change>();
  #depth = 0;

  onChange(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** `last`: told after what was noted before, also where it was noted before that. */
  note(change: Change, place?: 'last'): void {
    const key = change.kind === 'execution' ? change.execution : Object.values(change).join(' ');
    if (place === 'last') this.#changed.delete(key);
    this.#changed.set(key, change);
  }

  /** Changes within `act` are told at its end, also when it throws. */
  during<T>(act: () => T): T {
    this.#depth += 1;
    try {
      return act();
    } finally {
      this.#depth -= 1;
      if (this.#depth === 0) this.#tell();
    }
  }

  #tell(): void {
    const changed = [...this.#changed.values()];
    this.#changed.clear();
    for (const change of changed) for (const listener of this.#listeners) listener(change);
  }
}
