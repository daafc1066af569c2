import type { Readable } from 'node:stream';
import type { SimulatorClock } from '../service/types.ts';

/** The part of a broker's persistence that a session's end needs. */
export interface SessionStore {
  cleanSubscriptions(client: { id: string }): Promise<void>;
  outgoingStream(client: { id: string }): Readable;
  outgoingClearMessageId(client: { id: string }, packet: unknown): Promise<unknown>;
}

interface Session {
  filters: Map<string, number>;
  /** Ends the wait for its expiry; set while nobody is connected. */
  expiry?: AbortController;
}

/** Persistent sessions: what a client has subscribed to, kept for a while after its connection (L25). */
export class Sessions {
  readonly #kept = new Map<string, Session>();
  readonly #store: SessionStore;
  readonly #clock: SimulatorClock;
  readonly #expirySeconds: () => number;

  constructor(store: SessionStore, clock: SimulatorClock, expirySeconds: () => number) {
    this.#store = store;
    this.#clock = clock;
    this.#expirySeconds = expirySeconds;
  }

  /** True when a session of this client waits for it. */
  isKept(client: string): boolean {
    return this.#kept.has(client);
  }

  /** The filters of the session that begins, or goes on. */
  open(client: string, clean: boolean): Map<string, number> {
    const old = this.#kept.get(client);
    old?.expiry?.abort();
    if (clean) this.#kept.delete(client);
    const session: Session = !clean && old ? { filters: old.filters } : { filters: new Map() };
    if (!clean) this.#kept.set(client, session);
    return session.filters;
  }

  /** The connection is gone; a persistent session has its time from now. */
  async close(client: string): Promise<void> {
    const session = this.#kept.get(client);
    if (!session) return;
    const expiry = new AbortController();
    session.expiry = expiry;
    try {
      await this.#clock.sleep(this.#expirySeconds() * 1000, expiry.signal);
    } catch {
      return;
    }
    await this.expire(client);
  }

  /** Drops a session that nobody is connected to, with all that waits in it; false when there is none. */
  async expire(client: string): Promise<boolean> {
    const session = this.#kept.get(client);
    if (session?.expiry === undefined) return false;
    session.expiry.abort();
    this.#kept.delete(client);
    await this.#store.cleanSubscriptions({ id: client });
    for await (const packet of this.#store.outgoingStream({ id: client }))
      await this.#store.outgoingClearMessageId({ id: client }, packet);
    return true;
  }

  /** Ends every wait. */
  end(): void {
    for (const { expiry } of this.#kept.values()) expiry?.abort();
  }
}
