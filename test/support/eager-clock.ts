import type { Clock } from '../../src/host/clock.ts';

const SHORT_MS = 60_000;

/** Short waits are over at once; the long ones are limits that nobody reaches here. */
export function eagerClock(): Clock {
  let nowMs = 0;
  return {
    wallMs: () => 0,
    monotonicMs: () => nowMs,
    sleep(delayMs, signal) {
      if (signal?.aborted) return Promise.reject(signal.reason as Error);
      if (delayMs < SHORT_MS) {
        nowMs += delayMs;
        return Promise.resolve();
      }
      return new Promise((_, reject) => {
        signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
      });
    },
    random: () => 0.5,
    uuid: () => 'uuid',
  };
}
