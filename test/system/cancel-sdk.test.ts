import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Simulator } from '../../src/simulator/index.ts';
import { startTestCloud } from '../support/cloud.ts';
import { createLane, type TestClock, testClock } from './lane.ts';
import {
  backwardPlaces,
  CASE_MS,
  type Case,
  ENDS,
  forwardPlaces,
  NOTICED,
  type Noticed,
  playCase,
} from './table.ts';

/**
 * Some rows of the table of cancels with the other MQTT library: every way in which the cloud ends an execution, a
 * place in each phase, and each way of noticing it. `EVENKEEL_TEST_TRANSPORT=aws-sdk` plays the whole table with it.
 */

type Row = Pick<Case, 'place' | 'end' | 'fails'>;

const forced = (place: string, fails = false): Row => ({ place, end: 'cancelled by force', fails });
const by = (end: string, place: string): Row => ({ place, end, fails: false });

const ROWS: Record<Noticed, readonly Row[]> = {
  'while connected': [
    by('deleted by force', 'surveyed'),
    by('timed out', 'ready 2'),
    by('deleted, and created again with another document', 'attempt 3'),
    forced('process 4'),
    by('removed with its thing', 'proposed'),
    forced('undo 2', true),
  ],
  'after a reconnect': [
    forced('started'),
    forced('done 3'),
    by('timed out, and tried again as the next execution', 'prepared'),
    forced('in doubt'),
    forced('committed'),
  ],
  'after a restart': [
    forced('recorded'),
    forced('process 4'),
    by('deleted, and created again with the same document', 'proposed'),
    forced('verifying'),
    forced('judged', true),
  ],
};

let simulator: Simulator;
let clock: TestClock;
beforeAll(async () => {
  clock = testClock();
  simulator = await startTestCloud({ clock });
});
afterAll(() => simulator.close());

describe.concurrent('aws-sdk', () => {
  test.each(NOTICED)('C18, J8: noticed %s', { timeout: 10 * CASE_MS }, async (noticed) => {
    const lane = await createLane(simulator, clock, { connection: { transport: 'aws-sdk' } });
    try {
      for (const row of ROWS[noticed]) await playCase(lane, { ...row, noticed });
      expect(lane.agent.log()).toContain('"transport":"aws-sdk"');
    } finally {
      await lane.end();
    }
  });
});

test('the rows are of the table, and hold every way in which the cloud ends an execution', () => {
  for (const noticed of NOTICED)
    for (const { end, place, fails } of ROWS[noticed])
      expect((fails ? backwardPlaces : forwardPlaces)(end, noticed), `${end} ${noticed}`).toContain(place);
  const ends = Object.values(ROWS).flatMap((rows) => rows.map(({ end }) => end));
  expect([...new Set(ends)].sort()).toEqual(Object.keys(ENDS).sort());
});
