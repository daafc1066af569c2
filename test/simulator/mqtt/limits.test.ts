import { connect, type IConnackPacket } from 'mqtt';
import type { QoS } from 'mqtt-packet';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../../src/host/clock.ts';
import { type Simulator, startSimulator } from '../../../src/simulator/index.ts';
import { keepAliveSeconds } from '../../../src/simulator/mqtt/limits.ts';
import { thingArn } from '../../../src/simulator/service/jobs-service.ts';
import { connected, type RawClient, rawClient } from '../../support/raw-mqtt.ts';
import { until } from '../../support/until.ts';

/** What AWS IoT Core does with a client that asks for too much, asked with raw packets. */

let simulator: Simulator;
const clients: RawClient[] = [];
beforeEach(async () => {
  simulator = await startSimulator({ clock: systemClock });
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
const publish = (
  client: RawClient,
  topic: string,
  more: { qos?: QoS; payload?: string | Buffer; retain?: boolean } = {},
) =>
  client.send({
    cmd: 'publish',
    topic,
    payload: '{}',
    qos: 0,
    dup: false,
    retain: false,
    messageId: 7,
    ...more,
  });
const subscribe = (client: RawClient, topics: readonly string[], qos: QoS = 1, messageId = 8) =>
  client.send({ cmd: 'subscribe', messageId, subscriptions: topics.map((topic) => ({ topic, qos })) });
const filters = (count: number, prefix = 'a') => Array.from({ length: count }, (_, at) => `${prefix}/${at}`);
/** The connection is alive, and has seen all that was sent before. */
async function isAlive(client: RawClient): Promise<true> {
  client.send({ cmd: 'pingreq' });
  await client.next('pingresp');
  return true;
}
const reasonOf = (client: string): string | undefined =>
  simulator.trace
    .since(0)
    .flatMap((entry) => (entry.kind === 'disconnect' && entry.client === client ? [entry.reason] : []))[0];

describe('SUBSCRIBE', () => {
  test('L20: 8 filters in one SUBSCRIBE are granted, a 9th ends the connection', async () => {
    const client = await open();
    subscribe(client, filters(8));
    expect((await client.next('suback')).granted).toEqual(Array(8).fill(1));
    subscribe(client, filters(9, 'b'));
    await client.ended();
    expect(reasonOf('raw')).toContain('L20');
    expect(client.packets.filter(({ cmd }) => cmd === 'suback').length).toBe(1);
  });

  test('L20: 50 subscriptions are granted, also again; a 51st ends the connection', async () => {
    const client = await open();
    for (let at = 0; at < 50; at += 5) {
      subscribe(client, filters(5, `s${at}`));
      await client.next('suback');
    }
    subscribe(client, filters(5, 's0'));
    await client.next('suback');
    client.send({ cmd: 'unsubscribe', messageId: 9, unsubscriptions: ['s0/0'] });
    await client.next('unsuback');
    subscribe(client, ['one-more']);
    await client.next('suback');
    subscribe(client, ['too-many']);
    await client.ended();
  });

  test('L23: QoS 2 gets no SUBACK', async () => {
    const client = await open();
    subscribe(client, ['a'], 2);
    await isAlive(client);
    subscribe(client, ['a'], 0);
    await client.next('suback');
    expect(client.packets.filter(({ cmd }) => cmd === 'suback').length).toBe(1);
  });

  test('L19: a filter with 8 slashes ends the connection, one with 7 does not', async () => {
    const client = await open();
    subscribe(client, ['a/b/c/d/e/f/g/h']);
    await client.next('suback');
    subscribe(client, ['a/b/c/d/e/f/g/h/i']);
    await client.ended();
  });
});

describe('PUBLISH', () => {
  test('L23: QoS 2 gets no acknowledgement and has no effect', async () => {
    const client = await open();
    subscribe(client, ['x']);
    await client.next('suback');
    publish(client, 'x', { qos: 2 });
    publish(client, '$aws/things/t/jobs/get', { qos: 2 });
    await isAlive(client);
    publish(client, 'x', { qos: 1, payload: 'heard' });
    expect((await client.next('publish')).payload.toString()).toBe('heard');
    expect(client.packets.map(({ cmd }) => cmd)).not.toContain('pubrec');
  });

  test('L18: 128 KB are carried, one byte more ends the connection', async () => {
    const client = await open();
    publish(client, 'x', { qos: 1, payload: Buffer.alloc(128 * 1024) });
    await client.next('puback');
    publish(client, 'x', { qos: 1, payload: Buffer.alloc(128 * 1024 + 1) });
    await client.ended();
    expect(client.packets.filter(({ cmd }) => cmd === 'puback').length).toBe(1);
  });

  test.each([
    ['8 slashes', 'a/b/c/d/e/f/g/h/i'],
    ['257 bytes', `${'ä'.repeat(128)}x`],
  ])('L19: a topic with %s ends the connection', async (_, topic) => {
    const client = await open();
    publish(client, topic.slice(0, -1).replace(/\/$/, ''), { qos: 1 });
    await client.next('puback');
    publish(client, topic, { qos: 1 });
    await client.ended();
    expect(reasonOf('raw')).toContain('L19');
  });

  test('T10: retain on a reserved topic ends the connection, elsewhere it is kept', async () => {
    const client = await open();
    publish(client, 'mine', { qos: 1, retain: true, payload: 'kept' });
    await client.next('puback');
    const other = await open({ clientId: 'other' });
    subscribe(other, ['mine']);
    expect(await other.next('publish')).toMatchObject({ retain: true });
    publish(client, '$aws/things/t/jobs/get', { retain: true });
    await client.ended();
    expect(reasonOf('raw')).toContain('T10');
  });

  test('L21: what is beyond the rate of a connection is discarded, and the next second is new', async () => {
    simulator.switches.set({ messagesPerSecond: 5 });
    const client = await open();
    for (let at = 0; at < 9; at += 1) publish(client, 'x', { qos: 1 });
    await isAlive(client);
    expect(client.packets.filter(({ cmd }) => cmd === 'puback').length).toBe(5);
    await until('the next second', async () => {
      publish(client, 'x', { qos: 1 });
      await isAlive(client);
      return client.packets.filter(({ cmd }) => cmd === 'puback').length > 5;
    });
  });
});

describe('CONNECT', () => {
  test('L26: a client id has up to 128 bytes', async () => {
    await open({ clientId: 'ü'.repeat(64) });
    const refused = await rawClient(simulator.mqttUrl, { clientId: `${'ü'.repeat(64)}x` });
    expect(await refused.next('connack')).toMatchObject({ returnCode: 2 });
    await refused.ended();
  });

  test('L26: a second connection with the same client id ends the first', async () => {
    const first = await open({ clientId: 'same' });
    const second = await open({ clientId: 'same' });
    await first.ended();
    expect(reasonOf('same')).toContain('L26');
    await isAlive(second);
  });

  test('L26: with the switch, a second CONNECT within a second is refused', async () => {
    simulator.switches.set({ connectsPerSecond: 1 });
    await open({ clientId: 'hasty' });
    const second = await rawClient(simulator.mqttUrl, { clientId: 'hasty' });
    expect(await second.next('connack')).toMatchObject({ returnCode: 3 });
    await open({ clientId: 'another' });
    await until('the next second', () =>
      open({ clientId: 'hasty' }).then(
        () => true,
        () => false,
      ),
    );
  });

  test('L22: keep-alive counts from 30 to 1200 seconds', () => {
    expect([0, 1, 29, 30, 31, 1200, 1201, 65_535].map((asked) => keepAliveSeconds(asked, 30))).toEqual([
      1200, 30, 30, 30, 31, 1200, 1200, 1200,
    ]);
  });

  test('L22: who is silent for one and a half times its keep-alive is dead', async () => {
    simulator.switches.set({ keepAliveMinSeconds: 1 });
    const silent = await open({ clientId: 'silent', keepalive: 1 });
    const alive = await open({ clientId: 'alive', keepalive: 1 });
    const pinging = setInterval(() => alive.send({ cmd: 'pingreq' }), 400);
    await silent.ended();
    clearInterval(pinging);
    expect(alive.isOpen).toBe(true);
  });

  test('MQTT 5 is refused in its own words, and whoever runs the simulator is told what to do', async () => {
    const client = connect(simulator.mqttUrl, { clientId: 'five', protocolVersion: 5, reconnectPeriod: 0 });
    const connack = new Promise<IConnackPacket>((resolve) => {
      client.on('packetreceive', (packet) => {
        if (packet.cmd === 'connack') resolve(packet);
      });
    });
    const refusal = await new Promise<Error>((resolve) => client.once('error', resolve));
    expect(refusal).toMatchObject({
      message: 'Connection refused: Unsupported Protocol Version',
      code: 0x84,
    });
    expect(await connack).toMatchObject({
      reasonCode: 0x84,
      properties: { reasonString: expect.stringContaining('--broker') as string },
    });
    await client.endAsync();
    const refused = await until('the trace', () =>
      simulator.trace.since(0).find((entry) => entry.kind === 'refused'),
    );
    expect(refused).toMatchObject({ client: 'five', protocol: 5 });
    expect(refused).toHaveProperty('reason', expect.stringContaining('start the simulator with --broker'));
    // Whoever knows both falls back on the same port.
    await open({ clientId: 'five' });
  });

  test('MQTT 3.1 is refused with the code of its own time', async () => {
    const old = { protocolId: 'MQIsdp', protocolVersion: 3 } as const;
    const client = await rawClient(simulator.mqttUrl, { clientId: 'old', ...old });
    expect(await client.next('connack')).toMatchObject({ returnCode: 1 });
    await client.ended();
  });

  test('nothing is done for who has not connected, or was refused', async () => {
    simulator.service.createThing('t');
    simulator.service.createJob({ jobId: 'job', targets: [thingArn('t')], document: '{}' });
    const update = { payload: '{"status":"SUCCEEDED"}', qos: 1 } as const;
    const mute = await rawClient(simulator.mqttUrl);
    publish(mute, '$aws/things/t/jobs/job/update', update);
    await mute.ended();
    const refused = await rawClient(simulator.mqttUrl, { clientId: 'x'.repeat(129) });
    publish(refused, '$aws/things/t/jobs/job/update', update);
    await refused.ended();
    const twice = await open({ clientId: 'twice' });
    twice.send({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clientId: 'twice', clean: true });
    await twice.ended();
    expect(mute.packets.map(({ cmd }) => cmd)).toEqual([]);
    expect(refused.packets.map(({ cmd }) => cmd)).toEqual(['connack']);
    expect(simulator.service.execution('t', 'job').status).toBe('QUEUED');
  });

  test('what is no MQTT ends its own connection, and no other', async () => {
    const good = await open({ clientId: 'good' });
    const bad = await rawClient(simulator.mqttUrl);
    bad.send({ cmd: 'publish', topic: 'x', payload: '', qos: 0, dup: false, retain: false });
    await bad.ended();
    await isAlive(good);
  });
});
