import {
  CancelJobExecutionCommand,
  CreateJobCommand,
  CreateThingCommand,
  DescribeJobCommand,
  DescribeJobExecutionCommand,
  IoTClient,
  ListJobExecutionsForThingCommand,
} from '@aws-sdk/client-iot';
import { connectAsync, type MqttClient } from 'mqtt';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../src/host/clock.ts';
import { type Simulator, startSimulator } from '../../src/simulator/index.ts';
import { until } from '../support/until.ts';

/** The rules of AWS IoT Jobs, asked of the simulator by a real MQTT client and the unmodified AWS SDK. */

const THING = 'thing-1';
const PREFIX = `$aws/things/${THING}/jobs/`;
const TARGET = `arn:aws:iot:us-east-1:123456789012:thing/${THING}`;

interface Heard {
  topic: string;
  body: Record<string, unknown>;
}

let simulator: Simulator;
let iot: IoTClient;
let client: MqttClient;
let heard: Heard[];

beforeEach(async () => {
  simulator = await startSimulator({ clock: systemClock });
  iot = new IoTClient({
    endpoint: simulator.httpUrl,
    region: 'us-east-1',
    credentials: { accessKeyId: 'a', secretAccessKey: 'b' },
  });
  await iot.send(new CreateThingCommand({ thingName: THING }));
  client = await connectAsync(simulator.mqttUrl);
  heard = [];
  client.on('message', (topic, payload) => {
    heard.push({ topic, body: JSON.parse(payload.toString()) as Record<string, unknown> });
  });
  await client.subscribeAsync([`${PREFIX}notify`, `${PREFIX}notify-next`], { qos: 1 });
});
afterEach(async () => {
  await client.endAsync(true);
  iot.destroy();
  await simulator.close();
});

const createJob = (jobId: string) =>
  iot.send(new CreateJobCommand({ jobId, targets: [TARGET], document: '{"a":1}' }));

let tokens = 0;
async function ask(topic: string, body: object = {}): Promise<Heard> {
  tokens += 1;
  const clientToken = `token-${tokens}`;
  await client.publishAsync(`${PREFIX}${topic}`, JSON.stringify({ ...body, clientToken }), { qos: 1 });
  return await until('an answer', () => heard.find((one) => one.body['clientToken'] === clientToken));
}

const update = (jobId: string, body: object) => ask(`${jobId}/update`, body);
const notified = (kind: string): Heard[] => heard.filter(({ topic }) => topic === `${PREFIX}${kind}`);

async function cancel(
  jobId: string,
  more: { force?: boolean; expectedVersion?: number } = {},
): Promise<string> {
  return await iot.send(new CancelJobExecutionCommand({ jobId, thingName: THING, ...more })).then(
    () => 'accepted',
    (error: unknown) => (error as Error).name,
  );
}

describe('the device plane', () => {
  test('N6, N7, S11: the first job is notified as next, the second only as pending', async () => {
    await createJob('one');
    await until('notify-next', () => notified('notify-next').length === 1);
    expect(notified('notify-next')[0]?.body).toMatchObject({
      execution: {
        jobId: 'one',
        status: 'QUEUED',
        versionNumber: 1,
        executionNumber: 1,
        jobDocument: { a: 1 },
      },
    });
    await createJob('two');
    await until('notify', () => notified('notify').length === 2);
    expect(notified('notify-next').length).toBe(1);
  });

  test('T2, P17: $next is answered on its own topic, also when nothing is pending', async () => {
    const none = await ask('$next/get');
    expect(none.topic).toBe(`${PREFIX}$next/get/accepted`);
    expect(none.body).not.toHaveProperty('execution');
  });

  test('T4: the requester alone hears the answer, once, although nobody has subscribed to it', async () => {
    const other = await connectAsync(simulator.mqttUrl);
    const overheard: string[] = [];
    other.on('message', (topic) => overheard.push(topic));
    await other.subscribeAsync(`${PREFIX}get/+`);
    await client.subscribeAsync(`${PREFIX}get/+`);
    const { topic } = await ask('get');
    await ask('get');
    expect(heard.filter((one) => one.topic === topic).length).toBe(2);
    expect(overheard).toEqual([]);
    await other.endAsync(true);
  });

  test('P23, P24, E6: versions grow by one, and a stale one is refused with the state', async () => {
    await createJob('one');
    const first = await update('one', {
      status: 'IN_PROGRESS',
      expectedVersion: '1',
      includeJobExecutionState: true,
    });
    expect(first.body).toMatchObject({ executionState: { status: 'IN_PROGRESS', versionNumber: 2 } });
    const stale = await update('one', { status: 'SUCCEEDED', expectedVersion: 1 });
    expect(stale.topic).toBe(`${PREFIX}one/update/rejected`);
    expect(stale.body).toMatchObject({ code: 'VersionMismatch', executionState: { versionNumber: 2 } });
  });

  test('N12, N13: the end of the front brings the next one, and then none', async () => {
    await createJob('one');
    await createJob('two');
    await update('one', { status: 'SUCCEEDED' });
    await until('the next', () => notified('notify-next').length === 2);
    expect(notified('notify-next')[1]?.body).toMatchObject({ execution: { jobId: 'two' } });
    await update('two', { status: 'FAILED' });
    await until('none', () => notified('notify-next').length === 3);
    expect(notified('notify-next')[2]?.body).not.toHaveProperty('execution');
    expect(notified('notify').at(-1)?.body).toMatchObject({ jobs: {} });
  });

  test('E2, E3, E5, P26: what is wrong with a request is said by its code', async () => {
    await createJob('one');
    expect((await update('one', { status: 'CANCELED' })).body).toMatchObject({ code: 'InvalidRequest' });
    expect((await update('none', { status: 'FAILED' })).body).toMatchObject({ code: 'ResourceNotFound' });
    const details = { bad: 'line\nbreak' };
    expect((await update('one', { status: 'FAILED', statusDetails: details })).body).toMatchObject({
      code: 'InvalidRequest',
    });
    await client.publishAsync(`${PREFIX}one/update`, 'no json', { qos: 1 });
    await until('a refusal', () => heard.find(({ body }) => body['code'] === 'InvalidJson'));
  });

  test('S17: a job that may be retried comes again under the next execution number', async () => {
    simulator.service.createJob({
      jobId: 'again',
      targets: [TARGET],
      document: '{}',
      jobExecutionsRetryConfig: { criteriaList: [{ failureType: 'FAILED', numberOfRetries: 1 }] },
    });
    await update('again', { status: 'FAILED' });
    const { body } = await ask('$next/get');
    expect(body).toMatchObject({ execution: { jobId: 'again', executionNumber: 2, versionNumber: 1 } });
    await update('again', { status: 'FAILED' });
    expect((await ask('$next/get')).body).not.toHaveProperty('execution');
  });
});

describe('CancelJobExecution', () => {
  test('C12: in progress needs force, and what has ended cannot be cancelled at all', async () => {
    await createJob('one');
    await update('one', { status: 'IN_PROGRESS' });
    expect(await cancel('one')).toBe('InvalidStateTransitionException');
    expect(await cancel('one', { force: true })).toBe('accepted');
    expect(await cancel('one', { force: true })).toBe('InvalidStateTransitionException');
  });

  test('C13: a stale version is a conflict', async () => {
    await createJob('one');
    await update('one', { status: 'IN_PROGRESS' });
    expect(await cancel('one', { force: true, expectedVersion: 1 })).toBe('VersionConflictException');
    expect(await cancel('one', { force: true, expectedVersion: 2 })).toBe('accepted');
  });

  test('S6, E9, P19, N16: the device is refused from then on, and told only that something else is next', async () => {
    await createJob('one');
    await update('one', { status: 'IN_PROGRESS' });
    await cancel('one', { force: true });
    await until('notify-next', () => notified('notify-next').length === 2);
    const refused = await update('one', { status: 'SUCCEEDED', expectedVersion: 2 });
    expect(refused.body).toMatchObject({
      code: 'InvalidStateTransition',
      executionState: { status: 'CANCELED' },
    });
    expect((await ask('one/get')).body).toMatchObject({ code: 'TerminalStateReached' });
  });

  test('C17, C23: the control plane goes on to show it', async () => {
    await createJob('one');
    await update('one', { status: 'IN_PROGRESS' });
    await iot.send(
      new CancelJobExecutionCommand({
        jobId: 'one',
        thingName: THING,
        force: true,
        statusDetails: { why: 'x' },
      }),
    );
    const { execution } = await iot.send(new DescribeJobExecutionCommand({ jobId: 'one', thingName: THING }));
    expect(execution).toMatchObject({
      status: 'CANCELED',
      forceCanceled: true,
      versionNumber: 3,
      statusDetails: { detailsMap: { why: 'x' } },
    });
    expect(execution?.queuedAt).toBeInstanceOf(Date);
    const { job } = await iot.send(new DescribeJobCommand({ jobId: 'one' }));
    expect(job).toMatchObject({ status: 'COMPLETED', jobProcessDetails: { numberOfCanceledThings: 1 } });
    const { executionSummaries } = await iot.send(new ListJobExecutionsForThingCommand({ thingName: THING }));
    expect(executionSummaries).toMatchObject([{ jobId: 'one', jobExecutionSummary: { status: 'CANCELED' } }]);
  });

  test('unknown things and jobs are errors that the SDK knows by name', async () => {
    expect(await cancel('none', { force: true })).toBe('ResourceNotFoundException');
    await createJob('one');
    await expect(createJob('one')).rejects.toMatchObject({ name: 'ResourceAlreadyExistsException' });
  });
});
