import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { startSimulator } from '../../../src/cli/simulator.ts';
import type { ExternalBroker, Simulator, SimulatorOptions } from '../../../src/simulator/index.ts';
import { thingArn } from '../../../src/simulator/service/arns.ts';
import { type Broker, mosquitto } from '../../support/brokers.ts';
import { createAuthority, type TestAuthority } from '../../support/certificates.ts';
import { until } from '../../support/until.ts';

/** The service on a Mosquitto that runs elsewhere: how it gets in, how it comes back, and what is otherwise there. */

const PREFIX = '$aws/things/t/jobs/';
const ends: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function started(broker: Broker): Promise<Broker> {
  ends.push(() => broker.remove());
  await broker.start();
  return broker;
}

async function joined(broker: ExternalBroker, options: Partial<SimulatorOptions> = {}): Promise<Simulator> {
  const simulator = await startSimulator({ broker, ...options });
  ends.push(() => simulator.close());
  simulator.service.createThing('t');
  return simulator;
}

interface Heard {
  client: MqttClient;
  topics: string[];
}

/** A client that remembers all that comes to it; `filters` below the topics of jobs of `t`. */
async function client(url: string, filters: readonly string[], options: IClientOptions = {}): Promise<Heard> {
  const client = await connectAsync(url, { protocolVersion: 4, reconnectPeriod: 100, ...options });
  client.on('error', () => undefined);
  ends.push(() => client.endAsync(true));
  const topics: string[] = [];
  client.on('message', (topic) => topics.push(topic.replace(PREFIX, '')));
  await client.subscribeAsync([...filters.map((one) => `${PREFIX}${one}`), 'marked'], { qos: 1 });
  return { client, topics };
}

const ask = ({ client }: Heard, topic: string, body: object = {}): Promise<unknown> =>
  client.publishAsync(`${PREFIX}${topic}`, JSON.stringify(body), { qos: 1 });
const heard = ({ topics }: Heard, topic: string): Promise<unknown> =>
  until(topic, () => topics.includes(topic));
const createJob = ({ service }: Simulator, jobId: string): unknown =>
  service.createJob({ jobId, targets: [thingArn('t')], document: '{}' });

describe.each([
  ['MQTT 5', 5],
  ['MQTT 3.1.1', 4],
] as const)('%s', (_, protocolVersion) => {
  test('a job from its notification to its end, whichever version the device speaks', async () => {
    const { url } = await started(await mosquitto());
    const simulator = await joined({ url, protocolVersion });
    const device = await client(url, ['#'], { protocolVersion: protocolVersion === 5 ? 4 : 5 });
    createJob(simulator, 'j');
    await heard(device, 'notify-next');
    await ask(device, 'start-next');
    await heard(device, 'start-next/accepted');
    await ask(device, 'j/update', { status: 'SUCCEEDED' });
    await heard(device, 'j/update/accepted');
    const isNotice = (topic: string): boolean => topic.startsWith('notify');
    await until('the notifications of the end', () => device.topics.filter(isNotice).length >= 4);
    // What it has published itself comes to it as well, for it listens to everything.
    const own = ['start-next', 'j/update'];
    expect(device.topics.filter((one) => !own.includes(one))).toEqual([
      ...['notify', 'notify-next', 'start-next/accepted', 'j/update/accepted', 'notify', 'notify-next'],
    ]);
    expect(simulator.service.execution('t', 'j').status).toBe('SUCCEEDED');
  });

  test('when the broker is gone for a while, the service is back with it, and answers', async () => {
    const broker = await started(await mosquitto());
    const simulator = await joined({ url: broker.url, protocolVersion });
    const device = await client(broker.url, ['#']);
    await ask(device, 'get');
    await heard(device, 'get/accepted');
    await broker.stop();
    await until('the end of the connection', () => !device.client.connected);
    // A job that comes meanwhile is told when the service is back, or found by asking.
    createJob(simulator, 'meanwhile');
    await broker.start();
    await until('the device to be back', () => device.client.connected);
    device.topics.length = 0;
    // The service may be back later than the device.
    await until(
      'an answer',
      async () => {
        await ask(device, 'start-next');
        return device.topics.includes('start-next/accepted');
      },
      20_000,
      200,
    );
    createJob(simulator, 'later');
    await heard(device, 'notify');
    expect(simulator.service.execution('t', 'meanwhile').status).toBe('IN_PROGRESS');
  });

  test('by user and password; with wrong ones it says so at once, and does not start', async () => {
    const user = { username: 'service', password: 'sp4ce and ü' };
    const { url } = await started(await mosquitto(undefined, user));
    const simulator = await joined({ url, protocolVersion, ...user });
    const device = await client(url, ['#'], user);
    createJob(simulator, 'j');
    await heard(device, 'notify-next');
    for (const wrong of [{ ...user, password: 'other' }, {}])
      await expect(startSimulator({ broker: { url, protocolVersion, ...wrong } })).rejects.toThrow(
        /cannot connect to the broker mqtt:.*[Nn]ot authorized/,
      );
  });
});

describe('TLS', () => {
  let directory: string;
  let authority: TestAuthority;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'simulator-external-'));
    ends.push(() => rm(directory, { recursive: true }));
    authority = await createAuthority(directory, 'Broker');
  });

  test('by certificate, and each side must know the other', async () => {
    const { ca, caFile } = authority;
    const [server, own, thing] = [
      await authority.issue({ commonName: 'localhost', names: ['DNS:localhost'] }),
      await authority.issue({ commonName: 'evenkeel-simulator' }),
      await authority.issue({ commonName: 't' }),
    ];
    const { url } = await started(await mosquitto({ ...server, ca, caFile }));
    const simulator = await joined({ url, ca, cert: own.cert, key: own.key });
    const device = await client(url, ['#'], { ca, cert: thing.cert, key: thing.key });
    createJob(simulator, 'j');
    await heard(device, 'notify-next');
    await ask(device, 'start-next');
    await heard(device, 'start-next/accepted');

    const stranger = await (await createAuthority(directory, 'Nobody')).issue({ commonName: 'x' });
    await expect(startSimulator({ broker: { url, ca } })).rejects.toThrow('cannot connect to the broker');
    await expect(
      startSimulator({ broker: { url, ca, cert: stranger.cert, key: stranger.key } }),
    ).rejects.toThrow('cannot connect to the broker');
    await expect(startSimulator({ broker: { url, cert: own.cert, key: own.key } })).rejects.toThrow(
      /cannot connect to the broker.*certificate/,
    );
  });
});

describe('what is otherwise than on the broker inside', () => {
  test('T4 T6: every subscriber hears an answer, and who has no subscription hears none', async () => {
    const { url } = await started(await mosquitto());
    const simulator = await joined({ url });
    const [asking, listening] = [await client(url, []), await client(url, ['get/accepted'])];
    await ask(asking, 'get');
    await heard(listening, 'get/accepted');
    simulator.publish('marked', {});
    await heard(asking, 'marked');
    expect(asking.topics).toEqual(['marked']);
    const both = await client(url, ['get/accepted']);
    await ask(both, 'get');
    await heard(both, 'get/accepted');
    await until('the second answer', () => listening.topics.length >= 2);
  });

  test('T10: a retained request is ignored, and the connection stays', async () => {
    const { url } = await started(await mosquitto());
    const dataDirectory = await mkdtemp(join(tmpdir(), 'simulator-external-'));
    ends.push(() => rm(dataDirectory, { recursive: true }));
    const device = await client(url, ['get/accepted']);
    const topic = `${PREFIX}start-next`;
    await device.client.publishAsync(topic, '{}', { qos: 1, retain: true });
    const first = await joined({ url }, { dataDirectory });
    createJob(first, 'j');
    await first.close();
    // The job is there when the broker hands out what it has retained.
    const simulator = await joined({ url }, { dataDirectory });
    await ask(device, 'get');
    await heard(device, 'get/accepted');
    expect(simulator.service.execution('t', 'j').status).toBe('QUEUED');
    expect(device.client.connected).toBe(true);
  });

  test('a client can be disconnected, by taking its name over', async () => {
    const { url } = await started(await mosquitto());
    const simulator = await joined({ url });
    const device = await client(url, ['#'], { clientId: 't', reconnectPeriod: 0 });
    expect(simulator.disconnect('t')).toBe(true);
    await until('the end', () => !device.client.connected);
  });
});
