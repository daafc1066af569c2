import { execFile } from 'node:child_process';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Simulator } from '../../src/simulator/index.ts';
import { thingArn } from '../../src/simulator/service/jobs-service.ts';
import { startTestCloud } from '../support/cloud.ts';
import { until } from '../support/until.ts';
import { receiptOf, type Stage, stage } from './small-job.ts';

/**
 * Somebody else changes, during a job, what its undo needs: the device is neither old nor new, says so, and starts
 * nothing but a repair until the list is empty (I1; design section 4).
 */

const TEST_MS = 90_000;
const MAIN = new URL('../../dist/cli/main.js', import.meta.url).pathname;

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

const action = (name: string, type: string, input: object, more: object = {}): object => ({
  action: { name, type, input, ...more },
});
const shell = (script: string): object => ({ command: ['/bin/sh', '-c', script] });

function createJob(jobId: string, document: object): void {
  const targets = [thingArn(scene.device.thing)];
  simulator.service.createJob({ jobId, targets, document: JSON.stringify({ version: '1.0', ...document }) });
}

const execution = (jobId: string) => simulator.service.execution(scene.device.thing, jobId);

/** A job that has changed a file and now waits, until its directory is another one with a strange file in it. */
async function breakIt(): Promise<void> {
  const { device } = scene;
  createJob('breaks', {
    steps: [
      action('configure', 'writeFile', { path: device.path('etc/app.conf'), content: 'version = 2\n' }),
      action(
        'wait',
        'runCommand',
        shell(
          `touch ${device.path('var/waits')}; while [ ! -e ${device.path('var/go')} ]; do sleep 0.05; done; exit 3`,
        ),
        {
          snapshotPaths: [device.path('var/waits')],
        },
      ),
    ],
  });
  await until('the job to wait', async () =>
    (await device.files()).some((line) => line.startsWith('var/waits')),
  );
  await rename(device.path('etc'), device.path('etc.away'));
  await mkdir(device.path('etc'));
  await writeFile(device.path('etc/app.conf'), 'strange\n');
}

const ITEM = (): string => `path:${scene.device.path('etc/app.conf')}`;

async function endsInconsistent(cloudStatus: string): Promise<void> {
  const receipt = await until('the receipt', () => receiptOf(scene));
  expect(receipt).toMatchObject({
    jobId: 'breaks',
    cloudStatus,
    outcome: 'inconsistent',
    deviceState: 'inconsistent',
    exception: 'inconsistent',
    verified: false,
    items: [ITEM()],
    notUndone: ['configure'],
    undone: ['wait'],
  });
  expect(execution('breaks').status).toBe(cloudStatus);
}

/** A job that anybody could run. */
function queueOrdinary(): void {
  createJob('ordinary', {
    steps: [action('note', 'writeFile', { path: scene.device.path('var/ordinary'), content: 'x' })],
  });
}

async function ranOrdinary(): Promise<boolean> {
  return (await scene.device.files()).some((line) => line.startsWith('var/ordinary'));
}

async function staysMarked(): Promise<void> {
  expect(execution('ordinary')).toMatchObject({ status: 'QUEUED', versionNumber: 1 });
  expect(await ranOrdinary()).toBe(false);
}

async function ordinaryRuns(): Promise<void> {
  await until('the mark to be lifted', () => receiptOf(scene)?.outcome === 'resolved');
  await until('the waiting job to run', () => execution('ordinary').status === 'SUCCEEDED');
  expect(await ranOrdinary()).toBe(true);
}

/** What a person at the device is told. */
async function doctorNames(path: string): Promise<void> {
  const args = [MAIN, 'doctor', '--json', '--config', scene.device.config];
  const ended = promisify(execFile)(process.execPath, args);
  const { code, stdout } = await ended.then(
    (well) => ({ code: 0, ...well }),
    (error: unknown) => error as { code: number; stdout: string },
  );
  expect({ code, report: JSON.parse(stdout) as unknown }).toMatchObject({
    code: 1,
    report: {
      cause: {
        name: 'journals',
        detail: expect.stringContaining(`INCONSISTENT, neither old nor new: ${path}`) as string,
      },
    },
  });
}

function fixes(script: string, accept: readonly string[] = []): object {
  return { repair: true, accept, steps: [action('repair', 'runCommand', shell(script))] };
}

test('a job that fails is REJECTED; only a repair runs, across restarts, until it has mended it', {
  timeout: TEST_MS,
}, async () => {
  const { device } = scene;
  await breakIt();
  await writeFile(device.path('var/go'), '');
  await until('the job to end', () => execution('breaks').status === 'REJECTED');
  await endsInconsistent('REJECTED');

  queueOrdinary();
  await device.stop('SIGTERM');
  await device.start();
  // A repair that mends nothing is taken by its id, though it is not the first, and leaves the mark.
  createJob('mends-nothing', fixes('true'));
  await until('the first repair', () => execution('mends-nothing').status === 'SUCCEEDED');
  await until('its disappointment', () => device.log().includes('the repair has not mended everything'));
  await staysMarked();

  await device.stop('SIGKILL');
  await doctorNames(device.path('etc/app.conf'));
  await device.start();
  createJob(
    'mends-it',
    fixes(`rm -r ${device.path('etc')}; mv ${device.path('etc.away')} ${device.path('etc')}`),
  );
  await until('the second repair', () => execution('mends-it').status === 'SUCCEEDED');
  await ordinaryRuns();
});

test('a cancelled job stays CANCELED; a repair may accept what it finds', { timeout: TEST_MS }, async () => {
  await breakIt();
  queueOrdinary();
  simulator.service.cancelExecution(scene.device.thing, 'breaks', { force: true });
  await endsInconsistent('CANCELED');
  await staysMarked();
  // The front stays the same, so only `notify` tells of the repair.
  createJob('accepts', fixes('true', [scene.device.path('etc/app.conf')]));
  await until('the repair', () => execution('accepts').status === 'SUCCEEDED');
  await ordinaryRuns();
});
