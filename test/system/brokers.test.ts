import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Simulator } from '../../src/simulator/index.ts';
import { startTestCloud, TEST_BROKERS } from '../support/cloud.ts';
import { TEST_TRANSPORTS } from '../support/device.ts';
import { until } from '../support/until.ts';
import { cloudStatus, createSmallJob, deviceState, jobOf, receiptOf, settled, stage } from './small-job.ts';

/**
 * The same agent on a broker of MQTT 3.1.1 and on one of MQTT 5, with each MQTT library: what they do otherwise must
 * not matter.
 */

const WAYS = TEST_BROKERS.flatMap((broker) => TEST_TRANSPORTS.map((transport) => ({ broker, transport })));

describe.each(WAYS)('on the broker $broker, with $transport', ({ broker, transport }) => {
  const settings = { connection: { transport } };
  let simulator: Simulator;
  beforeAll(async () => {
    simulator = await startTestCloud({}, broker);
  });
  afterAll(() => simulator.close());

  test('a job succeeds', { timeout: 60_000 }, async () => {
    const scene = await stage(simulator, settings);
    await scene.device.start();
    createSmallJob(scene);
    await settled(scene);
    expect(cloudStatus(scene)).toBe('SUCCEEDED');
    expect(await deviceState(scene)).toBe('new');
    expect(await scene.device.stop('SIGTERM')).toBe(0);
    expect(scene.device.log()).toContain(`"transport":"${transport}"`);
    await scene.device.remove();
  });

  test.each(['at once', 'after a reconnect'])(
    'a cancel by force is undone, noticed %s',
    { timeout: 60_000 },
    async (noticed) => {
      const scene = await stage(simulator, settings);
      const { device } = scene;
      createSmallJob(scene, 'sleep 60');
      await device.start();
      await until('the last step', async () =>
        (await device.files()).some((line) => line.startsWith('var/made.txt')),
      );
      const mute = simulator.faults.onNotification(() => ({
        kind: noticed === 'at once' ? 'process' : 'drop',
      }));
      simulator.service.cancelExecution(device.thing, jobOf(scene), { force: true });
      if (noticed === 'after a reconnect') simulator.disconnect(device.thing);
      await settled(scene);
      mute();
      expect(await deviceState(scene)).toBe('old');
      expect(await until('the receipt', () => receiptOf(scene))).toMatchObject({
        cloudStatus: 'CANCELED',
        deviceState: 'old',
        verified: true,
      });
      await device.stop('SIGTERM');
      await device.remove();
    },
  );
});
