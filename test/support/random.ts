/** Chance from a seed: the same seed, the same choices. */
export interface Random {
  /** A number in [0, 1). */
  next(): number;
  /** A whole number in [0, bound). */
  below(bound: number): number;
  chance(probability: number): boolean;
  pick<T>(of: readonly T[]): T;
  /** Another source, independent of how much is drawn from this one later. */
  fork(): Random;
}

/** mulberry32: small, fast and good enough to spread test cases. */
export function randomFrom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (bound: number): number => Math.floor(next() * bound);
  return {
    next,
    below,
    chance: (probability) => next() < probability,
    pick<T>(of: readonly T[]) {
      if (of.length === 0) throw new Error('nothing to pick from');
      return of[below(of.length)] as T;
    },
    fork: () => randomFrom(below(2 ** 32)),
  };
}
