/**
 * Waits between connection attempts, in milliseconds. Full jitter: each is drawn evenly from 0 to a ceiling that
 * doubles, so that devices which failed together do not come back together. Measured with a fleet: `test/README.md`.
 */
export interface Backoff {
  /** The wait before the next attempt. */
  nextMs(): number;
  /** The link had lasted and was lost, perhaps by a whole fleet at once. */
  lost(): void;
  /** The link had lasted and was given up by ourselves. */
  renewed(): void;
}

export interface BackoffLimits {
  /** Ceiling for the very first attempt; 0 is at once. */
  startMs: number;
  /** Ceiling after the first attempt that failed. */
  firstMs: number;
  /** Ceiling after a link that had lasted. */
  lostMs: number;
  maxMs: number;
}

export function createBackoff(limits: BackoffLimits, random: () => number): Backoff {
  let ceilingMs = limits.startMs;
  return {
    nextMs() {
      const waitMs = random() * Math.min(ceilingMs, limits.maxMs);
      ceilingMs = Math.min(Math.max(ceilingMs * 2, limits.firstMs), limits.maxMs);
      return waitMs;
    },
    lost() {
      ceilingMs = limits.lostMs;
    },
    renewed() {
      ceilingMs = limits.firstMs;
    },
  };
}
