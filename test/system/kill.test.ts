import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Simulator } from '../../src/simulator/index.ts';
import { startTestCloud } from '../support/cloud.ts';
import { until } from '../support/until.ts';
import {
  cloudStatus,
  createSmallJob,
  deviceState,
  isClosed,
  jobOf,
  receiptOf,
  settled,
  stage,
} from './small-job.ts';

/**
 * SIGKILL of the real agent after every record of its journal, forwards and backwards, then a start: I1, I2, I4, I6.
 */

const RECORDS_MAX = 40;
/** Fewer would mean that the loop ended before the job did. */
const RECORDS_MIN = 12;

let simulator: Simulator;
beforeAll(async () => {
  simulator = await startTestCloud();
});
afterAll(() => simulator.close());

const CASES = [
  { name: 'a job that succeeds', command: 'true', cancel: false, want: 'SUCCEEDED' },
  { name: 'a job that fails in its last step', command: 'exit 3', cancel: false, want: 'FAILED' },
  {
    name: 'a job that is cancelled while the agent is dead',
    command: 'true',
    cancel: true,
    want: 'CANCELED',
  },
] as const;

describe.each(CASES)('$name', ({ command, cancel, want }) => {
  test('ends right after a SIGKILL at every record', { timeout: 180_000 }, async () => {
    let killed = 0;
    for (let record = 1; record <= RECORDS_MAX; record += 1) {
      const scene = await stage(simulator);
      createSmallJob(scene, command);
      const there = await scene.device.startUntil(record, 'kill', () => isClosed(scene));
      await scene.device.stop('SIGTERM');
      if (cancel && cloudStatus(scene) === 'IN_PROGRESS') {
        simulator.service.cancelExecution(scene.device.thing, jobOf(scene), { force: true });
      }
      await scene.device.start();
      await settled(scene);
      const told = cloudStatus(scene);
      const state = await deviceState(scene);
      expect({ record, told, state }).toEqual({ record, told, state: told === 'SUCCEEDED' ? 'new' : 'old' });
      expect(['SUCCEEDED', want]).toContain(told);
      if (told === 'CANCELED') {
        const receipt = await until('its receipt', () => receiptOf(scene));
        expect(receipt).toMatchObject({ deviceState: 'old', verified: true, cloudStatus: 'CANCELED' });
      }
      await scene.device.stop('SIGTERM');
      await scene.device.remove();
      if (!there) break;
      killed += 1;
    }
    expect(killed).toBeGreaterThanOrEqual(RECORDS_MIN);
  });
});
