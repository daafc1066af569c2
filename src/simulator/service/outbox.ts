/** What a change makes known leaves when the change is durable, in the order of the changes. */
export class Outbox {
  readonly #saved: (() => Promise<void>) | undefined;
  readonly #waiting: { messages: (() => void)[]; ready: boolean }[] = [];
  #held: (() => void)[] | undefined;

  /** Without `saved` nothing has to be waited for. */
  constructor(saved?: () => Promise<void>) {
    this.#saved = saved;
  }

  send(message: () => void): void {
    if (this.#held) {
      this.#held.push(message);
      return;
    }
    const entry = { messages: [message], ready: this.#saved === undefined };
    this.#waiting.push(entry);
    if (entry.ready) this.#flush();
    // A disk that fails lets nothing out any more.
    else
      this.#saved?.().then(
        () => this.#release(entry),
        () => undefined,
      );
  }

  /**
   * N20: keeps back what `act` makes known until the caller has answered: it calls what this returns, once. Changes
   * that come later wait behind it.
   */
  holdWhile(act: () => void): () => void {
    const messages: (() => void)[] = [];
    this.#held = messages;
    const entry = { messages, ready: false };
    this.#waiting.push(entry);
    try {
      act();
    } catch (error) {
      // Nobody is left to call.
      this.#held = undefined;
      this.#release(entry);
      throw error;
    }
    this.#held = undefined;
    return () => this.#release(entry);
  }

  #release(entry: { ready: boolean }): void {
    entry.ready = true;
    this.#flush();
  }

  #flush(): void {
    while (this.#waiting[0]?.ready) for (const message of this.#waiting.shift()?.messages ?? []) message();
  }
}
