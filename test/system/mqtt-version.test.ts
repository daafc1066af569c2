import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterEach, describe, expect, test } from 'vitest';
import { aedes, type Broker, mosquitto } from '../support/brokers.ts';
import { createDevice, type Device, TEST_TRANSPORTS } from '../support/device.ts';
import { connack, fakeBroker } from '../support/fake-broker.ts';
import { until } from '../support/until.ts';

/** `connection.mqttVersion`: the agent speaks the version that it is told to, and no other; without it, the one that fits. */

const TEST_MS = 60_000;
const MAIN = new URL('../../dist/cli/main.js', import.meta.url).pathname;
const WAYS = TEST_TRANSPORTS.flatMap((transport) =>
  (['3.1.1', '5'] as const).map((mqttVersion) => ({ transport, mqttVersion })),
);
const levelOf = { '3.1.1': 4, '5': 5 } as const;

const devices: Device[] = [];
const brokers: Pick<Broker, 'remove'>[] = [];
afterEach(async () => {
  for (const device of devices.splice(0)) {
    await device.stop('SIGTERM');
    await device.remove();
  }
  for (const broker of brokers.splice(0)) await broker.remove();
});

async function agentAt(url: string, connection: object): Promise<Device> {
  const device = await createDevice('boat', url, {
    // No service of Jobs answers here.
    jobs: { requestTimeoutSeconds: 0.4 },
    connection,
  });
  devices.push(device);
  await device.start();
  return device;
}

async function started(broker: Broker): Promise<string> {
  brokers.push(broker);
  await broker.start();
  return broker.url;
}

/** The events of its log, with their fields. */
function events(device: Device, name: string): { mqttVersion: number; reason: string }[] {
  return device
    .log()
    .split('\n')
    .filter((line) => line.includes(`"${name}"`))
    .map((line) => JSON.parse(line) as { mqttVersion: number; reason: string });
}

describe.each(WAYS)('$transport, mqttVersion $mqttVersion', ({ transport, mqttVersion }) => {
  const level = levelOf[mqttVersion];

  test('connects to Mosquitto with it', { timeout: TEST_MS }, async () => {
    const device = await agentAt(await started(await mosquitto()), { transport, mqttVersion });
    await until('the link', () => events(device, 'transport.up').length > 0);
    expect(events(device, 'transport.up').map((event) => event.mqttVersion)).toEqual([level]);
    expect(events(device, 'transport.failed')).toEqual([]);
  });

  test('says so to a broker that speaks the other one alone, again and again, and tries no other', {
    timeout: TEST_MS,
  }, async () => {
    const fake = await fakeBroker((packet, client) => {
      if (packet.cmd !== 'connect' || packet.protocolVersion !== level) return false;
      // It answers in the words of its own version.
      client.write(Buffer.from(level === 5 ? [0x20, 2, 0, 1] : [0x20, 3, 0, 0x84, 0]));
      client.end();
      return true;
    });
    brokers.push({ remove: () => fake.close() });
    const device = await agentAt(fake.url, { transport, mqttVersion });
    await until('three refusals', () => events(device, 'transport.failed').length >= 3);
    const connects = fake.packets.flatMap((packet) => (packet.cmd === 'connect' ? [packet] : []));
    expect(new Set(connects.map((packet) => packet.protocolVersion))).toEqual(new Set([level]));
    // The CRT's client of MQTT 3.1.1 may find the answer unreadable, or the broker gone, before it knows why.
    const words =
      transport === 'aws-sdk' && level === 4 ? /^cannot connect to / : /: the broker refuses: .*version/i;
    for (const { reason } of events(device, 'transport.failed')) expect(reason).toMatch(words);
    expect(events(device, 'transport.up')).toEqual([]);
    expect(device.running).toBe(true);
  });
});

describe.each(TEST_TRANSPORTS)('%s, no mqttVersion', (transport) => {
  test.each([
    ['Mosquitto', mosquitto, 5],
    ['aedes, which knows 3.1.1 alone', aedes, 4],
  ] as const)('at %s it finds the one that fits', { timeout: TEST_MS }, async (_, broker, level) => {
    const device = await agentAt(await started(await broker()), { transport });
    await until('the link', () => events(device, 'transport.up').length > 0);
    expect(events(device, 'transport.up').map((event) => event.mqttVersion)).toEqual([level]);
  });

  test('a CONNACK that is refused for other reasons is no reason to change it', {
    timeout: TEST_MS,
  }, async () => {
    let refusals = 0;
    const fake = await fakeBroker((packet, client) => {
      if (packet.cmd !== 'connect' || refusals === 3) return false;
      refusals += 1;
      client.send(connack(0x87));
      client.end();
      return true;
    });
    brokers.push({ remove: () => fake.close() });
    const device = await agentAt(fake.url, { transport });
    await until('the link', () => events(device, 'transport.up').length > 0);
    expect(events(device, 'transport.failed').map(({ reason }) => reason)).toEqual(
      Array.from({ length: 3 }, () => expect.stringContaining('Not authorized (0x87)') as string),
    );
    expect(events(device, 'transport.up').map((event) => event.mqttVersion)).toEqual([5]);
  });
});

test('any other value is refused, by its name', async () => {
  const device = await createDevice('boat', 'mqtt://127.0.0.1:1883', { connection: { mqttVersion: '4' } });
  devices.push(device);
  await expect(
    promisify(execFile)(process.execPath, [MAIN, 'run', '--config', device.config]),
  ).rejects.toMatchObject({ stderr: expect.stringMatching(/connection\.mqttVersion: .*3\.1\.1/) as string });
});
