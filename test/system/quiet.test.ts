import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemClock } from '../../src/host/clock.ts';
import { VirtualClock } from '../../src/simulator/clock.ts';
import type { Simulator } from '../../src/simulator/index.ts';
import type { TraceEntry } from '../../src/simulator/trace.ts';
import { startTestCloud } from '../support/cloud.ts';
import { until } from '../support/until.ts';
import { createLane, type Lane, testClock } from './lane.ts';

/** What the agent leaves unsaid after a cancel, and what it leaves behind so that its silence has an end. */

const TEST_MS = 60_000;
const MINUTE_MS = 60_000;
const STEP_TIMER_MINUTES = 90;

let clock: VirtualClock;
let simulator: Simulator;
let lane: Lane;
beforeAll(async () => {
  clock = new VirtualClock({ base: systemClock });
  simulator = await startTestCloud({ clock });
  const jobs = {
    requestTimeoutSeconds: 0.4,
    queueRetrySeconds: 1,
    heartbeatSeconds: 1,
    stepTimerMinutes: STEP_TIMER_MINUTES,
  };
  lane = await createLane(simulator, testClock(), { jobs });
});
afterAll(async () => {
  await lane.end();
  await simulator.close();
});

const execution = (jobId: string) => simulator.service.execution(lane.device.thing, jobId);

type Heard = Extract<TraceEntry, { kind: 'message' }>;
const heard = (): Heard[] =>
  simulator.trace.since(0).flatMap((entry) => (entry.kind === 'message' ? [entry] : []));
const topicOf = (rest: string): string => `$aws/things/${lane.device.thing}/${rest}`;

/** Starts a job, and stands still in the middle of its third step. */
async function inTheMiddle(): Promise<string> {
  lane.agent.start();
  const jobId = await lane.next();
  await lane.agent.arm('attempt 3', 'pause', '');
  const there = lane.agent.reached();
  lane.createJob(jobId, lane.document(false));
  await there;
  return jobId;
}

async function closed(jobId: string): Promise<void> {
  await until('the journal to be closed', async () =>
    (await lane.stories(jobId)).some(({ progress }) => progress.phase === 'closed'),
  );
}

test('A8: once it knows of a cancel the agent says no more of that execution; its receipt goes to the shadow, and it asks for the next', {
  timeout: TEST_MS,
}, async () => {
  const jobId = await inTheMiddle();
  const from = heard().at(-1)?.sequence ?? 0;
  simulator.service.cancelExecution(lane.device.thing, jobId, { force: true });
  lane.agent.release();
  await closed(jobId);
  await until('the receipt', () => lane.receipts.some((one) => one.jobId === jobId));
  // Two jobs later, some heartbeats long, it still has not come back to it.
  for (let more = 0; more < 2; more += 1) {
    const next = await lane.next();
    lane.createJob(next, lane.document(false));
    await until('the next job', () => execution(next).status === 'SUCCEEDED');
    await closed(next);
  }
  const after = heard().filter(({ sequence }) => sequence > from);
  const refusedAt = after.find(
    ({ direction, topic, payload }) =>
      direction === 'out' &&
      topic === topicOf(`jobs/${jobId}/update/rejected`) &&
      payload.includes('"status":"CANCELED"'),
  )?.sequence;
  expect(refusedAt).toBeDefined();
  const said = after.filter(({ direction, sequence }) => direction === 'in' && sequence > (refusedAt ?? 0));
  expect(said.map(({ topic }) => topic).filter((topic) => topic.includes(`/jobs/${jobId}/`))).toEqual([]);
  const topics = said.map(({ topic }) => topic);
  const receiptAt = topics.indexOf(topicOf('shadow/name/evenkeel/update'));
  expect(receiptAt).toBeGreaterThanOrEqual(0);
  expect(topics.slice(receiptAt)).toContain(topicOf('jobs/$next/get'));
  // One question for the cause is all that the cancel cost.
  const refused = after.filter(
    ({ direction, topic }) => direction === 'out' && topic === topicOf(`jobs/${jobId}/update/rejected`),
  );
  expect(refused).toHaveLength(1);
});

test('A14: each IN_PROGRESS carries the step timer, so that a device that never comes back blocks nothing for ever', {
  timeout: TEST_MS,
}, async () => {
  const from = heard().at(-1)?.sequence ?? 0;
  const jobId = await inTheMiddle();
  await lane.agent.kill();
  const updates = heard().filter(
    ({ sequence, direction, topic }) =>
      sequence > from && direction === 'in' && topic === topicOf(`jobs/${jobId}/update`),
  );
  expect(updates.length).toBeGreaterThan(0);
  for (const { payload } of updates)
    expect(JSON.parse(payload)).toMatchObject({
      status: 'IN_PROGRESS',
      stepTimeoutInMinutes: STEP_TIMER_MINUTES,
    });
  lane.createJob(`${jobId}-next`, lane.document(false));
  await clock.advance((STEP_TIMER_MINUTES - 2) * MINUTE_MS);
  expect(execution(jobId).status).toBe('IN_PROGRESS');
  await clock.advance(4 * MINUTE_MS);
  expect(execution(jobId).status).toBe('TIMED_OUT');
  expect(simulator.service.front(lane.device.thing)?.jobId).toBe(`${jobId}-next`);
});
