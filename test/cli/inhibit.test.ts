import { writeFile } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Simulator } from '../../src/simulator/index.ts';
import { thingArn } from '../../src/simulator/service/jobs-service.ts';
import { startTestCloud } from '../support/cloud.ts';
import { asked, typed } from '../support/command.ts';
import { until } from '../support/until.ts';
import { testClock } from '../system/lane.ts';
import {
  cloudStatus,
  createSmallJob,
  deviceState,
  jobOf,
  type Stage,
  settled,
  smallDocument,
  stage,
} from '../system/small-job.ts';

/** `evenkeel inhibit` and `allow`, with the real agent: a local application is busy, and jobs wait for it. */

const TEST_MS = 90_000;

const clock = testClock();
let simulator: Simulator;
let scene: Stage;
beforeAll(async () => {
  simulator = await startTestCloud({ clock });
});
afterAll(() => simulator.close());
beforeEach(async () => {
  scene = await stage(simulator);
  await scene.device.start();
  await until('the agent', async () => (await typed(scene.device, 'allow')).code === 0);
});
afterEach(async () => {
  await scene.device.stop('SIGTERM');
  await scene.device.remove();
});

type Live = { state: string; inhibited?: object; job?: { move: string } };
const live = async (): Promise<Live> => (await asked(scene.device, 'status')).said['agent'] as never;
const liveAgent = async (): Promise<Live | undefined> =>
  ((await live()) as unknown as { agent?: Live } | undefined)?.agent;

/** A job whose first step waits for a file. */
function createWaitingJob(more: object = {}): void {
  const { device } = scene;
  const document = smallDocument(device) as { steps: object[] };
  const begun = device.path('var/begun');
  const script = `touch ${begun}; while [ ! -e ${device.path('var/go')} ]; do sleep 0.05; done`;
  document.steps.unshift({
    action: {
      name: 'wait',
      type: 'runCommand',
      input: { command: ['/bin/sh', '-c', script] },
      snapshotPaths: [begun],
    },
  });
  const targets = [thingArn(device.thing)];
  simulator.service.createJob({ jobId: jobOf(scene), targets, document: JSON.stringify(document), ...more });
}

const has = async (text: string): Promise<boolean> =>
  (await scene.device.files()).some((line) => line.startsWith(text));
const go = (): Promise<void> => writeFile(scene.device.path('var/go'), '');

test('no job is begun, over restarts, and status says why; allow begins it', {
  timeout: TEST_MS,
}, async () => {
  const { device } = scene;
  const { code, stdout } = await typed(device, 'inhibit', '--reason', 'at sea', '--for', '30m');
  expect({ code, stdout }).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('for 30 min') as string,
  });
  createSmallJob(scene);
  await until('the job to be seen', () => device.log().includes('inhibited on the device: at sea'));
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    await device.stop(signal);
    const seen = device.log().length;
    await device.start();
    await until('the job to be seen again', () =>
      device.log().slice(seen).includes('inhibited on the device: at sea'),
    );
  }
  expect(await liveAgent()).toMatchObject({ state: 'idle', inhibited: { reason: 'at sea', steps: false } });
  expect((await typed(device, 'status')).stdout).toMatch(
    /held {5}no job is begun for (29|30) min.* at most: at sea/,
  );
  expect(simulator.service.execution(device.thing, jobOf(scene))).toMatchObject({
    status: 'QUEUED',
    versionNumber: 1,
  });
  expect(await deviceState(scene)).toBe('old');
  expect((await typed(device, 'allow')).stdout).toBe('jobs are begun again\n');
  await settled(scene);
  expect(cloudStatus(scene)).toBe('SUCCEEDED');
});

test('it ends by itself', { timeout: TEST_MS }, async () => {
  await typed(scene.device, 'inhibit', '--reason', 'a moment', '--for', '3s');
  createSmallJob(scene);
  await until('the job to be seen', () => scene.device.log().includes('inhibited on the device'));
  expect(cloudStatus(scene)).toBe('QUEUED');
  await settled(scene);
  expect(cloudStatus(scene)).toBe('SUCCEEDED');
});

test('--steps holds the running job at its next step, over a restart; a cancel is not held', {
  timeout: TEST_MS,
}, async () => {
  const { device } = scene;
  createWaitingJob();
  await until('the first step', () => has('var/begun'));
  const plain = await typed(device, 'inhibit', '--reason', 'printing');
  expect(plain.stdout).toContain('runs already and is not held back');
  const { stdout } = await typed(device, 'inhibit', '--reason', 'printing', '--steps');
  expect(stdout).toContain('is held back behind its present step');
  await go();
  await until('the edge', async () => (await liveAgent())?.job?.move === 'holding');
  await device.stop('SIGKILL');
  await device.start();
  await until('the edge again', async () => (await liveAgent())?.job?.move === 'holding');
  expect(await has('etc/app.conf 640 12 bytes sha256 dbab12665d98')).toBe(true);
  expect(cloudStatus(scene)).toBe('IN_PROGRESS');
  const { code } = await typed(device, 'cancel');
  expect(code).toBe(0);
  expect(cloudStatus(scene)).toBe('FAILED');
  expect(await liveAgent()).toMatchObject({ inhibited: { steps: true } });
});

test('--steps, and allow lets it go on', { timeout: TEST_MS }, async () => {
  createWaitingJob();
  await until('the first step', () => has('var/begun'));
  await typed(scene.device, 'inhibit', '--reason', 'printing', '--steps');
  await go();
  await until('the edge', async () => (await liveAgent())?.job?.move === 'holding');
  await typed(scene.device, 'allow');
  await settled(scene);
  expect(cloudStatus(scene)).toBe('SUCCEEDED');
});

test('--steps never holds a job until its in-progress timer ends it (S21)', {
  timeout: TEST_MS,
}, async () => {
  createWaitingJob({ timeoutConfig: { inProgressTimeoutInMinutes: 1 } });
  await until('the first step', () => has('var/begun'));
  await typed(scene.device, 'inhibit', '--reason', 'printing', '--steps', '--for', '1h');
  for (let second = 0; second < 36; second += 1) clock.passASecond();
  await go();
  await until('the edge', async () => (await liveAgent())?.job?.move === 'holding');
  await settled(scene);
  expect(scene.device.log()).toContain('for as long as the timer of the job allows');
  expect(cloudStatus(scene)).toBe('SUCCEEDED');
});

test('what is wrong is said', async () => {
  const long = await typed(scene.device, 'inhibit', '--reason', 'x', '--for', '8d');
  expect(long).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('7d, which is the longest') as string,
  });
  expect((await typed(scene.device, 'inhibit')).code).toBe(1);
  expect((await typed(scene.device, 'allow')).stdout).toBe('nothing was inhibited\n');
});
