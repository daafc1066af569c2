import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../src/host/clock.ts';
import { activate, parseFaultRules } from '../../src/simulator/fault-rules.ts';
import { type Simulator, startSimulator, VirtualClock } from '../../src/simulator/index.ts';
import { thingArn } from '../../src/simulator/service/jobs-service.ts';
import { connected, type RawClient } from '../support/raw-mqtt.ts';
import { until } from '../support/until.ts';

/** Scenario 10: faults as data, at start, while it runs, and over the admin API. */

const PREFIX = '$aws/things/t/jobs/';
let clock: VirtualClock;
let simulator: Simulator;
let client: RawClient;
beforeEach(async () => {
  clock = new VirtualClock({ base: systemClock });
  simulator = await startSimulator({ clock });
  simulator.service.createThing('t');
  client = await connected(simulator.mqttUrl, { clientId: 't' });
});
afterEach(async () => {
  client.close();
  await simulator.close();
});

const ask = (topic: string, body: object = {}): void =>
  client.send({
    cmd: 'publish',
    topic: `${PREFIX}${topic}`,
    payload: JSON.stringify(body),
    qos: 0,
    dup: false,
    retain: false,
  });
const isAlive = async (): Promise<void> => {
  client.send({ cmd: 'pingreq' });
  await client.next('pingresp');
};
const told = () => client.packets.flatMap((one) => (one.cmd === 'publish' ? [one] : []));
const bodies = () => told().map(({ payload }) => JSON.parse(payload.toString()) as Record<string, unknown>);
const listen = async (): Promise<void> => {
  const topics = ['notify', 'notify-next'].map((kind) => ({ topic: `${PREFIX}${kind}`, qos: 0 as const }));
  client.send({ cmd: 'subscribe', messageId: 1, subscriptions: topics });
  await client.next('suback');
};
const createJob = (jobId: string): unknown =>
  simulator.service.createJob({ jobId, targets: [thingArn('t')], document: '{}' });
const add = (rule: object): string[] => simulator.faults.add([rule]);

describe('requests and answers', () => {
  test('a request that is dropped has no effect; count ends the rule', async () => {
    createJob('one');
    add({ on: 'request', action: 'drop', operation: 'update', count: 1 });
    ask('one/update', { status: 'IN_PROGRESS' });
    ask('one/get');
    await client.next('publish');
    expect(simulator.service.execution('t', 'one').status).toBe('QUEUED');
    ask('one/update', { status: 'IN_PROGRESS' });
    await client.next('publish');
    expect(simulator.service.execution('t', 'one').status).toBe('IN_PROGRESS');
  });

  test('an answer that is dropped had its effect', async () => {
    createJob('one');
    add({ on: 'answer', action: 'drop', operation: 'update' });
    ask('one/update', { status: 'IN_PROGRESS' });
    await isAlive();
    expect(told()).toEqual([]);
    expect(simulator.service.execution('t', 'one').status).toBe('IN_PROGRESS');
  });

  test('E7, E8: refused by code, only so often, and the request had no effect', async () => {
    createJob('one');
    add({
      on: 'request',
      action: 'reject',
      code: 'RequestThrottled',
      operation: 'update',
      skip: 1,
      count: 1,
    });
    for (const clientToken of ['a', 'b', 'c']) ask('one/update', { status: 'IN_PROGRESS', clientToken });
    await until('three answers', () => told().length === 3);
    expect(bodies().map(({ clientToken, code }) => [clientToken, code])).toEqual([
      ['a', undefined],
      ['b', 'RequestThrottled'],
      ['c', undefined],
    ]);
    expect(simulator.service.execution('t', 'one').versionNumber).toBe(3);
  });

  test('an answer comes twice; a request that comes twice is acted upon twice', async () => {
    createJob('one');
    const [id] = add({ on: 'answer', action: 'duplicate' });
    ask('one/get');
    await until('two answers', () => told().length === 2);
    simulator.faults.remove(id ?? '');
    add({ on: 'request', action: 'duplicate' });
    ask('one/update', { status: 'IN_PROGRESS', expectedVersion: 1 });
    await until('two more', () => told().length === 4);
    expect(bodies()[3]).toMatchObject({ code: 'VersionMismatch' });
  });

  test('a delay is on the clock, and within its range', async () => {
    add({ on: 'answer', action: 'delay', delayMs: [60_000, 120_000] });
    ask('get');
    await until('the answer to wait', () => simulator.faults.rules()[0]?.acted === 1);
    await clock.advance(59_000);
    await isAlive();
    expect(told()).toEqual([]);
    await clock.advance(62_000);
    await client.next('publish');
  });

  test('an answer that is reordered comes after the next one', async () => {
    add({ on: 'answer', action: 'reorder', count: 1, delayMs: 3_600_000 });
    for (const clientToken of ['first', 'second']) ask('get', { clientToken });
    await until('both', () => told().length === 2);
    expect(bodies().map(({ clientToken }) => clientToken)).toEqual(['second', 'first']);
  });

  test('a late answer: the connection dies, and the answer comes on the next one', async () => {
    add({ on: 'answer', action: 'late', count: 1 });
    ask('get', { clientToken: 'old' });
    await client.ended();
    client = await connected(simulator.mqttUrl, { clientId: 't' });
    expect(JSON.parse((await client.next('publish')).payload.toString())).toMatchObject({
      clientToken: 'old',
    });
  });
});

describe('notifications', () => {
  test('one kind is dropped, the other is not', async () => {
    await listen();
    add({ on: 'notification', action: 'drop', kind: 'notify-next', thing: 't' });
    createJob('one');
    expect((await client.next('publish')).topic).toBe(`${PREFIX}notify`);
    await isAlive();
    expect(told().length).toBe(1);
  });

  test('duplicated; reordered with each other', async () => {
    await listen();
    add({ on: 'notification', action: 'reorder', kind: 'notify', count: 1, delayMs: 3_600_000 });
    add({ on: 'notification', action: 'duplicate', kind: 'notify-next' });
    createJob('one');
    await until('three', () => told().length === 3);
    expect(told().map(({ topic }) => topic.slice(PREFIX.length))).toEqual([
      'notify-next',
      'notify-next',
      'notify',
    ]);
  });

  test('the connection dies in its stead', async () => {
    await listen();
    add({ on: 'notification', action: 'disconnect', kind: 'notify', count: 1 });
    createJob('one');
    await client.ended();
  });
});

describe('rules', () => {
  test('the same seed is the same chance, another one is another', () => {
    const run = (seed: number): string => {
      const rule = activate({ on: 'answer', action: 'drop', probability: 0.5, seed }, 'x');
      return Array.from({ length: 200 }, () => (rule.takes({ on: 'answer' }) ? 'x' : '.')).join('');
    };
    expect(run(7)).toBe(run(7));
    expect(run(7)).not.toBe(run(8));
    const taken = run(7).replaceAll('.', '').length;
    expect(taken).toBeGreaterThan(60);
    expect(taken).toBeLessThan(140);
  });

  test.each<[unknown, string]>([
    [{}, 'faults: must be a list'],
    [[5], 'faults[0]: must be an object'],
    [[{ on: 'x', action: 'drop' }], 'faults[0].on: must be one of request, answer,'],
    [
      [
        { on: 'answer', action: 'drop' },
        { on: 'answer', action: 'late', delayMs: -1 },
      ],
      'faults[1].delayMs: ',
    ],
    [[{ on: 'answer', action: 'delay' }], 'faults[0].delayMs: must be given'],
    [[{ on: 'connect', action: 'drop' }], 'faults[0].action: must be one of deny where on is connect'],
    [[{ on: 'answer', action: 'drop', probability: 2 }], 'faults[0].probability: must be 0 to 1'],
    [[{ on: 'answer', action: 'drop', thingName: 't' }], 'faults[0]: has unknown members: thingName'],
    [[{ on: 'answer', action: 'delay', delayMs: [5, 1] }], 'faults[0].delayMs: must be [least, most]'],
  ])('%j is refused with its place', (rules, message) => {
    expect(() => parseFaultRules(rules)).toThrow(message);
  });
});

describe('the admin API', () => {
  const api = async (method: string, path: string, body?: unknown) => {
    const response = await fetch(`${simulator.httpUrl}/_simulator${path}`, {
      method,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: await response.json() };
  };

  test('faults: added, listed with their counts, taken back', async () => {
    const added = await api('POST', '/faults', { id: 'mine', on: 'answer', action: 'drop' });
    expect(added).toEqual({ status: 201, body: { ids: ['mine'] } });
    ask('get');
    await isAlive();
    expect((await api('GET', '/faults')).body.faults).toMatchObject([{ id: 'mine', matched: 1, acted: 1 }]);
    expect((await api('DELETE', '/faults/mine')).status).toBe(200);
    expect((await api('DELETE', '/faults/mine')).status).toBe(404);
    ask('get');
    await client.next('publish');
    const wrong = await api('POST', '/faults', { faults: [{ on: 'answer', action: 'delay', delayMs: 'x' }] });
    expect(wrong.status).toBe(400);
    expect(wrong.body.message).toContain('faults[0].delayMs: must be');
  });

  test('switches: PATCH changes some, PUT all, and a mistake none', async () => {
    await api('PATCH', '/switches', { messagesPerSecond: 9, notifyQos: 0 });
    expect((await api('GET', '/switches')).body).toMatchObject({ messagesPerSecond: 9, notifyQos: 0 });
    const wrong = await api('PATCH', '/switches', { messagesPerSecond: 10, notifyQos: 5 });
    expect(wrong).toEqual({ status: 400, body: { message: 'notifyQos: must be one of 1, 0' } });
    expect((await api('GET', '/switches')).body).toMatchObject({ messagesPerSecond: 9 });
    await api('PUT', '/switches', { notifyQos: 0 });
    expect((await api('GET', '/switches')).body).toMatchObject({ messagesPerSecond: 0, notifyQos: 0 });
    expect((await api('PATCH', '/switches', { nothing: 1 })).body.message).toBe('no switch "nothing"');
  });

  test('the clock moves on, and a job times out', async () => {
    simulator.service.createJob({
      jobId: 'one',
      targets: [thingArn('t')],
      document: '{}',
      timeoutConfig: { inProgressTimeoutInMinutes: 10_080 },
    } as never);
    ask('one/update', { status: 'IN_PROGRESS', stepTimeoutInMinutes: 10_080 });
    await client.next('publish');
    const before = (await api('GET', '/clock')).body;
    expect(before.isVirtual).toBe(true);
    const after = (await api('POST', '/clock/advance', { seconds: 700_000 })).body;
    expect(after.wallMs - before.wallMs).toBeGreaterThanOrEqual(700_000_000);
    expect(simulator.service.execution('t', 'one').status).toBe('TIMED_OUT');
    expect((await api('POST', '/clock/advance', { seconds: -1 })).status).toBe(400);
    // Whoever is connected stays so: a keep-alive is a matter of real time.
    await isAlive();
  });

  test('clients are listed and disconnected; reset makes it new', async () => {
    expect((await api('GET', '/clients')).body.clients).toMatchObject([{ client: 't', secure: false }]);
    expect((await api('POST', '/clients/nobody/disconnect')).status).toBe(404);
    expect((await api('POST', '/clients/t/disconnect')).status).toBe(200);
    await client.ended();
    createJob('one');
    add({ on: 'answer', action: 'drop' });
    await api('POST', '/reset');
    expect(simulator.service.jobs()).toEqual([]);
    expect(simulator.faults.rules()).toEqual([]);
    expect((await api('GET', '/health')).body).toMatchObject({ status: 'ok', httpUrl: simulator.httpUrl });
    expect((await api('GET', '/nothing')).status).toBe(404);
  });
});
