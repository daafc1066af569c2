import type { TransportClock } from './clock.ts';

/** A token bucket: `burst` messages at once, then `perSecond`. */
export interface SendRate {
  /** Takes one token and returns 0, or returns the milliseconds until there is one. */
  take(): number;
}

export function createSendRate(
  limit: { perSecond: number; burst: number } | undefined,
  clock: TransportClock,
): SendRate {
  if (limit === undefined) return { take: () => 0 };
  let tokens = limit.burst;
  let countedAtMs = clock.monotonicMs();
  return {
    take() {
      const nowMs = clock.monotonicMs();
      tokens = Math.min(limit.burst, tokens + ((nowMs - countedAtMs) / 1000) * limit.perSecond);
      countedAtMs = nowMs;
      if (tokens < 1) return Math.ceil(((1 - tokens) / limit.perSecond) * 1000);
      tokens -= 1;
      return 0;
    },
  };
}
