import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Simulator } from '../../src/simulator/index.ts';
import { thingArn } from '../../src/simulator/service/jobs-service.ts';
import { startTestCloud } from '../support/cloud.ts';
import { until } from '../support/until.ts';
import {
  cloudStatus,
  createSmallJob,
  deviceState,
  isClosed,
  jobOf,
  receiptOf,
  type Stage,
  settled,
  stage,
} from './small-job.ts';

/**
 * The cloud ends the execution at every record of its journal: noticed while connected, after a reconnect, or after a
 * restart; in every way in which the cloud can end it. I1, I2, I7, I8.
 */

const RECORDS_MAX = 40;
const RECORDS_MIN = 12;

/** Each returns false when the cloud no longer lets it happen. */
const ENDS: Record<string, (scene: Stage) => void> = {
  'cancelled by force': ({ simulator, device }) => {
    simulator.service.cancelExecution(device.thing, jobOf({ device }), { force: true });
  },
  'timed out': ({ simulator, device }) => {
    const job = jobOf({ device });
    if (simulator.service.execution(device.thing, job).status !== 'IN_PROGRESS')
      throw new Error('not in progress');
    simulator.service.timeOut(device.thing, job);
  },
  'removed with its thing': ({ simulator, device }) => {
    simulator.service.removeThing(device.thing);
  },
  'deleted by force': ({ simulator, device }) => {
    simulator.service.deleteJob(jobOf({ device }), true);
  },
  'deleted and created again with another document': ({ simulator, device }) => {
    const jobId = jobOf({ device });
    simulator.service.deleteJob(jobId, true);
    const other = {
      version: '1.0',
      steps: [{ action: { name: 'no', type: 'runCommand', input: { command: 'true' } } }],
    };
    simulator.service.createJob({
      jobId,
      targets: [thingArn(device.thing)],
      document: JSON.stringify(other),
    });
  },
};

const NOTICED = ['while connected', 'after a reconnect', 'after a restart'] as const;

let simulator: Simulator;
let terse: Simulator;
beforeAll(async () => {
  simulator = await startTestCloud();
  terse = await startTestCloud({
    switches: { terminalCarriesState: false, terminalBeforeVersion: false },
  });
});
afterAll(async () => {
  await simulator.close();
  await terse.close();
});

/** Ends the execution at the n-th record; false when the job has fewer records than that. */
async function endAt(
  record: number,
  noticed: (typeof NOTICED)[number],
  end: (scene: Stage) => void,
  scene: Stage,
) {
  const { device, simulator: cloud } = scene;
  const restart = noticed === 'after a restart';
  const there = await device.startUntil(record, restart ? 'kill' : 'pause', () => isClosed(scene));
  if (restart) await device.stop('SIGKILL');
  const mute =
    noticed === 'after a reconnect'
      ? cloud.faults.onNotification(({ thing }) => ({ kind: thing === device.thing ? 'drop' : 'process' }))
      : undefined;
  try {
    end(scene);
  } catch {
    // The cloud refuses: the execution has ended by the device's own word.
  }
  if (noticed === 'after a reconnect') cloud.disconnect(device.thing);
  if (restart) await device.start();
  await settled(scene);
  mute?.();
  return there;
}

/** I2, with its named exceptions; and the receipt says what the files say. */
async function checkEnd(record: number, name: string, scene: Stage): Promise<void> {
  const state = await deviceState(scene);
  const told = cloudStatus(scene);
  const gone = name.startsWith('deleted');
  if (!gone && told === 'SUCCEEDED') {
    expect({ record, told, state }).toEqual({ record, told, state: 'new' });
    return;
  }
  const receipt = await until(`the receipt (record ${record})`, () => receiptOf(scene));
  const inDoubt = receipt.exception === 'endedInDoubt';
  expect({ record, told, state }).toEqual({ record, told, state: inDoubt ? 'new' : 'old' });
  expect(receipt.deviceState).toBe(state);
}

describe.each(Object.entries(ENDS))('%s', (name, end) => {
  test.each(NOTICED)('noticed %s', { timeout: 180_000 }, async (noticed) => {
    for (let record = 1; record <= RECORDS_MAX; record += 1) {
      const scene = await stage(simulator);
      createSmallJob(scene);
      const there = await endAt(record, noticed, end, scene);
      const alreadyDone = await wasDone(scene, name);
      if (!alreadyDone) await checkEnd(record, name, scene);
      await scene.device.stop('SIGTERM');
      await scene.device.remove();
      if (!there || alreadyDone) {
        expect(record).toBeGreaterThanOrEqual(RECORDS_MIN);
        return;
      }
    }
    expect.fail('the job never ended');
  });
});

/** Deleted only after the device had its accepted SUCCEEDED: nothing is left to say, and the device is new. */
async function wasDone(scene: Stage, name: string): Promise<boolean> {
  if (!name.startsWith('deleted') || receiptOf(scene) !== undefined) return false;
  return (await deviceState(scene)) === 'new';
}

test('cancelled by force, and the cloud says no more than "terminal"', { timeout: 180_000 }, async () => {
  const end = ENDS['cancelled by force'] as (scene: Stage) => void;
  for (let record = 1; record <= RECORDS_MAX; record += 1) {
    const scene = await stage(terse);
    createSmallJob(scene);
    const there = await endAt(record, 'while connected', end, scene);
    await checkEnd(record, 'terse', scene);
    await scene.device.stop('SIGTERM');
    await scene.device.remove();
    if (!there) break;
  }
});
