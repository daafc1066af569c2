import * as iotApi from '@aws-sdk/client-iot';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../src/host/clock.ts';
import { type Simulator, VirtualClock } from '../../src/simulator/index.ts';
import { startTestCloud, TEST_BROKERS } from '../support/cloud.ts';
import { until } from '../support/until.ts';
import {
  type Body,
  connectJobsDevice,
  type JobsDevice,
  type Message,
  notify,
  notifyNext,
  queued,
  started,
} from './conformance/jobs-device.ts';
import { CREDENTIALS, groupArn, refusal, thingArn } from './http/clients.ts';

/** The ten scenarios that say whether this is AWS IoT Jobs: operators by the AWS SDK, the device by mqtt.js. */

const NOTHING = { timestamp: 's' };

describe.each(TEST_BROKERS)('%s', (broker) => {
  let clock: VirtualClock;
  let simulator: Simulator;
  let iot: iotApi.IoTClient;
  let device: JobsDevice;
  beforeEach(async () => {
    clock = new VirtualClock({ base: systemClock });
    simulator = await startTestCloud({ clock }, broker);
    const { httpUrl: endpoint } = simulator;
    iot = new iotApi.IoTClient({ endpoint, region: 'us-east-1', credentials: CREDENTIALS, maxAttempts: 1 });
    await iot.send(new iotApi.CreateThingCommand({ thingName: 't' }));
    device = await connectJobsDevice(simulator, 't');
  });
  afterEach(async () => {
    await device.close();
    iot.destroy();
    await simulator.close();
  });

  const create = async (jobId: string, more: Partial<iotApi.CreateJobCommandInput> = {}): Promise<void> => {
    const document = `{"of":"${jobId}"}`;
    await iot.send(new iotApi.CreateJobCommand({ jobId, targets: [thingArn('t')], document, ...more }));
    // Their ages must differ.
    await clock.advance(1000);
  };
  const update = (jobId: string, status: string, more: Body = {}) =>
    device.ask(`${jobId}/update`, { status, ...more });
  const cancel = (jobId: string, force?: boolean) =>
    iot.send(new iotApi.CancelJobExecutionCommand({ jobId, thingName: 't', force }));
  const executionOf = async (jobId: string) =>
    (await iot.send(new iotApi.DescribeJobExecutionCommand({ jobId, thingName: 't' }))).execution;
  const whole = (execution: Body, status: string): Body => ({
    ...execution,
    thingName: 't',
    status,
    jobDocument: { of: execution['jobId'] },
  });
  const codeOf = ({ topic, body }: Message): unknown =>
    topic.endsWith('/accepted') ? 'accepted' : body['code'];

  test("scenario 1: AWS' own test of its client", async () => {
    await iot.send(new iotApi.CreateThingGroupCommand({ thingGroupName: 'g' }));
    const targetSelection = 'CONTINUOUS';
    await create('job', { targets: [groupArn('g')], targetSelection });
    const empty = { ...NOTHING, inProgressJobs: [], queuedJobs: [] };
    expect((await device.ask('get')).body).toEqual(empty);
    expect(await device.news()).toEqual([]);
    await iot.send(new iotApi.AddThingToThingGroupCommand({ thingName: 't', thingGroupName: 'g' }));
    expect(await device.news()).toEqual([
      notify({ QUEUED: [queued('job')] }),
      notifyNext(whole(queued('job'), 'QUEUED')),
    ]);
    const inProgress = { ...NOTHING, execution: whole(started('job'), 'IN_PROGRESS') };
    expect((await device.ask('start-next')).body).toEqual(inProgress);
    expect(await device.news()).toEqual([]);
    expect((await device.ask('job/get')).body).toEqual(inProgress);
    expect((await update('job', 'SUCCEEDED')).body).toEqual(NOTHING);
    expect(await device.news()).toEqual([notify({}), notifyNext()]);
    expect((await device.ask('get')).body).toEqual(empty);
    await iot.send(new iotApi.DeleteJobCommand({ jobId: 'job', force: true }));
    expect(await device.news()).toEqual([]);
    expect(await refusal(executionOf('job'))).toBeInstanceOf(iotApi.ResourceNotFoundException);
  });

  test('scenario 2: two jobs, one succeeds and one fails', async () => {
    await create('Job1');
    await create('Job2');
    expect(await device.news()).toEqual([
      notify({ QUEUED: [queued('Job1')] }),
      notifyNext(whole(queued('Job1'), 'QUEUED')),
      notify({ QUEUED: [queued('Job1'), queued('Job2')] }),
    ]);
    expect((await device.ask('start-next')).body).toEqual({
      ...NOTHING,
      execution: whole(started('Job1'), 'IN_PROGRESS'),
    });
    await update('Job1', 'SUCCEEDED', { expectedVersion: 2 });
    expect(await device.news()).toEqual([
      notify({ QUEUED: [queued('Job2')] }),
      notifyNext(whole(queued('Job2'), 'QUEUED')),
    ]);
    await device.ask('start-next');
    await update('Job2', 'FAILED', { expectedVersion: 2 });
    expect(await device.news()).toEqual([notify({}), notifyNext()]);
  });

  test('scenario 3: cancelled by force in the middle', async () => {
    await create('one');
    await device.ask('start-next');
    await device.news();
    const gentle = await refusal(cancel('one'));
    expect(gentle).toBeInstanceOf(iotApi.InvalidStateTransitionException);
    expect(gentle['$metadata']).toMatchObject({ httpStatusCode: 409 });
    expect(await device.news()).toEqual([]);
    expect((await cancel('one', true)).$metadata.httpStatusCode).toBe(200);
    expect(await device.news()).toEqual([notify({}), notifyNext()]);
    const message = expect.any(String) as string;
    expect(await device.ask('one/get')).toEqual({
      topic: 'one/get/rejected',
      body: { ...NOTHING, code: 'TerminalStateReached', message },
    });
    expect(await update('one', 'SUCCEEDED')).toEqual({
      topic: 'one/update/rejected',
      body: {
        ...NOTHING,
        code: 'InvalidStateTransition',
        message,
        executionState: { status: 'CANCELED', versionNumber: 3 },
      },
    });
    expect(await executionOf('one')).toMatchObject({
      status: 'CANCELED',
      forceCanceled: true,
      statusDetails: {},
    });
    const again = await refusal(cancel('one', true));
    expect(again).toBeInstanceOf(iotApi.InvalidStateTransitionException);
  });

  test('scenario 4: the same with a second job behind it', async () => {
    await create('one');
    await create('two');
    await device.ask('start-next');
    await device.news();
    await cancel('one', true);
    expect(await device.news()).toEqual([
      notify({ QUEUED: [queued('two')] }),
      notifyNext(whole(queued('two'), 'QUEUED')),
    ]);
    expect(codeOf(await update('one', 'IN_PROGRESS'))).toBe('InvalidStateTransition');
  });

  test('scenario 5: one of two in progress, which is not the front, is cancelled', async () => {
    await create('one');
    await create('two');
    await update('one', 'IN_PROGRESS');
    await update('two', 'IN_PROGRESS');
    await device.news();
    await cancel('two', true);
    expect(await device.news()).toEqual([notify({ IN_PROGRESS: [started('one')] })]);
  });

  test('scenario 6: of a cancel and an update the first wins, and the other is refused', async () => {
    for (let round = 0; round < 8; round += 1) {
      const jobId = `race-${round}`;
      await create(jobId);
      await update(jobId, 'IN_PROGRESS');
      // Both are on their way at once.
      const voted = update(jobId, 'SUCCEEDED', { expectedVersion: 2 });
      const cancelled = cancel(jobId, true).then(
        () => true,
        (error: unknown) => error,
      );
      const [vote, canceled] = await Promise.all([voted, cancelled]);
      const end = (await executionOf(jobId))?.status;
      if (codeOf(vote) === 'accepted') {
        expect(canceled).toBeInstanceOf(iotApi.InvalidStateTransitionException);
        expect(end).toBe('SUCCEEDED');
      } else {
        expect(vote.body).toMatchObject({
          code: 'InvalidStateTransition',
          executionState: { status: 'CANCELED' },
        });
        expect([canceled, end]).toEqual([true, 'CANCELED']);
      }
    }
  });

  test('scenario 7: CancelJob without force leaves what is in progress', async () => {
    await create('one');
    await device.ask('start-next');
    await device.news();
    await iot.send(new iotApi.CancelJobCommand({ jobId: 'one', reasonCode: 'CHANGED_MIND' }));
    expect(await device.news()).toEqual([]);
    expect(codeOf(await update('one', 'SUCCEEDED'))).toBe('accepted');
    const { job } = await iot.send(new iotApi.DescribeJobCommand({ jobId: 'one' }));
    expect(job).toMatchObject({ status: 'CANCELED', reasonCode: 'CHANGED_MIND' });
    expect((await executionOf('one'))?.status).toBe('SUCCEEDED');
  });

  test('scenario 8: deleted by force', async () => {
    await create('one');
    await device.ask('start-next');
    await device.news();
    await iot.send(new iotApi.DeleteJobCommand({ jobId: 'one', force: true }));
    expect(await device.news()).toEqual([notify({}), notifyNext()]);
    expect(codeOf(await device.ask('one/get'))).toBe('ResourceNotFound');
    expect(codeOf(await update('one', 'SUCCEEDED'))).toBe('ResourceNotFound');
  });

  describe('scenario 9: timers', () => {
    const timed = { timeoutConfig: { inProgressTimeoutInMinutes: 1 as never } };
    const retried = {
      ...timed,
      jobExecutionsRetryConfig: {
        criteriaList: [{ failureType: 'TIMED_OUT' as const, numberOfRetries: 1 as never }],
      },
    };
    const minute = () => clock.advance(61_000);
    const left = async (jobId: string): Promise<unknown> =>
      ((await device.ask(`${jobId}/get`)).body['execution'] as Body | undefined)?.[
        'approximateSecondsBeforeTimedOut'
      ];

    test('in progress for a minute; a queued job has no timer', async () => {
      await create('one', timed);
      await clock.advance(3_600_000);
      expect((await executionOf('one'))?.status).toBe('QUEUED');
      expect(await left('one')).toBeUndefined();
      await device.ask('start-next');
      await device.news();
      expect(await left('one')).toBeGreaterThan(50);
      // No update makes it longer.
      await clock.advance(40_000);
      await update('one', 'IN_PROGRESS', { stepTimeoutInMinutes: 5 });
      expect(await left('one')).toBeLessThanOrEqual(20);
      await clock.advance(21_000);
      expect((await executionOf('one'))?.status).toBe('TIMED_OUT');
      expect(await device.news()).toEqual([notify({}), notifyNext()]);
    });

    test('a step timer of a minute is reset by each update that names it, and dropped by -1', async () => {
      await create('one');
      await update('one', 'IN_PROGRESS', { stepTimeoutInMinutes: 1 });
      for (let times = 0; times < 3; times += 1) {
        await clock.advance(50_000);
        expect(codeOf(await update('one', 'IN_PROGRESS', { stepTimeoutInMinutes: 1 }))).toBe('accepted');
      }
      await update('one', 'IN_PROGRESS', { stepTimeoutInMinutes: -1 });
      await clock.advance(3_600_000);
      expect((await executionOf('one'))?.status).toBe('IN_PROGRESS');
      await update('one', 'IN_PROGRESS', { stepTimeoutInMinutes: 1 });
      await minute();
      expect((await update('one', 'SUCCEEDED')).body).toMatchObject({
        code: 'InvalidStateTransition',
        executionState: { status: 'TIMED_OUT' },
      });
    });

    test('timed out with a retry: the same job id, execution number 2, version 1', async () => {
      await create('one', retried);
      await device.ask('start-next');
      await minute();
      const again = queued('one', { executionNumber: 2 });
      expect((await device.ask('$next/get')).body).toEqual({
        ...NOTHING,
        execution: whole(again, 'QUEUED'),
      });
      await device.ask('start-next');
      await minute();
      expect((await device.ask('$next/get')).body).toEqual(NOTHING);
      expect(await executionOf('one')).toMatchObject({ status: 'TIMED_OUT', executionNumber: 2 });
    });
  });

  describe('scenario 10: faults', () => {
    const fault = (rule: object) => simulator.faults.add([rule]);
    const kinds = (news: Message[]) => news.map(({ topic }) => topic);

    test('notify is dropped, notify-next comes twice, and both come in the wrong order', async () => {
      fault({ on: 'notification', kind: 'notify', action: 'drop', count: 1 });
      fault({ on: 'notification', kind: 'notify-next', action: 'duplicate', count: 1 });
      await create('one');
      expect(kinds(await device.news())).toEqual(['notify-next', 'notify-next']);
      fault({ on: 'notification', kind: 'notify', action: 'reorder', count: 1 });
      await update('one', 'SUCCEEDED');
      await until('both', () => device.heard.at(-1)?.topic === 'notify');
      expect(kinds(await device.news())).toEqual(['notify-next', 'notify']);
    });

    test('a notification is late', async () => {
      fault({ on: 'notification', kind: 'notify', action: 'delay', delayMs: 30_000, count: 1 });
      await create('one');
      expect(kinds(await device.news())).toEqual(['notify-next']);
      await clock.advance(30_000);
      expect(kinds(await device.news())).toEqual(['notify']);
    });

    test('an answer is dropped, and comes twice', async () => {
      await create('one');
      fault({ on: 'answer', operation: 'update', action: 'drop', count: 1 });
      device.mqtt.publish('$aws/things/t/jobs/one/update', '{"status":"IN_PROGRESS"}', { qos: 1 });
      await until('its effect', async () => (await executionOf('one'))?.versionNumber === 2);
      await device.news();
      const answers = () => device.heard.filter(({ topic }) => topic.startsWith('one/update')).length;
      expect(answers()).toBe(0);
      fault({ on: 'answer', operation: 'update', action: 'duplicate', count: 1 });
      await update('one', 'IN_PROGRESS');
      await device.news();
      expect(answers()).toBe(2);
    });

    test('S24: a timer ends an execution up to a minute later than announced', async () => {
      simulator.switches.set({ lateTimersSeconds: 60 });
      await create('one', { timeoutConfig: { inProgressTimeoutInMinutes: 1 as never } });
      await device.ask('start-next');
      await clock.advance(90_000);
      expect((await executionOf('one'))?.status).toBe('IN_PROGRESS');
      await clock.advance(31_000);
      expect((await executionOf('one'))?.status).toBe('TIMED_OUT');
    });

    test('A5: $next/get does not see yet what notify has named already', async () => {
      simulator.switches.set({ consistencyGapMs: 60_000 });
      await create('one');
      expect(kinds(await device.news())).toEqual(['notify', 'notify-next']);
      expect((await device.ask('$next/get')).body).toEqual(NOTHING);
      await clock.advance(60_000);
      expect((await device.ask('$next/get')).body).toHaveProperty('execution');
    });

    test('E8: throttled, twice', async () => {
      await create('one');
      fault({ on: 'request', operation: 'update', action: 'reject', code: 'RequestThrottled', count: 2 });
      const codes = [];
      for (let times = 0; times < 3; times += 1) codes.push(codeOf(await update('one', 'IN_PROGRESS')));
      expect(codes).toEqual(['RequestThrottled', 'RequestThrottled', 'accepted']);
      expect((await executionOf('one'))?.versionNumber).toBe(2);
    });

    test('the connection ends under a request, and the client is back', async () => {
      await create('one');
      fault({ on: 'answer', operation: 'update', action: 'disconnect', count: 1 });
      const closed = new Promise<void>((resolve) => device.mqtt.once('close', () => resolve()));
      device.mqtt.publish('$aws/things/t/jobs/one/update', '{"status":"IN_PROGRESS"}', { qos: 0 });
      await closed;
      await until('the link', () => device.mqtt.connected);
      expect((await device.ask('one/get')).body).toMatchObject({ execution: { versionNumber: 2 } });
    });

    test.skipIf(broker !== 'embedded')('L25: a session expires, with all that waited in it', async () => {
      const session = { clientId: 'p', clean: false, reconnectPeriod: 0 };
      const before = await connectJobsDevice(simulator, 't', session);
      await before.close();
      await until('its end', () =>
        simulator.trace.since(0).some(({ kind, client }) => kind === 'disconnect' && client === 'p'),
      );
      await create('one');
      await clock.advance(3_601_000);
      const after = await connectJobsDevice(simulator, 't', session);
      expect(await after.news()).toEqual([]);
      await after.close();
    });
  });
});
