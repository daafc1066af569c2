import { randomUUID } from 'node:crypto';
import { performance } from 'node:perf_hooks';

/**
 * Time and chance, injected. Nothing outside this file calls a timer, a clock or a random generator, so a test or
 * a simulation can own all of them.
 */
export interface Clock {
  /** Milliseconds since the epoch: for people, logs and receipts, never for a decision (A11). */
  wallMs(): number;
  /** Milliseconds that only grow, from an arbitrary start: what every limit is measured with. */
  monotonicMs(): number;
  /**
   * Resolves after `delayMs`; any length is allowed (`setTimeout` alone overflows at 24.8 days).
   * Rejects with the signal's reason when `signal` aborts first.
   */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
  /** A number in [0, 1), for jitter. */
  random(): number;
  /** A fresh UUID, for client tokens and process tokens. */
  uuid(): string;
}

const DAY_MS = 86_400_000;

function sleepOnce(delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason as Error);
      return;
    }
    const onAbort = (): void => {
      clearTimeout(timer);
      reject(signal?.reason as Error);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    }, delayMs);
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

/** The clock of this machine. */
export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  async sleep(delayMs, signal) {
    for (let left = delayMs; left > 0; left -= DAY_MS) await sleepOnce(Math.min(left, DAY_MS), signal);
    signal?.throwIfAborted();
  },
  random: () => Math.random(),
  uuid: () => randomUUID(),
};
