import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../../src/host/clock.ts';
import { type Simulator, startSimulator, VirtualClock } from '../../../src/simulator/index.ts';
import { thingArn } from '../../../src/simulator/service/jobs-service.ts';
import { connected, type RawClient, rawClient } from '../../support/raw-mqtt.ts';
import { until } from '../../support/until.ts';

/** Who hears what, on reserved topics: asked with raw packets, and with the clients of Mosquitto. */

const PREFIX = '$aws/things/t/jobs/';
let clock: VirtualClock;
let simulator: Simulator;
const clients: RawClient[] = [];
beforeEach(async () => {
  clock = new VirtualClock({ base: systemClock });
  simulator = await startSimulator({ clock });
  simulator.service.createThing('t');
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await simulator.close();
});

const open = async (packet: Parameters<typeof connected>[1] = {}): Promise<RawClient> => {
  const client = await connected(simulator.mqttUrl, packet);
  clients.push(client);
  return client;
};
const ask = (client: RawClient, topic: string, payload = '{}'): void =>
  client.send({ cmd: 'publish', topic, payload, qos: 1, dup: false, retain: false, messageId: 7 });
const subscribe = async (
  client: RawClient,
  topics: readonly string[],
  qos: 0 | 1 = 1,
): Promise<unknown[]> => {
  client.send({ cmd: 'subscribe', messageId: 8, subscriptions: topics.map((topic) => ({ topic, qos })) });
  return (await client.next('suback')).granted;
};
const isAlive = async (client: RawClient): Promise<void> => {
  client.send({ cmd: 'pingreq' });
  await client.next('pingresp');
};
const told = (client: RawClient) => client.packets.flatMap((one) => (one.cmd === 'publish' ? [one] : []));
const bodyOf = ({ payload }: { payload: string | Buffer }) => JSON.parse(payload.toString()) as unknown;
const createJob = (jobId: string): unknown =>
  simulator.service.createJob({ jobId, targets: [thingArn('t')], document: '{}' });

describe('answers', () => {
  test('T4, T6: without a subscription the answer arrives, at QoS 0 and not retained', async () => {
    const client = await open();
    ask(client, `${PREFIX}$next/get`);
    const answer = await client.next('publish');
    expect(answer).toMatchObject({ topic: `${PREFIX}$next/get/accepted`, qos: 0, retain: false });
  });

  test.each([0, 1] as const)(
    'T4: with a subscription of QoS %i it arrives once, at that QoS',
    async (qos) => {
      const client = await open();
      await subscribe(client, [`${PREFIX}get/+`, `${PREFIX}get/accepted`], qos);
      ask(client, `${PREFIX}get`);
      expect((await client.next('publish')).qos).toBe(qos);
      await isAlive(client);
      expect(told(client).length).toBe(1);
    },
  );

  test('T4: nobody else hears a request or its answer, whatever he subscribes to', async () => {
    const client = await open();
    const other = await open({ clientId: 'other' });
    await subscribe(other, ['$aws/things/t/jobs/#', `${PREFIX}get`, `${PREFIX}get/accepted`]);
    ask(client, `${PREFIX}get`);
    await client.next('publish');
    await isAlive(other);
    expect(told(other)).toEqual([]);
  });

  test('T7: a request of QoS 1 is acknowledged before it is answered, also when it is rejected', async () => {
    const client = await open();
    ask(client, `${PREFIX}nothing/update`, '{"status":"SUCCEEDED"}');
    expect(bodyOf(await client.next('publish'))).toMatchObject({ code: 'ResourceNotFound' });
    expect(client.packets.map(({ cmd }) => cmd)).toEqual(['connack', 'puback', 'publish']);
  });

  test.each(['foo/bar', 'get/accepted', 'notify', 'a/b/c'])('E1: %s is no operation', async (topic) => {
    const client = await open();
    const other = await open({ clientId: 'other' });
    await subscribe(other, ['$aws/things/t/jobs/#']);
    ask(client, `${PREFIX}${topic}`, '{"clientToken":"mine"}');
    const answer = await client.next('publish');
    expect(answer.topic).toBe(`${PREFIX}${topic}/rejected`);
    expect(bodyOf(answer)).toMatchObject({ code: 'InvalidTopic', clientToken: 'mine' });
    // A device cannot speak for the service.
    await isAlive(other);
    expect(told(other)).toEqual([]);
  });

  test('E2: what is no JSON is rejected as such', async () => {
    const client = await open();
    ask(client, `${PREFIX}get`, '{"a":');
    expect(bodyOf(await client.next('publish'))).toMatchObject({ code: 'InvalidJson' });
  });
});

describe('notifications', () => {
  test('T5: every subscriber hears them, mosquitto_sub too, and nobody without a subscription', async () => {
    const [one, two, none] = [await open({ clientId: '1' }), await open({ clientId: '2' }), await open()];
    await subscribe(one, [`${PREFIX}notify-next`]);
    await subscribe(two, ['$aws/things/+/jobs/notify-next']);
    const { port } = new URL(simulator.mqttUrl);
    const args = [
      '-h',
      '127.0.0.1',
      '-p',
      port,
      '-i',
      'm',
      '-C',
      '1',
      '-W',
      '20',
      '-t',
      `${PREFIX}notify-next`,
    ];
    const heard = promisify(execFile)('mosquitto_sub', args);
    await until('mosquitto_sub', () =>
      simulator.trace.since(0).some(({ kind, client }) => kind === 'subscribe' && client === 'm'),
    );
    createJob('job');
    for (const client of [one, two])
      expect(bodyOf(await client.next('publish'))).toMatchObject({ execution: { jobId: 'job' } });
    expect(JSON.parse((await heard).stdout)).toMatchObject({ execution: { jobId: 'job' } });
    await isAlive(none);
    expect(told(none)).toEqual([]);
  });
});

describe('sessions', () => {
  const persistent = { clientId: 'p', clean: false };

  test('L25: what was published meanwhile waits in a persistent session', async () => {
    const before = await open(persistent);
    await subscribe(before, [`${PREFIX}notify`]);
    before.close();
    await until('its end', () => simulator.trace.since(0).some(({ kind }) => kind === 'disconnect'));
    createJob('job');
    const after = await rawClient(simulator.mqttUrl, persistent);
    clients.push(after);
    expect(await after.next('connack')).toMatchObject({ sessionPresent: true });
    expect(bodyOf(await after.next('publish'))).toMatchObject({ jobs: { QUEUED: [{ jobId: 'job' }] } });
  });

  test('L25: after an hour without a connection it is gone, with all that waited', async () => {
    const before = await open(persistent);
    await subscribe(before, [`${PREFIX}notify`]);
    before.close();
    await until('its end', () => simulator.trace.since(0).some(({ kind }) => kind === 'disconnect'));
    createJob('job');
    await clock.advance(3_599_000);
    await clock.advance(2000);
    const after = await rawClient(simulator.mqttUrl, persistent);
    clients.push(after);
    expect(await after.next('connack')).toMatchObject({ sessionPresent: false });
    createJob('next');
    await isAlive(after);
    expect(told(after)).toEqual([]);
  });

  test('L25: the hour begins at the end of the last connection', async () => {
    for (let times = 1; times <= 3; times += 1) {
      const client = await rawClient(simulator.mqttUrl, persistent);
      expect(await client.next('connack')).toMatchObject({ sessionPresent: times > 1 });
      client.close();
      await until(
        'its end',
        () => simulator.trace.since(0).filter(({ kind }) => kind === 'disconnect').length === times,
      );
      await clock.advance(3_000_000);
    }
  });

  test('a clean session forgets the one before', async () => {
    const before = await open(persistent);
    await subscribe(before, [`${PREFIX}notify`]);
    before.close();
    await open({ clientId: 'p', clean: true });
    const after = await rawClient(simulator.mqttUrl, persistent);
    clients.push(after);
    expect(await after.next('connack')).toMatchObject({ sessionPresent: false });
  });
});

describe('policy', () => {
  const deny = (rule: object): string[] => simulator.faults.add([{ action: 'deny', ...rule }]);

  test('T7: a publish that the policy denies ends the connection, another one does not', async () => {
    deny({ on: 'publish', client: 'raw', topic: '$aws/things/t/shadow/#' });
    const client = await open();
    ask(client, `${PREFIX}get`);
    await client.next('publish');
    ask(client, '$aws/things/t/shadow/name/x/get');
    await client.ended();
    expect(client.packets.filter(({ cmd }) => cmd === 'puback').length).toBe(1);
  });

  test('A22: a subscribe that the policy denies is refused for its filter alone', async () => {
    deny({ on: 'subscribe', topic: '$aws/things/other/#' });
    const client = await open();
    expect(await subscribe(client, ['a', '$aws/things/other/jobs/notify', 'b'])).toEqual([1, 0x80, 1]);
    expect(await subscribe(client, ['$aws/things/other/jobs/notify'])).toEqual([0x80]);
    simulator.switches.set({ deniedSubscribe: 'close' });
    client.send({
      cmd: 'subscribe',
      messageId: 9,
      subscriptions: [{ topic: '$aws/things/other/x', qos: 1 }],
    });
    await client.ended();
  });

  test('A22: what it may not receive does not arrive', async () => {
    deny({ on: 'receive', topic: `${PREFIX}notify` });
    const client = await open();
    await subscribe(client, [`${PREFIX}notify`, `${PREFIX}notify-next`]);
    createJob('job');
    await client.next('publish');
    await isAlive(client);
    expect(told(client).map(({ topic }) => topic)).toEqual([`${PREFIX}notify-next`]);
  });

  test('a client that may not connect is cut off without a CONNACK', async () => {
    deny({ on: 'connect', client: 'bad-*' });
    const client = await rawClient(simulator.mqttUrl, { clientId: 'bad-1' });
    await client.ended();
    expect(client.packets).toEqual([]);
    await open({ clientId: 'good' });
  });
});
