import { expect, test } from 'vitest';
import { eventsOf, type PlannedEvent } from './power-events.ts';
import { type PowerRun, runPower } from './power-run.ts';

/**
 * I1, I2, I4, I5, I6 under power cuts (design sections 4, 6, 7): the production runner, steps, journal and book on a
 * disk that forgets what was not synced. `EVENKEEL_SEED` replays one seed, `EVENKEEL_POWER_RUNS` makes it longer.
 */
const RUNS = Number(process.env['EVENKEEL_POWER_RUNS'] ?? 2000);
const SEED = process.env['EVENKEEL_SEED'];
const STORY_LINES = 400;

/** The fewest events with which it still goes wrong. */
async function smallest(run: PowerRun): Promise<PowerRun> {
  let best = run;
  for (let index = 0; index < best.events.length; ) {
    const fewer: PlannedEvent[] = best.events.filter((_, at) => at !== index);
    const tried = await runPower(run.seed, fewer);
    if (tried.wrong.length > 0) best = tried;
    else index += 1;
  }
  return best;
}

function report({ seed, scenario, events, policy, wrong, story }: PowerRun): string {
  return [
    `EVENKEEL_SEED=${seed}`,
    ...scenario.describe(),
    `policy: ${JSON.stringify(policy)}`,
    `events: ${events.map(({ at, kind }) => `${kind} at ${at}`).join(', ')}`,
    ...story.slice(-STORY_LINES),
    ...wrong.map((text) => `WRONG: ${text}`),
  ].join('\n');
}

test('whatever is cut, killed or cancelled, the device is old or new, and the cloud knows which', {
  timeout: 600_000,
}, async () => {
  const seeds = SEED === undefined ? Array.from({ length: RUNS }, (_, index) => index + 1) : [Number(SEED)];
  for (const seed of seeds) {
    const run = await runPower(seed, eventsOf(seed));
    if (run.wrong.length > 0) expect.fail(report(await smallest(run)));
  }
});
