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

/** What the device sent since then, below its own prefix. */
const said = (after: number): { topic: string; payload: string }[] =>
  heard()
    .filter(({ sequence, direction }) => sequence > after && direction === 'in')
    .map(({ topic, payload }) => ({ topic: topic.replace(topicOf(''), ''), payload }));
const last = (): number => simulator.trace.since(0).at(-1)?.sequence ?? 0;

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
  const from = last();
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
  const topics = said(refusedAt ?? 0).map(({ topic }) => topic);
  expect(topics.filter((topic) => topic.startsWith(`jobs/${jobId}/`))).toEqual([]);
  const receiptAt = topics.indexOf('shadow/name/evenkeel/update');
  expect(receiptAt).toBeGreaterThanOrEqual(0);
  expect(topics.slice(receiptAt)).toContain('jobs/$next/get');
  // One question for the cause is all that the cancel cost.
  const refused = after.filter(
    ({ direction, topic }) => direction === 'out' && topic === topicOf(`jobs/${jobId}/update/rejected`),
  );
  expect(refused).toHaveLength(1);
});

test('A1, A2: after every CONNACK, once it has subscribed, it asks for the front, and for the job in hand', {
  timeout: TEST_MS,
}, async () => {
  lane.agent.start();
  const jobId = await lane.next();
  lane.createJob(jobId, lane.longDocument());
  await until('its last step', async () =>
    (await lane.stories(jobId)).some(({ records }) =>
      records.some((one) => one.type === 'attempt' && one.step === 3),
    ),
  );
  const from = last();
  simulator.disconnect(lane.device.thing);
  await until('the question', () => {
    const entries = simulator.trace.since(from);
    const up = entries.findIndex(({ kind, client }) => kind === 'connect' && client === lane.device.thing);
    return up >= 0 && said(entries[up]?.sequence ?? 0).some(({ topic }) => topic === `jobs/${jobId}/get`);
  });
  simulator.service.cancelExecution(lane.device.thing, jobId, { force: true });
  await closed(jobId);
  const idle = last();
  simulator.disconnect(lane.device.thing);
  await until('the question', () => said(idle).some(({ topic }) => topic === 'jobs/$next/get'));
  for (const after of [from, idle]) {
    const kinds = simulator.trace
      .since(after)
      .filter(({ client }) => client === lane.device.thing)
      .flatMap((entry) =>
        entry.kind === 'message' ? (entry.direction === 'in' ? ['asks'] : []) : [entry.kind],
      );
    const connected = kinds.indexOf('connect');
    expect(kinds.slice(connected, kinds.indexOf('asks', connected) + 1)).toEqual(
      expect.arrayContaining(['connect', 'subscribe', 'asks']),
    );
  }
});

test('A13: a FAILED that is lost three times, and once more with the agent itself, still arrives', {
  timeout: TEST_MS,
}, async () => {
  lane.agent.start();
  const jobId = await lane.next();
  let lost = 0;
  const unhook = simulator.faults.onRequest(({ target, body }) => {
    if (target !== jobId || body['status'] !== 'FAILED' || lost === 4) return { kind: 'process' };
    lost += 1;
    return { kind: 'drop' };
  });
  lane.createJob(jobId, lane.document(true));
  await until('three losses', () => lost >= 3);
  await lane.agent.kill();
  expect(execution(jobId).status).toBe('IN_PROGRESS');
  lane.agent.start();
  await until('the report', () => execution(jobId).status === 'FAILED');
  expect(lost).toBe(4);
  await closed(jobId);
  unhook();
});

test('A14: each IN_PROGRESS carries the step timer, so that a device that never comes back blocks nothing for ever', {
  timeout: TEST_MS,
}, async () => {
  const from = last();
  const jobId = await inTheMiddle();
  await lane.agent.kill();
  const updates = said(from).filter(({ topic }) => topic === `jobs/${jobId}/update`);
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
