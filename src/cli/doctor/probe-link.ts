import type { Clock } from '../../host/clock.ts';
import { within } from '../../host/within.ts';

/** How a connection ended that was to say something. `code`: the reason in a DISCONNECT or CONNACK, where there was one. */
export class LinkEnded extends Error {
  readonly code: number | undefined;
  constructor(words: string, code?: number) {
    super(words);
    this.name = 'LinkEnded';
    this.code = code;
  }
}

export const ANSWER_LIMIT_MS = 10_000;

/** One connection of a probe: what is waited for on it, and its end, which ends every wait. */
export class ProbeLink {
  readonly #clock: Clock;
  readonly #ended = new Set<(end: LinkEnded) => void>();
  #end: LinkEnded | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get end(): LinkEnded | undefined {
    return this.#end;
  }

  /** Waits, and does nothing; resolves to how the link ended meanwhile, if it did. */
  async hold(limitMs: number): Promise<LinkEnded | undefined> {
    const waited = new AbortController();
    const ended = new Promise<LinkEnded>((resolve) => this.onEnd(resolve));
    const time = this.#clock.sleep(limitMs, waited.signal).catch(() => undefined);
    const first = await Promise.race([ended, time.then(() => undefined)]);
    waited.abort();
    return first;
  }

  /** Resolves with what `begin` is told; rejects when the link ends, or when it takes too long. */
  until<T>(begin: (done: (value: T) => void) => void, late: string): Promise<T> {
    return within(ANSWER_LIMIT_MS, this.#clock, new AbortController().signal, (signal) => {
      return new Promise<T>((resolve, reject) => {
        this.onEnd(reject);
        signal.addEventListener(
          'abort',
          () => reject(new Error(`${late} within ${ANSWER_LIMIT_MS / 1000} s`)),
          { once: true },
        );
        begin(resolve);
      });
    });
  }

  onEnd(listener: (end: LinkEnded) => void): void {
    if (this.#end) listener(this.#end);
    else this.#ended.add(listener);
  }

  over(end: LinkEnded): void {
    this.#end ??= end;
    for (const listener of this.#ended) listener(this.#end);
    this.#ended.clear();
  }
}
