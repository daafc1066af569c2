import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { systemClock } from '../../src/host/clock.ts';
import type { Receipt } from '../../src/receipts/receipt.ts';
import { openAuthority } from '../../src/simulator/certificates.ts';
import type { Fault } from '../../src/simulator/faults.ts';
import { type Simulator, startSimulator } from '../../src/simulator/index.ts';
import { thingArn } from '../../src/simulator/service/jobs-service.ts';
import { mosquitto, SIMULATOR } from '../support/brokers.ts';
import type { TestBroker } from '../support/cloud.ts';
import type { TestTransport } from '../support/device.ts';
import { BOAT_TEMPLATE, createBoat, startHarbour } from '../support/provisioning.ts';
import { until } from '../support/until.ts';

/**
 * A claim that becomes a certificate, a job that replaces it, and one that is cancelled: with each MQTT library on each
 * broker. mqtt.js on the embedded one has tests of its own, with every point at which the power may go.
 */

interface Cell {
  transport: TestTransport;
  broker: TestBroker;
  mqttVersion: '3.1.1' | '5';
  keys: 'device' | 'cloud';
}

const CELLS: readonly Cell[] = [
  { transport: 'aws-sdk', broker: 'embedded', mqttVersion: '3.1.1', keys: 'device' },
  { transport: 'aws-sdk', broker: 'mosquitto', mqttVersion: '5', keys: 'cloud' },
  { transport: 'mqttjs', broker: 'mosquitto', mqttVersion: '3.1.1', keys: 'device' },
];
const TEST_MS = 120_000;
const WAIT_MS = 60_000;
const LOOK_MS = 100;

interface Cloud {
  simulator: Simulator;
  url: string;
  ca: string;
  close(): Promise<void>;
}

/** A Mosquitto that trusts the simulator's authority. It knows nothing of states of certificates. */
async function harbourAt(broker: TestBroker): Promise<Cloud> {
  if (broker === 'embedded') {
    const simulator = await startHarbour();
    const { mqttsUrl: url = '', caFile: ca = '' } = simulator;
    return { simulator, url, ca, close: () => simulator.close() };
  }
  const directory = await mkdtemp('/var/tmp/evenkeel-harbour-');
  const authority = await openAuthority(directory, { hosts: [], wallMs: systemClock.wallMs() });
  const { ca, caFile, server } = authority;
  // A device that has no name yet, and one whose key AWS made, have certificates without the name of their thing.
  const acl = [
    'pattern readwrite $aws/certificates/#',
    'pattern readwrite $aws/provisioning-templates/#',
    ...['unnamed', 'AWS IoT Certificate'].flatMap((name) => [
      `user ${name}`,
      'topic readwrite $aws/things/#',
    ]),
  ];
  const external = await mosquitto({ ...server, ca, caFile, acl });
  await external.start();
  const own = await authority.issue(SIMULATOR);
  const simulator = await startSimulator({
    clock: systemClock,
    tls: { directory },
    broker: { url: external.url, ca, cert: own.cert, key: own.key },
  });
  simulator.provisioning.putTemplate('boats', BOAT_TEMPLATE);
  return {
    simulator,
    url: external.url,
    ca: caFile,
    async close() {
      await simulator.close();
      await external.remove();
      await rm(directory, { recursive: true });
    },
  };
}

describe.each(CELLS)('$transport on $broker, MQTT $mqttVersion, key of the $keys', (cell) => {
  const { transport, broker, mqttVersion, keys } = cell;
  let cloud: Cloud;
  beforeAll(async () => {
    cloud = await harbourAt(broker);
    cloud.simulator.provisioning.putTemplate('rotate', BOAT_TEMPLATE);
  });
  afterAll(() => cloud.close());

  test('from a claim to a certificate, to another one, and back from a third', {
    timeout: TEST_MS,
  }, async () => {
    const { simulator, url, ca } = cloud;
    const boat = await createBoat(simulator, {
      connection: { transport, mqttVersion, url, ca },
      provisioning: { rotationTemplate: 'rotate', keys },
    });
    const { device, thing, given } = boat;
    const play = async (jobId: string): Promise<string> => {
      const steps = [{ action: { name: 'certificate', type: 'rotateCertificate', input: {} } }];
      const document = JSON.stringify({ version: '1.0', steps });
      simulator.service.createJob({ jobId, targets: [thingArn(thing)], document });
      const status = (): string => simulator.service.execution(thing, jobId, 1).status;
      await until(
        `the end of ${jobId}`,
        () => !['QUEUED', 'IN_PROGRESS'].includes(status()),
        WAIT_MS,
        LOOK_MS,
      );
      return status();
    };
    const left = async (): Promise<string[]> =>
      (await readdir(join(device.root, 'state', 'credentials'))).filter((name) => name !== 'current');
    const receipt = (): Receipt | undefined =>
      (simulator.shadows.get(thing, 'evenkeel')?.state as { reported?: { receipt?: Receipt } } | undefined)
        ?.reported?.receipt;
    try {
      await device.start();
      await until('a proven certificate', () => given()?.proven, WAIT_MS, LOOK_MS);
      const claimed = given()?.certificateId;

      expect(await play(`${thing}-1`)).toBe('SUCCEEDED');
      await until('the old one to be gone', async () => (await left()).length === 1, WAIT_MS, LOOK_MS);
      const rotated = given()?.certificateId;
      expect(rotated).not.toBe(claimed);

      const jobId = `${thing}-2`;
      const unhook = simulator.faults.onRequest(({ operation, body }): Fault => {
        const votes = operation === 'update' && body['status'] === 'SUCCEEDED';
        if (votes && simulator.service.execution(thing, jobId, 1).status === 'IN_PROGRESS')
          simulator.service.cancelExecution(thing, jobId, { force: true });
        return { kind: 'process' };
      });
      expect(await play(jobId)).toBe('CANCELED');
      unhook();
      const { kept, deviceState } = await until('the receipt', receipt, WAIT_MS, LOOK_MS);
      expect(deviceState).toBe('old');
      expect(given()?.certificateId).toBe(rotated);
      const made = simulator.provisioning.certificates().map(({ certificateId }) => certificateId);
      const third = made.find((id) => `certificate:${id}` === kept[0]?.id);
      expect([undefined, claimed, rotated]).not.toContain(third);

      // What is there now is let in by a new process, too.
      expect(await device.stop('SIGTERM')).toBe(0);
      const links = (): number => device.log().split('"transport.up"').length;
      const before = links();
      await device.start();
      await until('the link', () => links() > before, WAIT_MS, LOOK_MS);
      expect(device.log()).toContain(`"transport":"${transport}"`);
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${device.log().slice(-4000)}`, { cause: error });
    } finally {
      await device.stop('SIGTERM');
      await device.remove();
    }
  });
});
