import { expect, test } from 'vitest';
import { report, smallest } from './report.ts';
import { simulate } from './sim-run.ts';

/**
 * I1-I9 in simulated time: the production agent, with its jobs client, execution, journal, receipts and delivery, over a
 * simulated disk, processes, clock and network, with the simulator's Jobs service as its cloud, under every setting of
 * the open points. `EVENKEEL_SEED` replays one seed; `npm run test:sim -- --seed N --runs M` makes more of them.
 */
const RUNS = Number(process.env['EVENKEEL_SIM_RUNS'] ?? 1000);
const SEED = process.env['EVENKEEL_SEED'];

test('whatever befalls device, network and cloud, they agree at rest', { timeout: 900_000 }, async () => {
  const seeds = SEED === undefined ? Array.from({ length: RUNS }, (_, index) => index + 1) : [Number(SEED)];
  for (const seed of seeds) {
    const run = await simulate(seed);
    if (run.wrong.length > 0) expect.fail(report(await smallest(run)));
  }
});

test('the same seed is the same story, word for word', { timeout: 60_000 }, async () => {
  for (const seed of [2, 26, 155]) {
    const [once, again] = [await simulate(seed), await simulate(seed)];
    expect(again.story).toEqual(once.story);
  }
});
