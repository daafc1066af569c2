import type { Directory } from './types.ts';

/** Things and thing groups by name alone: what the service has when nobody gives it a registry. */
export class Things implements Directory {
  readonly #things = new Set<string>();
  readonly #groups = new Map<string, Set<string>>();

  hasThing(thing: string): boolean {
    return this.#things.has(thing);
  }

  addThing(thing: string): void {
    this.#things.add(thing);
  }

  deleteThing(thing: string): void {
    this.#things.delete(thing);
    for (const things of this.#groups.values()) things.delete(thing);
  }

  thingNames(): Iterable<string> {
    return this.#things;
  }

  hasGroup(group: string): boolean {
    return this.#groups.has(group);
  }

  isIn(thing: string, group: string): boolean {
    return this.#groups.get(group)?.has(thing) ?? false;
  }

  thingsIn(group: string): readonly string[] {
    return [...(this.#groups.get(group) ?? [])];
  }

  join(group: string, thing: string): void {
    this.#groups.set(group, (this.#groups.get(group) ?? new Set<string>()).add(thing));
  }

  leave(group: string, thing: string): void {
    this.#groups.get(group)?.delete(thing);
  }
}
