import { mkdir, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Simulator } from '../../src/simulator/index.ts';
import { thingArn } from '../../src/simulator/service/jobs-service.ts';
import { startTestCloud } from '../support/cloud.ts';
import { until } from '../support/until.ts';
import { cloudStatus, jobOf, type Stage, settled, stage } from './small-job.ts';

/** I1: steps whose paths lie in one another: a later one takes away, with a tree, what an earlier one has touched. */

let simulator: Simulator;
beforeAll(async () => {
  simulator = await startTestCloud();
});
afterAll(() => simulator.close());

async function deviceWithTree(): Promise<Stage> {
  const scene = await stage(simulator);
  await mkdir(scene.device.path('opt/app/data'), { recursive: true });
  await writeFile(scene.device.path('opt/app/data/a'), 'a');
  await writeFile(scene.device.path('opt/app/config'), 'old', { mode: 0o640 });
  return { ...scene, old: await scene.device.files() };
}

function createJob({ device }: Stage, last: string): void {
  const path = (name: string): string => device.path(`opt/app${name}`);
  const script = `echo more >> ${path('/config')}; echo made > ${path('/data/b')}; rm ${path('/data/a')}`;
  const steps = [
    { type: 'writeFile', input: { path: path('/config'), content: 'new' } },
    { type: 'runCommand', input: { command: ['/bin/sh', '-c', script] }, snapshotPaths: [path('')] },
    { type: 'writeFile', input: { path: path('/data/b'), content: 'b' } },
    { type: 'removeFile', input: { path: path('/data') } },
    { type: 'runCommand', input: { command: ['/bin/sh', '-c', last] }, snapshotPaths: [path('/config')] },
  ].map((action) => ({ action }));
  const document = JSON.stringify({ version: '1.0', steps });
  simulator.service.createJob({ jobId: jobOf({ device }), targets: [thingArn(device.thing)], document });
}

test('they succeed', { timeout: 60_000 }, async () => {
  const scene = await deviceWithTree();
  createJob(scene, 'true');
  await scene.device.start();
  await settled(scene);
  expect(cloudStatus(scene)).toBe('SUCCEEDED');
  const app = (await scene.device.files()).filter((line) => line.startsWith('opt/'));
  expect(app.map((line) => line.split(' ')[0])).toEqual(['opt/', 'opt/app/', 'opt/app/config']);
  await scene.device.stop('SIGTERM');
  await scene.device.remove();
});

test('and are undone, to the byte, when the job is cancelled in the last of them', {
  timeout: 60_000,
}, async () => {
  const scene = await deviceWithTree();
  const { device } = scene;
  createJob(scene, `echo x > ${device.path('opt/app/config')}; sleep 60`);
  await device.start();
  await until('the last step', async () =>
    (await device.files()).some((line) => line.startsWith('opt/app/config 640 2 bytes')),
  );
  simulator.service.cancelExecution(device.thing, jobOf(scene), { force: true });
  await settled(scene);
  expect(await device.files()).toEqual(scene.old);
  expect(cloudStatus(scene)).toBe('CANCELED');
  await device.stop('SIGTERM');
  await device.remove();
});
