import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import type { Simulator } from '../../src/simulator/index.ts';
import { startTestCloud } from '../support/cloud.ts';
import { storiesIn } from '../support/journals.ts';
import { until } from '../support/until.ts';
import { createLane, type Lane, type TestClock, testClock } from './lane.ts';
import { deviceState, isNew } from './small-job.ts';

/** What is taken in, what is refused with which words, and that nothing is taken twice or too early (I3, I6). */

const TEST_MS = 60_000;

let simulator: Simulator;
let clock: TestClock;
let lane: Lane;
beforeAll(async () => {
  clock = testClock();
  simulator = await startTestCloud({ clock });
});
afterAll(() => simulator.close());
beforeEach(async () => {
  lane = await createLane(simulator, clock);
});
afterEach(() => lane.end());

const execution = (jobId: string) => simulator.service.execution(lane.device.thing, jobId);

async function configure(change: object): Promise<void> {
  const config = parse(await readFile(lane.device.config, 'utf8')) as object;
  await writeFile(lane.device.config, stringify({ ...config, ...change }));
}

test('mode: observe plans, surveys and tells the grade, and changes nothing; mode: run runs it', {
  timeout: TEST_MS,
}, async () => {
  await configure({ mode: 'observe' });
  lane.agent.start();
  const jobId = await lane.next();
  lane.createJob(jobId, lane.document(false));
  const receipt = await until('the receipt', () => lane.receipts.at(-1));
  expect(receipt).toMatchObject({
    jobId,
    outcome: 'observed',
    cloudStatus: 'QUEUED',
    grade: 'full',
    deviceState: 'old',
  });
  // Once, however often it is named.
  lane.publish('notify-next', {
    timestamp: 1,
    execution: simulator.service.described(execution(jobId), true),
  });
  simulator.disconnect(lane.device.thing);
  const looks = lane.looks;
  await until('another look', () => lane.looks > looks);
  expect(lane.receipts).toHaveLength(1);
  expect(execution(jobId)).toMatchObject({ status: 'QUEUED', versionNumber: 1 });
  expect(await deviceState(lane)).toBe('old');
  expect(await lane.stories(jobId)).toEqual([]);

  await lane.agent.stop();
  await configure({ mode: 'run' });
  lane.agent.start();
  await until('the job to run', () => execution(jobId).status === 'SUCCEEDED');
  await isNew(lane);
});

const irreversible = {
  version: '1.0',
  steps: [{ action: { name: 'once', type: 'runCommand', input: { command: 'true' } } }],
};
const REFUSALS = [
  ['an afr_ota document', {}, { afr_ota: { protocols: ['MQTT'] } }, 'documentInvalid', /afr_ota/],
  [
    'a grade below policy.minGrade',
    { policy: { minGrade: 'full' } },
    irreversible,
    'grade',
    /minGrade is full.*once/,
  ],
  ['a document that is none', {}, { version: '1.0', steps: 7 }, 'documentInvalid', /steps/],
] as const;

test.each(REFUSALS)(
  '%s is REJECTED with its reason',
  { timeout: TEST_MS },
  async (_name, change, document, code, reason) => {
    await configure(change);
    lane.agent.start();
    const jobId = await lane.next();
    lane.createJob(jobId, document);
    await until('the refusal', () => execution(jobId).status === 'REJECTED');
    expect(execution(jobId).statusDetails).toMatchObject({
      code,
      reason: expect.stringMatching(reason) as string,
    });
    expect(await lane.stories(jobId)).toEqual([]);
  },
);

test('two jobs queued: the second starts when the rollback of the first is closed, though the cloud names it before (I3)', {
  timeout: TEST_MS,
}, async () => {
  lane.agent.start();
  const [first, second] = [await lane.next(), await lane.next()];
  await lane.agent.arm('undo 2', 'pause', '');
  const there = lane.agent.reached();
  lane.createJob(first, lane.document(true));
  lane.createJob(second, lane.document(false));
  await there;
  simulator.service.cancelExecution(lane.device.thing, first, { force: true });
  lane.publish('notify-next', {
    timestamp: 1,
    execution: simulator.service.described(execution(second), true),
  });
  expect(execution(second)).toMatchObject({ status: 'QUEUED', versionNumber: 1 });
  lane.agent.release();
  await until('the second job', () => execution(second).status === 'SUCCEEDED');
  const stories = await storiesIn(join(lane.device.root, 'state'));
  const atOf = (jobId: string, type: string): number =>
    stories
      .find(({ progress }) => progress.identity.jobId === jobId)!
      .records.find((record) => record.type === type)!.at;
  expect(atOf(second, 'received')).toBeGreaterThanOrEqual(atOf(first, 'closed'));
  await isNew(lane);
});

test('a notify-next that comes twice, late, or in the wrong order runs nothing again, also after a restart (I6)', {
  timeout: TEST_MS,
}, async () => {
  lane.agent.start();
  const ids = [await lane.next(), await lane.next()];
  const messages: object[] = [];
  for (const jobId of ids) {
    lane.createJob(jobId, lane.document(jobId === ids[1]));
    messages.push({ timestamp: 1, execution: simulator.service.described(execution(jobId), true) });
    lane.publish('notify-next', messages.at(-1)!);
    lane.publish('notify-next', messages.at(-1)!);
  }
  await until('both jobs', () =>
    ids.every((jobId) => ['SUCCEEDED', 'FAILED'].includes(execution(jobId).status)),
  );
  await until('both journals to close', async () =>
    (await Promise.all(ids.map((jobId) => lane.stories(jobId))))
      .flat()
      .every(({ progress }) => progress.phase === 'closed'),
  );
  const before = await recordsOf(ids);
  for (const restart of [false, true]) {
    if (restart) {
      await lane.agent.stop();
      const looks = lane.looks;
      lane.agent.start();
      await until('the first look', () => lane.looks > looks);
    }
    for (const message of [...messages].reverse()) lane.publish('notify-next', message);
    // Each late message is answered by a look at what is true now.
    const jobId = await lane.next();
    lane.createJob(jobId, { version: '1.0', steps: irreversible.steps });
    await until('a job behind them', () => execution(jobId).status === 'SUCCEEDED');
    // A journal may be forgotten meanwhile, for the agent keeps two; it must not be begun anew.
    for (const [index, records] of (await recordsOf(ids)).entries()) {
      expect([before[index], 0]).toContain(records);
    }
    expect(lane.receipts).toEqual([]);
    expect(ids.map((id) => execution(id).status)).toEqual(['SUCCEEDED', 'FAILED']);
  }
});

async function recordsOf(ids: readonly string[]): Promise<number[]> {
  const found = await Promise.all(ids.map((jobId) => lane.stories(jobId)));
  return found.map((stories) => stories.reduce((sum, { records }) => sum + records.length, 0));
}
