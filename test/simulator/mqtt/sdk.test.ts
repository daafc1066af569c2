import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import * as iotApi from '@aws-sdk/client-iot';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Simulator } from '../../../src/simulator/index.ts';
import { startTestCloud } from '../../support/cloud.ts';
import { until } from '../../support/until.ts';
import { CREDENTIALS, groupArn } from '../http/clients.ts';

/**
 * Scenario 1, AWS' own test of its own client, on the broker that speaks MQTT 3.1.1 and on one that speaks 5: a
 * CONTINUOUS job on a group, which the thing joins later. What the operator does, the AWS SDK does.
 */

const CLIENT = new URL('./sdk-client.mjs', import.meta.url).pathname;
const THING = 'sdk-thing';
const GROUP = 'sdk-group';

type Told = Record<string, object | undefined>;

/** What the client says of itself. */
interface Step {
  step: string;
  pending: object;
  heard: { notify: Told[]; next: Told[] };
  started: Told;
  described: Told;
  notifies: number;
  left: object;
  refused: object;
}

describe.each([
  ['3.1.1', 'embedded'],
  ['3.1.1', 'mosquitto'],
  ['5', 'mosquitto'],
] as const)('IotJobsClientv2, MQTT %s, %s', (version, broker) => {
  let simulator: Simulator;
  let iot: iotApi.IoTClient;
  let child: ChildProcess | undefined;
  beforeAll(async () => {
    simulator = await startTestCloud({}, broker);
    const { httpUrl: endpoint } = simulator;
    iot = new iotApi.IoTClient({ endpoint, region: 'us-east-1', credentials: CREDENTIALS, maxAttempts: 1 });
    await iot.send(new iotApi.CreateThingCommand({ thingName: THING }));
    await iot.send(new iotApi.CreateThingGroupCommand({ thingGroupName: GROUP }));
    const job = { jobId: 'job', targets: [groupArn(GROUP)], document: '{"a":1}' };
    await iot.send(new iotApi.CreateJobCommand({ ...job, targetSelection: 'CONTINUOUS' }));
  });
  afterAll(async () => {
    child?.kill('SIGKILL');
    iot.destroy();
    await simulator.close();
  });

  test('A18: scenario 1: empty, queued, started, succeeded, refused', { timeout: 60_000 }, async () => {
    const steps: Step[] = [];
    let errors = '';
    child = fork(CLIENT, [simulator.mqttUrl, version, THING], { silent: true });
    child.stderr?.on('data', (chunk: Buffer) => {
      errors += chunk.toString();
    });
    child.on('message', (step) => steps.push(step as Step));
    const exited = once(child, 'exit');
    const step = async (name: string) => {
      const found = await until(`step ${name}`, () => {
        if (child?.exitCode !== null) throw new Error(`the client has ended: ${errors.slice(-2000)}`);
        return steps.find((one) => one.step === name);
      });
      return found;
    };

    expect((await step('empty')).pending).toMatchObject({ inProgressJobs: [], queuedJobs: [] });
    await iot.send(new iotApi.AddThingToThingGroupCommand({ thingName: THING, thingGroupName: GROUP }));
    child.send('go on');

    const { heard } = await step('queued');
    expect(heard.notify[0]?.['jobs']).toMatchObject({ QUEUED: [{ jobId: 'job', versionNumber: 1 }] });
    expect(heard.next[0]?.['execution']).toMatchObject({
      jobId: 'job',
      status: 'QUEUED',
      jobDocument: { a: 1 },
    });
    child.send('go on');

    const { started, described, notifies } = await step('started');
    expect(started['execution']).toMatchObject({ jobId: 'job', status: 'IN_PROGRESS', versionNumber: 2 });
    expect(described['execution']).toMatchObject({ status: 'IN_PROGRESS', jobDocument: { a: 1 } });
    // N8
    expect(notifies).toBe(1);
    child.send('go on');

    const done = await step('done');
    expect(done.heard.notify[1]?.['jobs']).toEqual({});
    expect(done.heard.next[1]).not.toHaveProperty('execution');
    expect(typeof done.heard.next[1]?.['timestamp']).toBe('number');
    expect(done.left).toMatchObject({ inProgressJobs: [], queuedJobs: [] });
    expect(done.refused).toMatchObject({
      code: 'InvalidStateTransition',
      executionState: { status: 'SUCCEEDED', versionNumber: 3 },
    });
    child.send('go on');
    expect(await exited).toEqual([0, null]);
    const ours = { jobId: 'job', thingName: THING };
    const { execution } = await iot.send(new iotApi.DescribeJobExecutionCommand(ours));
    expect(execution?.status).toBe('SUCCEEDED');
    // CONTINUOUS: it waits for further things, and can only be deleted by force.
    const { job } = await iot.send(new iotApi.DescribeJobCommand({ jobId: 'job' }));
    expect(job).toMatchObject({ status: 'IN_PROGRESS', targetSelection: 'CONTINUOUS' });
    await iot.send(new iotApi.DeleteJobCommand({ jobId: 'job', force: true }));
    await until('the job to be gone', () =>
      iot.send(new iotApi.DescribeJobCommand({ jobId: 'job' })).then(
        () => false,
        (error: unknown) => error instanceof iotApi.ResourceNotFoundException,
      ),
    );
  });
});
