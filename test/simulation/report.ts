import type { SimEvent } from './sim-events.ts';
import { type SimRun, simulate } from './sim-run.ts';

/** Of the beginning, and of the end. */
const STORY_LINES = 2000;

/** The fewest events with which it still goes wrong. */
export async function smallest(run: SimRun): Promise<SimRun> {
  let best = run;
  for (let index = 0; index < best.events.length; ) {
    const fewer: SimEvent[] = best.events.filter((_, at) => at !== index);
    const tried = await simulate(run.seed, fewer);
    if (tried.wrong.length > 0) best = tried;
    else index += 1;
  }
  return best;
}

/** What a person needs to see why it went wrong. */
export function report({ seed, events, wrong, story }: SimRun): string {
  return [
    `npm run test:sim -- --seed ${seed}`,
    ...story.slice(0, STORY_LINES),
    ...(story.length > 2 * STORY_LINES ? ['…'] : []),
    ...story.slice(Math.max(STORY_LINES, story.length - STORY_LINES)),
    `story of ${story.length} lines`,
    `events: ${events.map(({ at, kind }) => `${kind} at ${at}`).join(', ')}`,
    ...wrong.map((text) => `WRONG: ${text}`),
  ].join('\n');
}
