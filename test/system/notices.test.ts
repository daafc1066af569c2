import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Simulator, startSimulator } from '../../src/simulator/index.ts';
import { until } from '../support/until.ts';
import { createLane, type Lane, testClock } from './lane.ts';
import { deviceState } from './small-job.ts';
import { ENDS } from './table.ts';

/** In the middle of a long step nothing but a question can tell of a cancel; the heartbeat is far away. */

const TEST_MS = 60_000;
const clock = testClock();
let simulator: Simulator;
let lane: Lane;
beforeAll(async () => {
  simulator = await startSimulator({ clock });
});
afterAll(() => simulator.close());
beforeEach(async () => {
  lane = await createLane(simulator, clock);
  lane.agent.start();
});
afterEach(() => lane.end());

/** A job whose last step takes longer than the test. */
async function inLongStep(): Promise<string> {
  const jobId = await lane.next();
  await lane.agent.arm('process 4', 'pause', '');
  const there = lane.agent.reached();
  lane.createJob(jobId, lane.longDocument());
  await there;
  return jobId;
}

async function rolledBack(jobId: string, cloudStatus: string): Promise<void> {
  const receipt = await until('the receipt', () => lane.receipts.find((one) => one.jobId === jobId));
  expect(receipt).toMatchObject({ cloudStatus, outcome: 'rolledBack', deviceState: 'old', verified: true });
}

test('a question that is lost three times is asked a fourth time', { timeout: TEST_MS }, async () => {
  const jobId = await inLongStep();
  let lost = 0;
  simulator.faults.onRequest(({ target, operation }) => {
    if (target !== jobId || operation !== 'describe' || lost === 3) return { kind: 'process' };
    lost += 1;
    return { kind: 'drop' };
  });
  simulator.service.cancelExecution(lane.device.thing, jobId, { force: true });
  lane.agent.release();
  await rolledBack(jobId, 'CANCELED');
  expect(lost).toBe(3);
  expect(await deviceState(lane)).toBe('old');
});

test('notify-next that names a successor with the same id and number is a reason to ask (A21)', {
  timeout: TEST_MS,
}, async () => {
  const jobId = await inLongStep();
  const mute = simulator.faults.onNotification(() => ({ kind: 'drop' }));
  ENDS['deleted, and created again with another document']!.act(lane, jobId);
  // The notifications are let go, all but the last, a moment after they were made.
  await new Promise(setImmediate);
  mute();
  const successor = simulator.service.execution(lane.device.thing, jobId);
  lane.agent.release();
  lane.publish('notify-next', {
    timestamp: 1,
    execution: simulator.service.described(successor, true),
  });
  await rolledBack(jobId, 'deleted');
  await until('the successor to run', () => successor.status === 'SUCCEEDED');
});
