import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Simulator } from '../../src/simulator/index.ts';
import { thingArn } from '../../src/simulator/service/jobs-service.ts';
import { startTestCloud } from '../support/cloud.ts';
import { storiesIn } from '../support/journals.ts';
import { until } from '../support/until.ts';
import { cloudStatus, jobOf, receiptOf, type Stage, settled, stage } from './small-job.ts';

/** A7: before a pivot the cloud must have been asked; `commit.offlinePivot` says what a device does that cannot. */

const LIMIT_MS = 90_000;
const LINK_WAIT_SECONDS = 1;

let simulator: Simulator;
beforeAll(async () => {
  simulator = await startTestCloud();
});
afterAll(() => simulator.close());

/** A job with a pivot behind its first step, whose updates get no answer from its start on. */
async function cutOffBefore(offlinePivot: string): Promise<{ scene: Stage; reconnect: () => void }> {
  const scene = await stage(simulator, {
    jobs: { requestTimeoutSeconds: 0.4 },
    commit: { linkWaitSeconds: LINK_WAIT_SECONDS, offlinePivot },
  });
  const { device } = scene;
  const path = device.path('etc/app.conf');
  const steps = [
    { action: { name: 'configure', type: 'writeFile', input: { path, content: 'version = 2\n' } } },
    {
      action: {
        name: 'no way back',
        type: 'runCommand',
        input: { command: ['/bin/sh', '-c', `touch ${device.path('passed')}`] },
        pivot: true,
        idempotent: true,
      },
    },
  ];
  const reconnect = simulator.faults.onRequest(({ thing, target, operation }) => {
    const silent = thing === device.thing && target === jobOf(scene) && operation === 'update';
    return silent && cloudStatus(scene) === 'IN_PROGRESS' ? { kind: 'drop' } : { kind: 'process' };
  });
  await device.start();
  const document = JSON.stringify({ version: '1.0', steps });
  simulator.service.createJob({ jobId: jobOf(scene), targets: [thingArn(device.thing)], document });
  return { scene, reconnect };
}

const recordsOf = async ({ device }: Stage): Promise<string[]> =>
  (await storiesIn(join(device.root, 'state'))).flatMap(({ records }) => records.map(({ type }) => type));

async function end({ device }: Stage): Promise<void> {
  await device.stop('SIGKILL');
  await device.remove();
}

test('rollBack: the device goes back when it has waited for a link, and never passes the pivot', {
  timeout: LIMIT_MS,
}, async () => {
  const { scene, reconnect } = await cutOffBefore('rollBack');
  try {
    await until('the rollback', async () => (await recordsOf(scene)).includes('settled'), LIMIT_MS);
    const files = await scene.device.files();
    expect(files.filter((line) => !line.includes('.evenkeel-'))).toEqual(scene.old);
    expect(await recordsOf(scene)).not.toContain('fenced');
    reconnect();
    await settled(scene);
    expect(await scene.device.files()).toEqual(scene.old);
    expect(cloudStatus(scene)).toBe('FAILED');
    const { statusDetails } = simulator.service.execution(scene.device.thing, jobOf(scene), 1);
    expect(JSON.stringify(statusDetails)).toContain('no link to the cloud before the pivot within 1 s');
    expect(receiptOf(scene)?.outcome ?? 'rolledBack').toBe('rolledBack');
  } finally {
    await end(scene);
  }
});

test('wait: the device stays before the pivot however long it takes, and goes on then', {
  timeout: LIMIT_MS,
}, async () => {
  const { scene, reconnect } = await cutOffBefore('wait');
  try {
    await until(
      'the step before it',
      async () => (await recordsOf(scene)).filter((type) => type === 'ready').length === 2,
      LIMIT_MS,
    );
    await sleep(LINK_WAIT_SECONDS * 3000);
    const records = await recordsOf(scene);
    expect(records).not.toContain('aborted');
    expect(records.filter((type) => type === 'attempt')).toHaveLength(1);
    reconnect();
    await settled(scene);
    expect(cloudStatus(scene)).toBe('SUCCEEDED');
    expect((await scene.device.files()).some((line) => line.startsWith('passed '))).toBe(true);
  } finally {
    await end(scene);
  }
});
