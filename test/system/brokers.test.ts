import { mkdtemp, rm } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { systemClock } from '../../src/host/clock.ts';
import { type Authority, openAuthority } from '../../src/simulator/certificates.ts';
import { type Simulator, startSimulator } from '../../src/simulator/index.ts';
import { mosquitto, SIMULATOR } from '../support/brokers.ts';
import { startTestCloud, type TestBroker } from '../support/cloud.ts';
import type { TestTransport } from '../support/device.ts';
import { until } from '../support/until.ts';
import {
  cloudStatus,
  createSmallJob,
  deviceState,
  jobOf,
  receiptOf,
  type Settings,
  settled,
  stage,
} from './small-job.ts';

/**
 * The same agent with each MQTT library, on each broker, in each version of MQTT that it speaks, in plain TCP and in
 * mutual TLS where a thing may touch its own topics alone: every pair of these values, in six cells. What they do
 * otherwise must not matter.
 */

interface Cell {
  transport: TestTransport;
  broker: TestBroker;
  mqttVersion: '3.1.1' | '5';
  tls: boolean;
}

const CELLS: readonly Cell[] = [
  { transport: 'mqttjs', broker: 'embedded', mqttVersion: '3.1.1', tls: true },
  { transport: 'aws-sdk', broker: 'embedded', mqttVersion: '3.1.1', tls: false },
  { transport: 'mqttjs', broker: 'mosquitto', mqttVersion: '3.1.1', tls: false },
  { transport: 'aws-sdk', broker: 'mosquitto', mqttVersion: '3.1.1', tls: true },
  { transport: 'mqttjs', broker: 'mosquitto', mqttVersion: '5', tls: true },
  { transport: 'aws-sdk', broker: 'mosquitto', mqttVersion: '5', tls: false },
];

interface Cloud {
  simulator: Simulator;
  /** What a device needs to connect, beside the plain url. */
  credentials(thing: string): Promise<object>;
  close(): Promise<void>;
}

async function openCloud({ broker, tls }: Cell): Promise<Cloud> {
  if (!tls) {
    const simulator = await startTestCloud({}, broker);
    return { simulator, credentials: () => Promise.resolve({}), close: () => simulator.close() };
  }
  if (broker === 'embedded') {
    const simulator = await startSimulator({ clock: systemClock, tls: true });
    const credentials = async (thing: string): Promise<object> => {
      const { certFile, keyFile } = await simulator.issueCertificate(thing);
      const { mqttsUrl: url, caFile: ca } = simulator;
      return { url, ca, certificate: certFile, privateKey: keyFile };
    };
    return { simulator, credentials, close: () => simulator.close() };
  }
  const directory = await mkdtemp('/var/tmp/evenkeel-cells-');
  const authority: Authority = await openAuthority(directory, { hosts: [], wallMs: systemClock.wallMs() });
  const { ca, caFile, server } = authority;
  const external = await mosquitto({ ...server, ca, caFile });
  await external.start();
  const own = await authority.issue(SIMULATOR);
  const simulator = await startSimulator({
    clock: systemClock,
    broker: { url: external.url, ca, cert: own.cert, key: own.key },
  });
  return {
    simulator,
    async credentials(thing) {
      const { certFile, keyFile } = await authority.issue(thing);
      return { url: external.url, ca: caFile, certificate: certFile, privateKey: keyFile };
    },
    async close() {
      await simulator.close();
      await external.remove();
      await rm(directory, { recursive: true });
    },
  };
}

test('the cells hold every pair of the values that there are', () => {
  const factors: readonly (keyof Cell)[] = ['transport', 'broker', 'mqttVersion', 'tls'];
  const pairs = new Set<string>();
  for (const cell of CELLS)
    for (const one of factors)
      for (const other of factors) pairs.add(`${one} ${cell[one]}, ${other} ${cell[other]}`);
  for (const one of factors)
    for (const other of factors.filter((factor) => factor !== one))
      for (const a of new Set(CELLS.map((cell) => cell[one])))
        for (const b of new Set(CELLS.map((cell) => cell[other]))) {
          // aedes does not speak MQTT 5.
          if ([a, b].includes('embedded') && [a, b].includes('5')) continue;
          expect(pairs).toContain(`${one} ${a}, ${other} ${b}`);
        }
});

describe.each(CELLS)('$transport on $broker, MQTT $mqttVersion, TLS: $tls', (cell) => {
  const { transport, mqttVersion, tls } = cell;
  let cloud: Cloud;
  let simulator: Simulator;
  beforeAll(async () => {
    cloud = await openCloud(cell);
    simulator = cloud.simulator;
  });
  afterAll(() => cloud.close());

  const settings = async (thing: string): Promise<Settings> => ({
    connection: { transport, mqttVersion, ...(await cloud.credentials(thing)) },
  });

  test('a job succeeds', { timeout: 60_000 }, async () => {
    const scene = await stage(simulator, settings);
    await scene.device.start();
    createSmallJob(scene);
    await settled(scene);
    expect(cloudStatus(scene)).toBe('SUCCEEDED');
    expect(await deviceState(scene)).toBe('new');
    expect(await scene.device.stop('SIGTERM')).toBe(0);
    const log = scene.device.log();
    expect(log).toContain(`"transport":"${transport}"`);
    expect(log).toContain(`"mqttVersion":${mqttVersion === '5' ? 5 : 4}`);
    expect(log).toContain(tls ? '"url":"mqtts:' : '"url":"mqtt:');
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
