import { beforeAll, describe, expect, test } from 'vitest';
import { transportOptions } from '../../src/cli/settings.ts';
import { defaultConfig } from '../../src/config/config.ts';
import { madeFile, madePart } from '../support/made-part.ts';
import {
  ACCOUNT_CONNECTS_PER_SECOND,
  DEVICES,
  type Outcome,
  playFleet,
  SCENARIOS,
  type Scenario,
  STRATEGIES,
  type Strategy,
} from './fleet.ts';
import { type Outcomes, pictureOf, tableOf } from './fleet-picture.ts';

/**
 * Ten thousand devices with the default configuration, after what hits all of them at once. `npm run picture:backoff`
 * draws it anew.
 */

const README = new URL('../README.md', import.meta.url);
const PICTURE = new URL('../pictures/backoff.svg', import.meta.url);
const SEED = Number(process.env['EVENKEEL_SEED'] ?? 1);
/** Nine fleets, on a machine that does something else too. */
const FLEETS_MS = 900_000;

let outcomes: Outcomes;
beforeAll(async () => {
  const { backoff } = transportOptions(defaultConfig());
  const options = { backoff, spreadMs: backoff.lostMs };
  const made: Partial<Record<Scenario, Record<Strategy, Outcome>>> = {};
  for (const scenario of Object.keys(SCENARIOS) as Scenario[]) {
    const of: Partial<Record<Strategy, Outcome>> = {};
    for (const strategy of Object.keys(STRATEGIES) as Strategy[])
      of[strategy] = await playFleet(scenario, strategy, options, SEED);
    made[scenario] = of as Record<Strategy, Outcome>;
  }
  outcomes = made as Outcomes;
}, FLEETS_MS);

const scenarios = Object.keys(SCENARIOS) as Scenario[];

describe.each(scenarios)('%s', (scenario) => {
  test('with full jitter the account is never throttled, and nobody waits longer than one ceiling', () => {
    const { peak, allBackSeconds, perSecond } = outcomes[scenario]['full jitter'];
    const { lostMs, maxMs } = transportOptions(defaultConfig()).backoff;
    const ceilingMs = SCENARIOS[scenario].awayMs ? maxMs : lostMs;
    expect(peak, `seed ${SEED}`).toBeLessThan(ACCOUNT_CONNECTS_PER_SECOND);
    // The round trip, and the second in which they boot.
    expect(allBackSeconds, `seed ${SEED}`).toBeLessThanOrEqual(ceilingMs / 1000 + 2);
    expect(perSecond.reduce((sum, count) => sum + count)).toBe(DEVICES);
  });

  test('without jitter all come in the same seconds, again and again', () => {
    const { peak, allBackSeconds } = outcomes[scenario]['no jitter'];
    expect(peak).toBeGreaterThan(DEVICES * 0.9);
    expect(allBackSeconds).toBeGreaterThan(5 * outcomes[scenario]['full jitter'].allBackSeconds);
  });
});

test('equal jitter is throttled where full jitter is not: half of the window goes unused', () => {
  const peaks = scenarios.map((scenario) => outcomes[scenario]['equal jitter'].peak);
  expect(Math.max(...peaks)).toBeGreaterThan(ACCOUNT_CONNECTS_PER_SECOND);
});

test.skipIf(SEED !== 1)(
  'README.md and its picture show what the code does (npm run picture:backoff)',
  async () => {
    await madeFile(PICTURE, pictureOf(outcomes));
    await madePart(README, 'npm run picture:backoff', tableOf(outcomes));
  },
);
