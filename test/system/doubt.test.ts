import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { DeviceRequest } from '../../src/simulator/device/device-plane.ts';
import type { Simulator } from '../../src/simulator/index.ts';
import { startTestCloud } from '../support/cloud.ts';
import type { Story } from '../support/journals.ts';
import { until } from '../support/until.ts';
import { createLane, type Lane, testClock } from './lane.ts';
import { deviceState } from './small-job.ts';

/** The vote is out and no answer comes: what the cloud says later decides, and where it cannot say, the policy (I2). */

const CASE_MS = 90_000;
const clock = testClock();
let simulator: Simulator;
beforeAll(async () => {
  simulator = await startTestCloud({ clock });
});
afterAll(() => simulator.close());

interface Doubt {
  /** Sees the vote before the cloud does. */
  before?(lane: Lane, jobId: string): void;
  /** Once the cloud has accepted it; the answer is lost. */
  after?(lane: Lane, jobId: string): void;
}

const forget = (_lane: Lane, jobId: string): void => simulator.service.deleteJob(jobId, true);

const DOUBTS: Record<string, Doubt> = {
  'accepted, the answer lost, and the job deleted': { after: forget },
  'accepted, the answer lost, and still there': { after: () => undefined },
  'refused, for the cancel was first': {
    before: ({ device }, jobId) => simulator.service.cancelExecution(device.thing, jobId, { force: true }),
  },
};

interface Outcome {
  state: 'old' | 'new';
  commit?: string;
  receipt?: object;
}

const DELETED_KEPT: Outcome = {
  state: 'new',
  commit: 'endedInDoubt',
  receipt: { cloudStatus: 'deleted', outcome: 'committed', deviceState: 'new', exception: 'endedInDoubt' },
};
const DELETED_BACK: Outcome = {
  state: 'old',
  receipt: { cloudStatus: 'deleted', outcome: 'rolledBack', deviceState: 'old', verified: true },
};
const STILL_THERE: Outcome = { state: 'new', commit: 'ownSuccess' };
const CANCELLED: Outcome = {
  state: 'old',
  receipt: { cloudStatus: 'CANCELED', outcome: 'rolledBack', deviceState: 'old', verified: true },
};

const CASES = [
  ['accepted, the answer lost, and the job deleted', 'keep', DELETED_KEPT],
  ['accepted, the answer lost, and the job deleted', 'rollBack', DELETED_BACK],
  ['accepted, the answer lost, and still there', 'keep', STILL_THERE],
  ['accepted, the answer lost, and still there', 'rollBack', STILL_THERE],
  ['refused, for the cancel was first', 'keep', CANCELLED],
  ['refused, for the cancel was first', 'rollBack', CANCELLED],
] as const;

const LIVES = ['in the same life', 'after a SIGKILL'] as const;

describe.concurrent.each(CASES)('%s; policy %s', (name, inDoubt, wanted) => {
  test.each(LIVES)('%s', { timeout: CASE_MS }, async (life) => {
    const lane = await createLane(simulator, clock, { commit: { inDoubt } });
    try {
      lane.agent.start();
      const jobId = await lane.next();
      const voted = voteOf(lane, jobId, DOUBTS[name]!);
      lane.createJob(jobId, lane.document(false));
      await until('the vote', () => voted());
      if (life === 'after a SIGKILL') {
        await lane.agent.kill();
        lane.agent.start();
      }
      const story = await closedStory(lane, jobId);
      expect(story.progress.commit).toBe(wanted.commit);
      expect(await deviceState(lane)).toBe(wanted.state);
      if (!('receipt' in wanted)) {
        expect(lane.receipts).toEqual([]);
        return;
      }
      expect(await until('the receipt', () => lane.receipts.at(-1))).toMatchObject(wanted.receipt);
    } finally {
      await lane.end();
    }
  });
});

/** Plays the doubt on the first copy of the vote, and takes its answer away; says whether that has been. */
function voteOf(lane: Lane, jobId: string, { before, after }: Doubt): () => boolean {
  let played = false;
  const isVote = ({ target, body }: DeviceRequest): boolean =>
    target === jobId && body['status'] === 'SUCCEEDED' && !played;
  simulator.faults.onRequest((request) => {
    if (isVote(request)) before?.(lane, jobId);
    return { kind: 'process' };
  });
  simulator.faults.onAnswer((request) => {
    if (!isVote(request)) return { kind: 'process' };
    played = true;
    after?.(lane, jobId);
    return { kind: 'drop' };
  });
  return () => played;
}

function closedStory(lane: Lane, jobId: string): Promise<Story> {
  return until('the job to close', async () =>
    (await lane.stories(jobId)).find(({ progress }) => progress.phase === 'closed'),
  );
}

test('a timer that ends the job after the vote is answered by policy', { timeout: 2 * CASE_MS }, async () => {
  for (const [timedOutAfterVote, state, outcome, exception] of [
    ['rollBack', 'old', 'rolledBack', undefined],
    ['keep', 'new', 'committed', 'keptAfterVote'],
  ] as const) {
    const lane = await createLane(simulator, clock, { commit: { timedOutAfterVote } });
    try {
      lane.agent.start();
      const jobId = await lane.next();
      const voted = voteOf(lane, jobId, {
        before: ({ device }) => simulator.service.timeOut(device.thing, jobId),
      });
      lane.createJob(jobId, lane.document(false));
      await until('the vote', () => voted());
      await closedStory(lane, jobId);
      expect(await deviceState(lane)).toBe(state);
      const receipt = await until('the receipt', () => lane.receipts.at(-1));
      expect(receipt).toMatchObject({ cloudStatus: 'TIMED_OUT', outcome, deviceState: state });
      expect(receipt.exception).toBe(exception);
    } finally {
      await lane.end();
    }
  }
});
