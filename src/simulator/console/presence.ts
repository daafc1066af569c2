/**
 * Which things are connected. AWS IoT knows connections by client id, which by custom is the thing's name; a client of
 * another id belongs to the thing whose reserved topics it uses.
 */
export class Presence {
  readonly #clients = new Set<string>();
  readonly #thingOf = new Map<string, string>();
  readonly #clientsOf = new Map<string, Set<string>>();
  readonly #listeners = new Set<(thing: string) => void>();

  onChange(listener: (thing: string) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  connected(clientId: string): void {
    if (this.#clients.has(clientId)) return;
    this.#clients.add(clientId);
    this.#tell(clientId);
  }

  disconnected(clientId: string): void {
    if (!this.#clients.delete(clientId)) return;
    const thing = this.#thingOf.get(clientId);
    this.#thingOf.delete(clientId);
    if (thing !== undefined) {
      this.#clientsOf.get(thing)?.delete(clientId);
      this.#tell(thing);
    }
    this.#tell(clientId);
  }

  /** A client published or subscribed to `topic`. */
  used(clientId: string, topic: string): void {
    const thing = /^\$aws\/things\/([^/]+)\//.exec(topic)?.[1];
    if (thing === undefined || thing === clientId || !this.#clients.has(clientId)) return;
    if (this.#thingOf.has(clientId)) return;
    this.#thingOf.set(clientId, thing);
    this.#clientsOf.set(thing, (this.#clientsOf.get(thing) ?? new Set()).add(clientId));
    this.#tell(thing);
  }

  isConnected(thing: string): boolean {
    return this.#clients.has(thing) || (this.#clientsOf.get(thing)?.size ?? 0) > 0;
  }

  get count(): number {
    return this.#clients.size;
  }

  #tell(thing: string): void {
    for (const listener of this.#listeners) listener(thing);
  }
}
