import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Simulator } from '../../src/simulator/index.ts';
import { thingArn } from '../../src/simulator/service/jobs-service.ts';
import { startTestCloud } from '../support/cloud.ts';
import { asked, typed } from '../support/command.ts';
import { storiesIn } from '../support/journals.ts';
import { until } from '../support/until.ts';
import { receiptOf, type Stage, stage } from '../system/small-job.ts';

/** `evenkeel resolve`, on a device that is truly INCONSISTENT: somebody else took away what an undo needs. */

const TEST_MS = 90_000;

let simulator: Simulator;
let scene: Stage;
beforeAll(async () => {
  simulator = await startTestCloud();
});
afterAll(() => simulator.close());
beforeEach(async () => {
  scene = await stage(simulator);
  await scene.device.start();
});
afterEach(async () => {
  await scene.device.stop('SIGTERM');
  await scene.device.remove();
  for (const { jobId } of simulator.service.jobs()) simulator.service.deleteJob(jobId, true);
});

const path = (name: string): string => scene.device.path(name);

function createJob(jobId: string, ...actions: object[]): void {
  const document = JSON.stringify({ version: '1.0', steps: actions.map((action) => ({ action })) });
  simulator.service.createJob({ jobId, targets: [thingArn(scene.device.thing)], document });
}

/** Its directory is another one when the job fails, with a strange file where the job's was; and another job waits. */
async function breakIt(): Promise<void> {
  const script = `touch ${path('var/waits')}; while [ ! -e ${path('var/go')} ]; do sleep 0.05; done; exit 3`;
  createJob(
    'breaks',
    { name: 'configure', type: 'writeFile', input: { path: path('etc/app.conf'), content: 'version = 2\n' } },
    {
      name: 'wait',
      type: 'runCommand',
      input: { command: ['/bin/sh', '-c', script] },
      snapshotPaths: [path('var/waits')],
    },
  );
  await until('the job to wait', async () =>
    (await scene.device.files()).some((line) => line.startsWith('var/waits')),
  );
  await rename(path('etc'), path('etc.away'));
  await mkdir(path('etc'));
  await writeFile(path('etc/app.conf'), 'strange\n');
  await writeFile(path('var/go'), '');
  await until('the job to end', () => receiptOf(scene)?.outcome === 'inconsistent');
  createJob('ordinary', {
    name: 'note',
    type: 'writeFile',
    input: { path: path('var/ordinary'), content: 'x' },
  });
}

const status = (jobId: string): string => simulator.service.execution(scene.device.thing, jobId).status;
const conf = async (): Promise<string> =>
  (await scene.device.files()).find((line) => line.startsWith('etc/app.conf')) ?? 'none';
const ITEM = (): string => `path:${path('etc/app.conf')}`;

async function ordinaryRuns(): Promise<void> {
  await until('the waiting job', () => status('ordinary') === 'SUCCEEDED');
}

test('it looks, undoes again, says what is left; and once that is right, lifts the mark', {
  timeout: TEST_MS,
}, async () => {
  await breakIt();
  const look = await asked(scene.device, 'resolve', '--look');
  expect(look).toMatchObject({
    code: 5,
    said: {
      jobs: [{ jobId: 'breaks', undone: [], items: [{ id: ITEM(), now: 'neither' }], resolved: false }],
    },
  });
  const first = await typed(scene.device, 'resolve');
  expect(first).toMatchObject({
    code: 5,
    stdout: expect.stringMatching(
      /undo of configure tried again: .*\n.*app\.conf: neither old nor new\n.*by hand(.|\n)*--accept --reason/,
    ) as string,
  });
  expect(await conf()).toContain('etc/app.conf 644 8 bytes');
  expect(status('ordinary')).toBe('QUEUED');

  // The right directory is back, and the file in it is still neither: that the undo can mend.
  await rm(path('etc'), { recursive: true });
  await rename(path('etc.away'), path('etc'));
  await writeFile(path('etc/app.conf'), 'strange, too\n');
  await scene.device.stop('SIGKILL');
  await scene.device.start();
  await until('the agent', async () => (await typed(scene.device, 'resolve', '--look')).code === 5);
  const second = await asked(scene.device, 'resolve');
  expect(second).toMatchObject({
    code: 0,
    said: {
      jobs: [{ undone: [{ step: 'configure' }], items: [{ id: ITEM(), now: 'old' }], resolved: true }],
    },
  });
  expect(await conf()).toBe('etc/app.conf 640 12 bytes sha256 dbab12665d98');
  const receipt = await until('its receipt', () => {
    const seen = receiptOf(scene);
    return seen?.outcome === 'resolved' ? seen : undefined;
  });
  expect(receipt).toMatchObject({
    jobId: 'breaks',
    deviceState: 'old',
    verified: true,
    items: [],
    cause: { kind: 'person', reason: 'every item is old or new again' },
  });
  await ordinaryRuns();
  // What was found is kept, and the journal tells of it.
  const stories = await storiesIn(join(scene.device.root, 'state'));
  const breaks = stories.find(({ progress }) => progress.identity.jobId === 'breaks');
  expect(breaks?.progress).toMatchObject({ resolved: true, steps: [{ phase: 'undone' }, {}] });
  expect(breaks?.progress.steps[0]?.kept).toHaveLength(1);
  expect((await scene.device.files()).filter((line) => line.includes('.evenkeel-'))).toEqual([]);
  expect((await typed(scene.device, 'resolve')).stdout).toContain('nothing to resolve');
});

test('it is accepted as it is only with a reason, which the receipt carries', {
  timeout: TEST_MS,
}, async () => {
  await breakIt();
  expect(await typed(scene.device, 'resolve', '--accept')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('--reason') as string,
  });
  expect(status('ordinary')).toBe('QUEUED');
  const { code } = await typed(scene.device, 'resolve', '--accept', '--reason', 'Ann wrote it by hand');
  expect(code).toBe(0);
  await ordinaryRuns();
  expect(await conf()).toContain('etc/app.conf 644 8 bytes');
  const receipt = await until('its receipt', () => {
    const seen = receiptOf(scene);
    return seen?.outcome === 'resolved' ? seen : undefined;
  });
  expect(receipt).toMatchObject({
    deviceState: 'unknown',
    verified: false,
    items: [ITEM()],
    cause: { kind: 'person', reason: 'Ann wrote it by hand' },
  });
});

test('a journal that tells nothing certain is set aside only when that is accepted', {
  timeout: TEST_MS,
}, async () => {
  await scene.device.stop('SIGTERM');
  const key = 'c0ffee'.padEnd(32, '0');
  const directory = join(scene.device.root, 'state', 'executions', key);
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, 'journal'), Buffer.alloc(8192, 7));
  await scene.device.start();
  createJob('ordinary', { name: 'note', type: 'removeFile', input: { path: path('var/none') } });
  const left = await until('the agent', async () => {
    const seen = await typed(scene.device, 'resolve');
    return seen.code === 2 ? undefined : seen;
  });
  expect(left).toMatchObject({
    code: 5,
    stdout: expect.stringContaining(`journal ${key} tells nothing`) as string,
  });
  expect(status('ordinary')).toBe('QUEUED');
  expect((await typed(scene.device, 'resolve', '--accept', '--reason', 'a bad card')).code).toBe(0);
  await ordinaryRuns();
});

test('while a job is open it is refused', { timeout: TEST_MS }, async () => {
  createJob('long', { name: 'wait', type: 'runCommand', input: { command: 'sleep,60' } });
  await until('the job', () => status('long') === 'IN_PROGRESS');
  expect(await typed(scene.device, 'resolve')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('long#1 is open') as string,
  });
  expect((await typed(scene.device, 'cancel')).code).toBe(4);
});
