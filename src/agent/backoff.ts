/** Full jitter: anywhere between nothing and a cap that doubles with each failure. `random` is in [0, 1). */
export function fullJitterMs(
  { firstMs, maxMs }: { firstMs: number; maxMs: number },
  failures: number,
  random: number,
): number {
  return random * Math.min(maxMs, firstMs * 2 ** Math.min(failures, 30));
}
