/** Waits between connection attempts, in milliseconds. */
export interface Backoff {
  /** The next wait: evenly drawn from 0 to a ceiling that doubles with each call, so that a fleet spreads out. */
  nextMs(): number;
  reset(): void;
}

export function createBackoff(limits: { firstMs: number; maxMs: number }, random: () => number): Backoff {
  let ceilingMs = limits.firstMs;
  return {
    nextMs() {
      const waitMs = random() * Math.min(ceilingMs, limits.maxMs);
      ceilingMs = Math.min(ceilingMs * 2, limits.maxMs);
      return waitMs;
    },
    reset() {
      ceilingMs = limits.firstMs;
    },
  };
}
