import type { Clock } from './clock.ts';

/**
 * Runs `work` with a signal that aborts when `signal` does, or after `limitMs`; no timer is left when it returns.
 * What the work does with an aborted signal is its own affair.
 */
export async function within<T>(
  limitMs: number,
  clock: Pick<Clock, 'sleep'>,
  signal: AbortSignal,
  work: (both: AbortSignal) => Promise<T>,
): Promise<T> {
  const limit = new AbortController();
  const timer = clock.sleep(limitMs, limit.signal).then(
    () => limit.abort(new Error(`not finished within ${Math.round(limitMs / 1000)} s`)),
    () => undefined,
  );
  try {
    return await work(AbortSignal.any([signal, limit.signal]));
  } finally {
    limit.abort(new Error('finished'));
    await timer;
  }
}
