import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../../src/host/clock.ts';
import { type Simulator, VirtualClock } from '../../../src/simulator/index.ts';
import { thingArn } from '../../../src/simulator/service/jobs-service.ts';
import type { NewJob } from '../../../src/simulator/service/types.ts';
import { startTestCloud, TEST_BROKERS } from '../../support/cloud.ts';
import {
  type Body,
  connectJobsDevice,
  type JobsDevice,
  notify,
  notifyNext,
  queued,
  started,
} from './jobs-device.ts';

/** Sections 1 and 2 by a real client, on the embedded broker and on Mosquitto. */

const TOKEN = { clientToken: 'mine' };
const STAMP = { timestamp: 's' };

describe.each(TEST_BROKERS)('%s', (broker) => {
  let clock: VirtualClock;
  let simulator: Simulator;
  let device: JobsDevice;
  beforeEach(async () => {
    clock = new VirtualClock({ base: systemClock });
    simulator = await startTestCloud({ clock }, broker);
    simulator.service.createThing('t');
    device = await connectJobsDevice(simulator, 't');
  });
  afterEach(async () => {
    await device.close();
    await simulator.close();
  });

  const create = async (jobId: string, more: Partial<NewJob> = {}): Promise<void> => {
    simulator.service.createJob({ jobId, targets: [thingArn('t')], document: `{"of":"${jobId}"}`, ...more });
    // Their ages must differ.
    await clock.advance(1000);
  };
  const update = (jobId: string, status = 'IN_PROGRESS', more: Body = {}) =>
    device.ask(`${jobId}/update`, { status, ...more });
  const codeOf = ({ topic, body }: { topic: string; body: Body }): unknown =>
    topic.endsWith('/accepted') ? 'accepted' : body['code'];

  test('T1 T2 T8 P14 P17: each request is answered below its own topic, $next below $next', async () => {
    await create('one');
    for (const topic of ['get', '$next/get', 'one/get', 'start-next', '$next/get'])
      expect((await device.ask(topic)).topic).toBe(`${topic}/accepted`);
    expect((await update('one')).topic).toBe('one/update/accepted');
    expect((await update('nothing')).topic).toBe('nothing/update/rejected');
    await update('one', 'SUCCEEDED');
    for (const topic of ['$next/get', 'start-next'])
      expect(await device.ask(topic, TOKEN)).toEqual({
        topic: `${topic}/accepted`,
        body: { ...STAMP, ...TOKEN },
      });
  });

  test('T3 E1 E11: $next cannot be updated, and what is no request is refused below itself', async () => {
    await create('one');
    const more = `$aws/things/t/jobs/`;
    await device.mqtt.subscribeAsync([`${more}$next/update/rejected`, `${more}foo/bar/rejected`], { qos: 1 });
    for (const topic of ['$next/update', 'foo/bar'])
      expect(await device.ask(topic, { status: 'SUCCEEDED', ...TOKEN })).toEqual({
        topic: `${topic}/rejected`,
        body: { ...STAMP, ...TOKEN, code: 'InvalidTopic', message: expect.any(String) as string },
      });
    expect(simulator.service.execution('t', 'one').status).toBe('QUEUED');
  });

  test('T7: requests count at QoS 0 as at QoS 1, and what is acknowledged may be rejected', async () => {
    await create('one');
    device.mqtt.publish('$aws/things/t/jobs/one/update', '{"status":"IN_PROGRESS"}', { qos: 0 });
    await expect.poll(() => simulator.service.execution('t', 'one').versionNumber).toBe(2);
    // publishAsync has resolved with the PUBACK.
    expect(codeOf(await update('one', 'nonsense'))).toBe('InvalidRequest');
  });

  test('P1 P5: no byte at all is an empty object; unknown members are nothing', async () => {
    for (const topic of ['get', 'start-next', '$next/get']) {
      expect(codeOf(await device.ask(topic, ''))).toBe('accepted');
      expect(codeOf(await device.ask(topic, { jobId: 'x', thingName: 'y', strange: {} }))).toBe('accepted');
    }
  });

  test('E2: what is no JSON object in UTF-8 is InvalidJson', async () => {
    const wrong = ['{', '[]', '"x"', 'null', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])];
    for (const payload of wrong) expect(codeOf(await device.ask('get', payload))).toBe('InvalidJson');
  });

  test('P2 P3 P4 E10 E12: token and stamp come with each answer, and a refusal has a code and a text', async () => {
    await create('one');
    const refused = { ...STAMP, code: 'InvalidRequest', message: expect.any(String) as string };
    expect((await update('one', 'QUEUED', TOKEN)).body).toEqual({ ...refused, ...TOKEN });
    expect((await update('one', 'QUEUED')).body).toEqual(refused);
    expect((await update('one', 'IN_PROGRESS', TOKEN)).body).toEqual({ ...STAMP, ...TOKEN });
    expect((await update('one')).body).toEqual(STAMP);
  });

  test('P6: numbers may come as text, and go as numbers', async () => {
    await create('one');
    const asked = { expectedVersion: '1', executionNumber: '1', includeJobExecutionState: true };
    expect((await update('one', 'IN_PROGRESS', asked)).body).toEqual({
      ...STAMP,
      executionState: { status: 'IN_PROGRESS', versionNumber: 2 },
    });
    expect(codeOf(await update('one', 'IN_PROGRESS', { expectedVersion: 'two' }))).toBe('InvalidRequest');
  });

  test('P8 P10: both lists with summaries without a status, by age, also when they are empty', async () => {
    const pending = async () => (await device.ask('get')).body;
    expect(await pending()).toEqual({ ...STAMP, inProgressJobs: [], queuedJobs: [] });
    for (const jobId of ['b', 'a', 'c']) await create(jobId);
    await update('c');
    expect(await pending()).toEqual({
      ...STAMP,
      inProgressJobs: [started('c')],
      queuedJobs: [queued('b'), queued('a')],
    });
  });

  test('P11 P12 P13 P7: start-next takes the oldest, then gives it again as it is', async () => {
    for (const jobId of ['one', 'two']) await create(jobId);
    const expected = {
      ...STAMP,
      execution: started('one', {
        thingName: 't',
        status: 'IN_PROGRESS',
        statusDetails: { at: 'begin' },
        jobDocument: { of: 'one' },
      }),
    };
    expect((await device.ask('start-next', { statusDetails: { at: 'begin' } })).body).toEqual(expected);
    expect((await device.ask('start-next', { statusDetails: { at: 'again' } })).body).toEqual(expected);
  });

  test('P16 P18 P19 P20 E5 E9: a description changes nothing, and says what cannot be described', async () => {
    await create('one');
    const described = async (topic: string, body: Body = {}) => (await device.ask(topic, body)).body;
    const execution = queued('one', { thingName: 't', status: 'QUEUED', jobDocument: { of: 'one' } });
    for (let times = 0; times < 2; times += 1)
      expect(await described('$next/get')).toEqual({ ...STAMP, execution });
    const { jobDocument: _, ...without } = execution;
    expect(await described('one/get', { includeJobDocument: false })).toEqual({
      ...STAMP,
      execution: without,
    });
    expect(await described('one/get', { executionNumber: 1 })).toEqual({ ...STAMP, execution });
    expect(await described('one/get', { executionNumber: 2 })).toMatchObject({ code: 'ResourceNotFound' });
    expect(await described('other/get')).toMatchObject({ code: 'ResourceNotFound' });
    await update('one', 'FAILED');
    expect(await described('one/get')).toMatchObject({ code: 'TerminalStateReached' });
    expect(await described('one/get')).not.toHaveProperty('executionState');
  });

  test('P21 P22 P24 P26: what an update may say, what it keeps, and one version each time', async () => {
    await create('one');
    const state = async (more: Body) =>
      (await update('one', 'IN_PROGRESS', { includeJobExecutionState: true, ...more })).body[
        'executionState'
      ];
    const base = { status: 'IN_PROGRESS' };
    expect(await state({ statusDetails: { a: '1', b: '2' } })).toEqual({
      ...base,
      versionNumber: 2,
      statusDetails: { a: '1', b: '2' },
    });
    expect(await state({})).toEqual({ ...base, versionNumber: 3, statusDetails: { a: '1', b: '2' } });
    expect(await state({ statusDetails: { c: '3' } })).toEqual({
      ...base,
      versionNumber: 4,
      statusDetails: { c: '3' },
    });
    for (const wrong of [{ a: 'line\nfeed' }, { a: '' }, { 'a b': 'x' }, { a: 1 }, 'text'])
      expect(codeOf(await update('one', 'IN_PROGRESS', { statusDetails: wrong }))).toBe('InvalidRequest');
    for (const status of ['QUEUED', 'CANCELED', 'TIMED_OUT', 'REMOVED', 'SUCCESS'])
      expect(codeOf(await update('one', status))).toBe('InvalidRequest');
    expect(codeOf(await device.ask('one/update', {}))).toBe('InvalidRequest');
    expect(simulator.service.execution('t', 'one').versionNumber).toBe(4);
    const withDocument = { includeJobDocument: true };
    expect((await update('one', 'SUCCEEDED', withDocument)).body).toEqual({
      ...STAMP,
      jobDocument: { of: 'one' },
    });
  });

  test('P23 E4 E6 E13 E15 E16: refusals carry the state, by their exact names', async () => {
    await create('one');
    await update('one', 'IN_PROGRESS', { statusDetails: { a: '1' } });
    const message = expect.any(String) as string;
    const executionState = { status: 'IN_PROGRESS', versionNumber: 2, statusDetails: { a: '1' } };
    expect(await update('one', 'SUCCEEDED', { expectedVersion: 1, ...TOKEN })).toEqual({
      topic: 'one/update/rejected',
      body: { ...STAMP, ...TOKEN, code: 'VersionMismatch', message, executionState },
    });
    expect(codeOf(await update('one', 'SUCCEEDED', { expectedVersion: 2 }))).toBe('accepted');
    const ended = { status: 'SUCCEEDED', versionNumber: 3, statusDetails: { a: '1' } };
    expect((await update('one', 'SUCCEEDED', { expectedVersion: 2 })).body).toEqual({
      ...STAMP,
      code: 'InvalidStateTransition',
      message,
      executionState: ended,
    });
    simulator.switches.set({ terminalBeforeVersion: false });
    expect((await update('one', 'SUCCEEDED', { expectedVersion: 2 })).body).toMatchObject({
      code: 'VersionMismatch',
      executionState: ended,
    });
  });

  test('P25 S22: a step timer is set, replaced and dropped', async () => {
    await create('one');
    const left = async (stepTimeoutInMinutes?: number) => {
      await update('one', 'IN_PROGRESS', { ...(stepTimeoutInMinutes && { stepTimeoutInMinutes }) });
      const { body } = await device.ask('one/get');
      return (body['execution'] as Body)['approximateSecondsBeforeTimedOut'] as number | undefined;
    };
    expect(await left()).toBeUndefined();
    expect(Math.round(((await left(10)) ?? 0) / 60)).toBe(10);
    expect(Math.round(((await left(2)) ?? 0) / 60)).toBe(2);
    expect(Math.round(((await left()) ?? 0) / 60)).toBe(2);
    expect(await left(-1)).toBeUndefined();
    for (const wrong of [0, -2, 10_081, 1.5])
      expect(codeOf(await update('one', 'IN_PROGRESS', { stepTimeoutInMinutes: wrong }))).toBe(
        'InvalidRequest',
      );
  });

  test('N1 N3 N4 N6 N7 N8 N9 N12 N13 T5: the whole life of two jobs, message by message', async () => {
    const front = (jobId: string) =>
      notifyNext(queued(jobId, { thingName: 't', status: 'QUEUED', jobDocument: { of: jobId } }));
    await create('one');
    expect(await device.news()).toEqual([notify({ QUEUED: [queued('one')] }), front('one')]);
    await create('two');
    expect(await device.news()).toEqual([notify({ QUEUED: [queued('one'), queued('two')] })]);
    await device.ask('start-next');
    await update('one');
    expect(await device.news()).toEqual([]);
    await update('one', 'SUCCEEDED');
    expect(await device.news()).toEqual([notify({ QUEUED: [queued('two')] }), front('two')]);
    await update('two', 'REJECTED');
    expect(await device.news()).toEqual([notify({}), notifyNext()]);
  });

  test('N2 N5 N10 N11 N14: several at once; the oldest in progress is the front', async () => {
    for (const jobId of ['one', 'two', 'three']) await create(jobId);
    await device.news();
    await update('two');
    const next = (jobId: string) =>
      notifyNext(started(jobId, { thingName: 't', status: 'IN_PROGRESS', jobDocument: { of: jobId } }));
    expect(await device.news()).toEqual([next('two')]);
    await update('three');
    expect(await device.news()).toEqual([]);
    await update('one');
    expect(await device.news()).toEqual([next('one')]);
    await update('three', 'FAILED');
    expect(await device.news()).toEqual([notify({ IN_PROGRESS: [started('one'), started('two')] })]);
  });

  test('N15 N16 N17 N18 N21 N22 S6 S7: cancels and deletions name nothing and no cause', async () => {
    const { service } = simulator;
    for (const jobId of ['one', 'two', 'three', 'four']) await create(jobId);
    await update('one');
    await update('two');
    await device.news();
    service.cancelJob('one', { force: false });
    expect(await device.news()).toEqual([]);
    service.cancelExecution('t', 'three', { force: false });
    const inProgress = [started('one'), started('two')];
    expect(await device.news()).toEqual([notify({ IN_PROGRESS: inProgress, QUEUED: [queued('four')] })]);
    // N22: not the front, so notify alone tells.
    service.cancelExecution('t', 'two', { force: true });
    expect(await device.news()).toEqual([
      notify({ IN_PROGRESS: [started('one')], QUEUED: [queued('four')] }),
    ]);
    expect((await update('two', 'SUCCEEDED')).body).toMatchObject({
      code: 'InvalidStateTransition',
      executionState: { status: 'CANCELED', versionNumber: 3 },
    });
    service.cancelExecution('t', 'one', { force: true });
    expect((await device.news()).map(({ topic }) => topic)).toEqual(['notify', 'notify-next']);
    service.deleteJob('four', true);
    expect(await device.news()).toEqual([notify({}), notifyNext()]);
    expect(codeOf(await device.ask('four/get'))).toBe('ResourceNotFound');
    expect(codeOf(await update('four'))).toBe('ResourceNotFound');
  });

  test('N20: the answer first, then notify, then notify-next', async () => {
    await create('one');
    await device.news();
    const from = device.heard.length;
    await update('one', 'SUCCEEDED');
    await device.news();
    expect(device.heard.slice(from, from + 3).map(({ topic }) => topic)).toEqual([
      'one/update/accepted',
      'notify',
      'notify-next',
    ]);
  });

  test('E7 E8: faults of the service, each by its code, and nothing has changed', async () => {
    await create('one');
    for (const code of ['InternalError', 'RequestThrottled']) {
      simulator.faults.add([{ on: 'request', operation: 'update', action: 'reject', code, count: 1 }]);
      expect((await update('one', 'SUCCEEDED', TOKEN)).body).toEqual({
        ...STAMP,
        ...TOKEN,
        code,
        message: expect.any(String) as string,
      });
    }
    expect(simulator.service.execution('t', 'one').versionNumber).toBe(1);
  });

  test('S25 S24 N18b: a timer ends it; notify and a refused update are all that the device gets', async () => {
    await create('one', { timeoutConfig: { inProgressTimeoutInMinutes: 1 } });
    await update('one');
    await device.news();
    await clock.advance(61_000);
    expect(await device.news()).toEqual([notify({}), notifyNext()]);
    expect((await update('one', 'SUCCEEDED')).body).toMatchObject({
      code: 'InvalidStateTransition',
      executionState: { status: 'TIMED_OUT' },
    });
  });

  test('S17 N18c: a retry is a new execution number from version 1', async () => {
    await create('one', {
      jobExecutionsRetryConfig: { criteriaList: [{ failureType: 'FAILED', numberOfRetries: 1 }] },
    });
    await update('one');
    await device.news();
    await update('one', 'FAILED');
    const again = queued('one', { executionNumber: 2 });
    expect(await device.news()).toEqual([
      notify({}),
      notifyNext(),
      notify({ QUEUED: [again] }),
      notifyNext({ ...again, thingName: 't', status: 'QUEUED', jobDocument: { of: 'one' } }),
    ]);
  });
});
