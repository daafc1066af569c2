import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Simulator } from '../../src/simulator/index.ts';
import { startTestCloud } from '../support/cloud.ts';
import { storiesIn } from '../support/journals.ts';
import { until } from '../support/until.ts';
import { createLane, type Lane, type TestClock, testClock } from './lane.ts';
import {
  BACKWARD,
  backwardPlaces,
  CASE_MS,
  ENDS,
  FORWARD,
  forwardPlaces,
  NOTICED,
  PHASES,
  playCase,
} from './table.ts';

/**
 * The cloud ends the execution in every phase: at every record of its journal, forwards and backwards, and between
 * them where a phase has none; in every way in which the cloud can end it; noticed while connected, after a reconnect,
 * or after a restart. I1, I2, I3, I6, I7, I8. One real agent for each row, several rows at once.
 */

let simulator: Simulator;
let clock: TestClock;
beforeAll(async () => {
  clock = testClock();
  simulator = await startTestCloud({ clock });
});
afterAll(() => simulator.close());

async function withLane(use: (lane: Lane) => Promise<void>): Promise<void> {
  const lane = await createLane(simulator, clock);
  try {
    await use(lane);
  } finally {
    await lane.end();
  }
}

describe.concurrent.each(Object.keys(ENDS))('%s', (end) => {
  test.each(NOTICED)('C18, J8: noticed %s', { timeout: FORWARD.length * CASE_MS }, (noticed) =>
    withLane(async (lane) => {
      for (const place of forwardPlaces(end, noticed))
        await playCase(lane, { place, noticed, end, fails: false });
      for (const place of backwardPlaces(end, noticed))
        await playCase(lane, { place, noticed, end, fails: true });
    }),
  );
});

test('the table names every record of the job, and every phase', { timeout: CASE_MS }, async () => {
  await withLane(async (lane) => {
    lane.agent.start();
    const typesOf = async (fails: boolean): Promise<string[]> => {
      const jobId = await lane.next();
      lane.createJob(jobId, lane.document(fails));
      const story = await until('the job to end', async () =>
        (await lane.stories(jobId)).find(({ progress }) => progress.phase === 'closed'),
      );
      return story.records.map((one) => ('step' in one ? `${one.type} ${one.step + 1}` : one.type));
    };
    const forward = await typesOf(false);
    const unwritten = ['received', 'validated', 'surveyed', 'recorded', 'verifying', 'in doubt'];
    expect(forward.slice(1)).toEqual(FORWARD.filter((place) => !unwritten.includes(place)));
    const backward = await typesOf(true);
    expect(backward.slice(backward.indexOf('failed 4'))).toEqual(BACKWARD);
    expect(await storiesIn(join(lane.device.root, 'state'))).toHaveLength(2);
  });
  const places = [...FORWARD, ...BACKWARD];
  for (const [phase, at] of Object.entries(PHASES)) {
    expect(places, phase).toEqual(expect.arrayContaining([...at]));
  }
});
