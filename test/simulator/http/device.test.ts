import diagnostics from 'node:diagnostics_channel';
import * as iotApi from '@aws-sdk/client-iot';
import * as dataApi from '@aws-sdk/client-iot-data-plane';
import * as jobsApi from '@aws-sdk/client-iot-jobs-data-plane';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { connected, type RawClient } from '../../support/raw-mqtt.ts';
import { type Bench, CREDENTIALS, refusal, startBench, thingArn } from './clients.ts';

/** What a device asks over HTTPS by the SDK, and what of it is heard over MQTT. */

let bench: Bench;
const listeners: RawClient[] = [];
beforeEach(async () => {
  bench = await startBench();
  await bench.iot.send(new iotApi.CreateThingCommand({ thingName: 't' }));
});
afterEach(async () => {
  for (const one of listeners.splice(0)) one.close();
  await bench.close();
});

const create = (jobId: string, more: Partial<iotApi.CreateJobCommandInput> = {}) =>
  bench.iot.send(
    new iotApi.CreateJobCommand({ jobId, targets: [thingArn('t')], document: '{"a":1}', ...more }),
  );
const update = (jobId: string, more: Partial<jobsApi.UpdateJobExecutionCommandInput> = {}) =>
  bench.jobsData.send(
    new jobsApi.UpdateJobExecutionCommand({ jobId, thingName: 't', status: 'IN_PROGRESS', ...more }),
  );
async function listen(...topics: string[]): Promise<RawClient> {
  const client = await connected(bench.simulator.mqttUrl, { clientId: `listener-${listeners.length}` });
  listeners.push(client);
  client.send({
    cmd: 'subscribe',
    messageId: 1,
    subscriptions: topics.map((topic) => ({ topic, qos: 1 as const })),
  });
  await client.next('suback');
  return client;
}
const heard = async (client: RawClient): Promise<{ topic: string; body: Record<string, unknown> }> => {
  const { topic, payload } = await client.next('publish');
  return { topic, body: JSON.parse(payload.toString()) as Record<string, unknown> };
};

describe('jobs', () => {
  test('D4: a stale version is named as the switch says, and both are classes of the SDK or its names', async () => {
    await create('one');
    const stale = () => refusal(update('one', { expectedVersion: 7 }));
    expect(await stale()).toBeInstanceOf(jobsApi.InvalidStateTransitionException);
    bench.simulator.switches.set({ httpStaleVersionError: 'VersionConflictException' });
    expect(await stale()).toMatchObject({
      name: 'VersionConflictException',
      $metadata: { httpStatusCode: 409 },
    });
    // C13: the control plane has its own name, whatever the switch.
    bench.simulator.switches.set({ httpStaleVersionError: 'InvalidStateTransitionException' });
    const cancel = new iotApi.CancelJobExecutionCommand({ jobId: 'one', thingName: 't', expectedVersion: 7 });
    expect(await refusal(bench.iot.send(cancel))).toBeInstanceOf(iotApi.VersionConflictException);
  });

  test('D2 P4: members of a described execution, whole seconds, the document as text', async () => {
    await create('one');
    await update('one', { statusDetails: { at: 'start' }, stepTimeoutInMinutes: 5 });
    const asked = new jobsApi.DescribeJobExecutionCommand({ jobId: '$next', thingName: 't' });
    const { execution, $metadata: _, ...rest } = await bench.jobsData.send(asked);
    expect(rest).toEqual({});
    expect(execution).toEqual({
      jobId: 'one',
      thingName: 't',
      status: 'IN_PROGRESS',
      statusDetails: { at: 'start' },
      queuedAt: expect.any(Number) as number,
      startedAt: expect.any(Number) as number,
      lastUpdatedAt: expect.any(Number) as number,
      versionNumber: 2,
      executionNumber: 1,
      approximateSecondsBeforeTimedOut: expect.any(Number) as number,
      jobDocument: '{"a":1}',
    });
    expect([execution?.queuedAt, execution?.startedAt].every(Number.isInteger)).toBe(true);
    expect(Math.abs((execution?.queuedAt ?? 0) - Date.now() / 1000)).toBeLessThan(3600);
  });

  test('T9: a job of a namespace is not to be found', async () => {
    await create('one', { namespaceId: 'NS' });
    expect(await refusal(update('one'))).toBeInstanceOf(jobsApi.ResourceNotFoundException);
    const describe = new jobsApi.DescribeJobExecutionCommand({ jobId: 'one', thingName: 't' });
    expect(await refusal(bench.jobsData.send(describe))).toBeInstanceOf(jobsApi.ResourceNotFoundException);
  });

  test('P25 L9: a step timer that is none is an invalid request', async () => {
    await create('one');
    for (const stepTimeoutInMinutes of [0, -2, 10_081])
      expect(await refusal(update('one', { stepTimeoutInMinutes }))).toBeInstanceOf(
        jobsApi.InvalidRequestException,
      );
    await update('one', { stepTimeoutInMinutes: -1 });
  });

  test('N20: notify and notify-next leave when the HTTP answer has left', async () => {
    await create('one');
    await listen('$aws/things/t/jobs/notify', '$aws/things/t/jobs/notify-next');
    const left: string[] = [];
    // What leaves the simulator: two sockets of a client say nothing of the order.
    const unsubscribe = bench.simulator.trace.subscribe((entry) => {
      if (entry.kind === 'message' && entry.direction === 'out')
        left.push(entry.topic.split('/').at(-1) ?? '');
    });
    const answered = (): void => void left.push('answer');
    diagnostics.subscribe('http.server.response.finish', answered);
    try {
      await update('one', { status: 'SUCCEEDED' });
      await expect.poll(() => left.length).toBe(3);
      expect(left).toEqual(['answer', 'notify', 'notify-next']);
    } finally {
      diagnostics.unsubscribe('http.server.response.finish', answered);
      unsubscribe();
    }
  });

  test('N20: a call that is refused holds nothing back', async () => {
    const client = await listen('$aws/things/t/jobs/notify');
    await refusal(update('nothing'));
    await create('one');
    expect((await heard(client)).body).toMatchObject({ jobs: { QUEUED: [{ jobId: 'one' }] } });
  });

  test('N23: a device without MQTT learns of a cancel by asking only', async () => {
    await create('one');
    await update('one');
    await bench.iot.send(new iotApi.CancelJobExecutionCommand({ jobId: 'one', thingName: 't', force: true }));
    const pending = new jobsApi.GetPendingJobExecutionsCommand({ thingName: 't' });
    expect(await bench.jobsData.send(pending)).toMatchObject({ inProgressJobs: [], queuedJobs: [] });
    const describe = new jobsApi.DescribeJobExecutionCommand({ jobId: 'one', thingName: 't' });
    expect(await refusal(bench.jobsData.send(describe))).toBeInstanceOf(jobsApi.TerminalStateException);
    expect(await refusal(update('one'))).toBeInstanceOf(jobsApi.InvalidStateTransitionException);
  });

  test('commands are refused with a reason', async () => {
    const command = new jobsApi.StartCommandExecutionCommand({
      targetArn: thingArn('t'),
      commandArn: 'arn:aws:iot:us-east-1:123456789012:command/x',
    });
    const error = await refusal(bench.jobsData.send(command));
    expect(error).toBeInstanceOf(jobsApi.ValidationException);
    expect(error.message).toContain('not simulated');
  });
});

describe('shadows', () => {
  const shadow = '$aws/things/t/shadow/name/evenkeel';
  const put = (payload: object, shadowName = 'evenkeel') =>
    bench.iotData.send(
      new dataApi.UpdateThingShadowCommand({
        thingName: 't',
        shadowName,
        payload: Buffer.from(JSON.stringify(payload)),
      }),
    );

  test('an update over HTTPS is told as accepted and as documents, with both versions', async () => {
    const client = await listen(`${shadow}/update/accepted`, `${shadow}/update/documents`);
    await put({ state: { reported: { a: 1 } }, clientToken: 'mine' });
    expect(await heard(client)).toMatchObject({
      topic: `${shadow}/update/accepted`,
      body: { state: { reported: { a: 1 } }, version: 1, clientToken: 'mine' },
    });
    const first = await heard(client);
    expect(first.topic).toBe(`${shadow}/update/documents`);
    expect(first.body).not.toHaveProperty('previous');
    await put({ state: { reported: { b: 2 } } });
    await heard(client);
    expect((await heard(client)).body).toMatchObject({
      previous: { state: { reported: { a: 1 } }, version: 1 },
      current: { state: { reported: { a: 1, b: 2 } }, version: 2 },
    });
  });

  test('a refused update is told to nobody; a deletion is', async () => {
    const client = await listen(`${shadow}/#`);
    await put({ state: { reported: {} } });
    await heard(client);
    await heard(client);
    await refusal(put({ state: {}, version: 9 }));
    await bench.iotData.send(
      new dataApi.DeleteThingShadowCommand({ thingName: 't', shadowName: 'evenkeel' }),
    );
    expect(await heard(client)).toMatchObject({ topic: `${shadow}/delete/accepted`, body: { version: 1 } });
  });

  test('named shadows are listed by the page, without the classic one', async () => {
    for (const name of ['a', 'b', 'c']) await put({ state: { reported: {} } }, name);
    await bench.iotData.send(
      new dataApi.UpdateThingShadowCommand({ thingName: 't', payload: Buffer.from('{"state":{}}') }),
    );
    const page = async (nextToken?: string) =>
      await bench.iotData.send(
        new dataApi.ListNamedShadowsForThingCommand({ thingName: 't', pageSize: 2, nextToken }),
      );
    const first = await page();
    expect(first.results).toEqual(['a', 'b']);
    const second = await page(first.nextToken);
    expect([second.results, second.nextToken]).toEqual([['c'], undefined]);
  });
});

describe('Publish', () => {
  test('bytes go to whoever has subscribed, also below a percent-encoded topic', async () => {
    const client = await listen('my/topic with space');
    const payload = Buffer.from([0, 255, 10]);
    await bench.iotData.send(new dataApi.PublishCommand({ topic: 'my/topic with space', qos: 1, payload }));
    const got = await client.next('publish');
    expect([Buffer.from(got.payload as Buffer), got.qos]).toEqual([payload, 1]);
  });

  test('L18 L19: what is too long is refused', async () => {
    const send = (topic: string, bytes = 1) =>
      bench.iotData.send(new dataApi.PublishCommand({ topic, payload: Buffer.alloc(bytes) }));
    await send('x', 128 * 1024);
    expect(await refusal(send('x', 128 * 1024 + 1))).toBeInstanceOf(dataApi.InvalidRequestException);
    expect(await refusal(send('x'.repeat(257)))).toBeInstanceOf(dataApi.InvalidRequestException);
    expect(await refusal(send('x/+'))).toBeInstanceOf(dataApi.InvalidRequestException);
  });
});

describe('with signatures checked', () => {
  test('the console page may act without one; other pages and scripts may not', async () => {
    await bench.close();
    bench = await startBench({ checkSignatures: [CREDENTIALS] });
    const { httpUrl } = bench.simulator;
    const { host } = new URL(httpUrl);
    const post = async (headers: Record<string, string>) =>
      (
        await fetch(`${httpUrl}/things/mine`, {
          method: 'POST',
          headers: { 'content-type': 'application/json', ...headers },
          body: '{}',
        })
      ).status;
    expect(await post({})).toBe(403);
    expect(await post({ origin: 'http://other.example' })).toBe(403);
    expect(bench.simulator.service.things()).toEqual([]);
    expect(await post({ origin: `http://${host}`, 'sec-fetch-site': 'same-origin' })).toBe(200);
    // A page that does sign is held to it.
    const signed = { 'sec-fetch-site': 'same-origin', authorization: 'AWS4-HMAC-SHA256 Credential=x' };
    expect(await post(signed)).toBe(403);
  });
});
