import { setTimeout as sleep } from 'node:timers/promises';

const LOOK_MS = 20;

/** Waits until `look` gives something that is not undefined or false; throws with `what` when it takes too long. */
export async function until<T>(
  what: string,
  look: () => T | Promise<T>,
  limitMs = 20_000,
  everyMs = LOOK_MS,
): Promise<NonNullable<T>> {
  const end = Date.now() + limitMs;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false && found !== null) return found;
    if (Date.now() > end) throw new Error(`${what}: not within ${limitMs} ms`);
    await sleep(everyMs);
  }
}
