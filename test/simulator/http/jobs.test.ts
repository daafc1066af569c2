import * as iotApi from '@aws-sdk/client-iot';
import * as jobsApi from '@aws-sdk/client-iot-jobs-data-plane';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Bench, groupArn, refusal, startBench, thingArn } from './clients.ts';

/** The life of jobs, asked for by the unmodified AWS SDK for JavaScript. */

const THING = 'thing:1';

let bench: Bench;
beforeEach(async () => {
  bench = await startBench();
  await bench.iot.send(new iotApi.CreateThingCommand({ thingName: THING }));
});
afterEach(async () => {
  await bench.close();
});

const create = (jobId: string, more: Partial<iotApi.CreateJobCommandInput> = {}) =>
  bench.iot.send(
    new iotApi.CreateJobCommand({ jobId, targets: [thingArn(THING)], document: '{"a":1}', ...more }),
  );
const report = (jobId: string, status: jobsApi.JobExecutionStatus) =>
  bench.jobsData.send(new jobsApi.UpdateJobExecutionCommand({ jobId, thingName: THING, status }));
const start = (jobId: string) => report(jobId, 'IN_PROGRESS');
const cancel = (jobId: string, more: Partial<iotApi.CancelJobExecutionCommandInput> = {}) =>
  bench.iot.send(new iotApi.CancelJobExecutionCommand({ jobId, thingName: THING, ...more }));
const describeExecution = async (jobId: string) =>
  (await bench.iot.send(new iotApi.DescribeJobExecutionCommand({ jobId, thingName: THING }))).execution;
const describeJob = async (jobId: string) =>
  (await bench.iot.send(new iotApi.DescribeJobCommand({ jobId }))).job;

describe('CancelJobExecution', () => {
  test('C11, C14, C17: force is in the query, details in the body, and both are seen afterwards', async () => {
    await create('one');
    await start('one');
    await cancel('one', { force: true, expectedVersion: 2, statusDetails: { why: 'x' } });
    expect(await describeExecution('one')).toMatchObject({
      status: 'CANCELED',
      forceCanceled: true,
      versionNumber: 3,
      statusDetails: { detailsMap: { why: 'x' } },
      thingArn: thingArn(THING),
    });
    expect(await describeJob('one')).toMatchObject({
      status: 'COMPLETED',
      jobProcessDetails: { numberOfCanceledThings: 1 },
    });
  });

  test('C12: what is queued needs no force and is not called forced; what has ended cannot be cancelled', async () => {
    await create('one');
    await cancel('one');
    expect(await describeExecution('one')).not.toHaveProperty('forceCanceled');
    for (const force of [false, true]) {
      expect(await refusal(cancel('one', { force }))).toBeInstanceOf(iotApi.InvalidStateTransitionException);
    }
  });

  test('C12: in progress needs force', async () => {
    await create('one');
    await start('one');
    const refused = await refusal(cancel('one'));
    expect(refused).toBeInstanceOf(iotApi.InvalidStateTransitionException);
    expect(refused).toMatchObject({ $metadata: { httpStatusCode: 409 } });
    expect((await describeExecution('one'))?.status).toBe('IN_PROGRESS');
    await cancel('one', { force: true });
  });

  test('C13: a stale version is a conflict, and changes nothing', async () => {
    await create('one');
    await start('one');
    const refused = await refusal(cancel('one', { force: true, expectedVersion: 1 }));
    expect(refused).toBeInstanceOf(iotApi.VersionConflictException);
    expect(refused).toMatchObject({ $metadata: { httpStatusCode: 409 } });
    expect((await describeExecution('one'))?.status).toBe('IN_PROGRESS');
  });

  test('C13: no such execution', async () => {
    const refused = await refusal(cancel('none', { force: true }));
    expect(refused).toBeInstanceOf(iotApi.ResourceNotFoundException);
    expect(refused).toMatchObject({ $metadata: { httpStatusCode: 404 } });
  });

  test('C13, C14, L5, L7: details that are too many, too long or no text are an invalid request', async () => {
    await create('one');
    const many = Object.fromEntries(Array.from({ length: 11 }, (_, index) => [`k${index}`, 'v']));
    for (const statusDetails of [many, { k: 'v'.repeat(1025) }, { k: 'a\nb' }, { 'k k': 'v' }, { k: '' }]) {
      const refused = await refusal(cancel('one', { statusDetails }));
      expect(refused, JSON.stringify(statusDetails)).toBeInstanceOf(iotApi.InvalidRequestException);
      expect(refused.message).toContain('statusDetails');
    }
    expect((await describeExecution('one'))?.status).toBe('QUEUED');
  });

  test('C15: it is the latest attempt that is cancelled', async () => {
    const criteriaList = [{ failureType: 'FAILED' as const, numberOfRetries: 1 }];
    await create('one', { jobExecutionsRetryConfig: { criteriaList } });
    await report('one', 'FAILED');
    await cancel('one');
    expect(await describeExecution('one')).toMatchObject({ status: 'CANCELED', executionNumber: 2 });
    const first = new iotApi.DescribeJobExecutionCommand({
      jobId: 'one',
      thingName: THING,
      executionNumber: 1,
    });
    expect((await bench.iot.send(first)).execution?.status).toBe('FAILED');
  });
});

describe('CreateJob', () => {
  test('every member comes back from DescribeJob', async () => {
    const configs = {
      description: 'what it is for',
      presignedUrlConfig: { roleArn: 'arn:aws:iam::123456789012:role/download', expiresInSec: 600n as never },
      jobExecutionsRolloutConfig: { maximumPerMinute: 10 },
      abortConfig: {
        criteriaList: [
          {
            failureType: 'FAILED' as const,
            action: 'CANCEL' as const,
            thresholdPercentage: 12.5,
            minNumberOfExecutedThings: 1,
          },
        ],
      },
      timeoutConfig: { inProgressTimeoutInMinutes: 7 },
      jobExecutionsRetryConfig: { criteriaList: [{ failureType: 'ALL' as const, numberOfRetries: 3 }] },
      targetSelection: 'CONTINUOUS' as const,
    };
    configs.presignedUrlConfig.expiresInSec = 600 as never;
    const { jobArn, jobId, description } = await create('one', {
      ...configs,
      tags: [{ Key: 'who', Value: 'me' }],
    });
    expect({ jobArn, jobId, description }).toEqual({
      jobArn: 'arn:aws:iot:us-east-1:123456789012:job/one',
      jobId: 'one',
      description: 'what it is for',
    });
    expect(await describeJob('one')).toMatchObject({ ...configs, targets: [thingArn(THING)] });
    const listed = await bench.iot.send(new iotApi.ListTagsForResourceCommand({ resourceArn: jobArn }));
    expect(listed.tags).toEqual([{ Key: 'who', Value: 'me' }]);
  });

  test('what is not set comes back as three empty objects', async () => {
    await create('one');
    const job = await describeJob('one');
    expect(job).toMatchObject({
      presignedUrlConfig: {},
      jobExecutionsRolloutConfig: {},
      timeoutConfig: {},
      targetSelection: 'SNAPSHOT',
    });
    expect(job).not.toHaveProperty('abortConfig');
  });

  test('C3: an id that is taken is a conflict that names the job', async () => {
    await create('one');
    const refused = await refusal(create('one'));
    expect(refused).toBeInstanceOf(iotApi.ResourceAlreadyExistsException);
    expect(refused).toMatchObject({
      resourceId: 'one',
      resourceArn: 'arn:aws:iot:us-east-1:123456789012:job/one',
      $metadata: { httpStatusCode: 409 },
    });
  });

  test('a target that there is not, and a document that is no JSON', async () => {
    expect(await refusal(create('one', { targets: [thingArn('nobody')] }))).toBeInstanceOf(
      iotApi.ResourceNotFoundException,
    );
    expect(await refusal(create('one', { document: '{' }))).toBeInstanceOf(iotApi.InvalidRequestException);
    expect(await refusal(create('one', { document: undefined }))).toBeInstanceOf(
      iotApi.InvalidRequestException,
    );
  });

  test('C4: stamps are seconds with a fraction, which the SDK reads as this moment', async () => {
    const before = Date.now();
    await create('one');
    const { createdAt } = (await describeJob('one')) ?? {};
    expect(Math.abs((createdAt?.getTime() ?? 0) - before)).toBeLessThan(60_000);
    const raw = (await (await fetch(`${bench.simulator.httpUrl}/jobs/one`)).json()) as {
      job: { createdAt: number };
    };
    expect(raw.job.createdAt).toBeGreaterThan(1e9);
    expect(raw.job.createdAt).toBeLessThan(1e10);
  });
});

describe('jobs', () => {
  test('C19: CancelJob ends what is queued, and what is in progress only with force', async () => {
    await bench.iot.send(new iotApi.CreateThingCommand({ thingName: 'other' }));
    await create('one', { targets: [thingArn(THING), thingArn('other')] });
    await start('one');
    const cancelJob = (force: boolean) =>
      bench.iot.send(
        new iotApi.CancelJobCommand({ jobId: 'one', force, reasonCode: 'WHY_1', comment: 'so' }),
      );
    await cancelJob(false);
    expect((await describeExecution('one'))?.status).toBe('IN_PROGRESS');
    expect(await describeJob('one')).toMatchObject({
      status: 'CANCELED',
      reasonCode: 'WHY_1',
      comment: 'so',
      jobProcessDetails: { numberOfCanceledThings: 1, numberOfInProgressThings: 1 },
    });
    await cancelJob(true);
    expect(await describeExecution('one')).toMatchObject({ status: 'CANCELED', forceCanceled: true });
    const badReason = bench.iot.send(new iotApi.CancelJobCommand({ jobId: 'one', reasonCode: 'lower' }));
    expect((await refusal(badReason)).message).toContain("Value 'lower' at 'reasonCode'");
  });

  test('C20: DeleteJob needs force while the job is in progress; afterwards there is nothing', async () => {
    await create('one');
    const remove = (force: boolean) => bench.iot.send(new iotApi.DeleteJobCommand({ jobId: 'one', force }));
    expect(await refusal(remove(false))).toBeInstanceOf(iotApi.InvalidStateTransitionException);
    await remove(true);
    expect(await refusal(describeJob('one'))).toBeInstanceOf(iotApi.ResourceNotFoundException);
    expect(await refusal(describeExecution('one'))).toBeInstanceOf(iotApi.ResourceNotFoundException);
  });

  test('C21: DeleteJobExecution needs force while it is in progress', async () => {
    await create('one');
    await start('one');
    const remove = (force: boolean, executionNumber = 1n) =>
      bench.iot.send(
        new iotApi.DeleteJobExecutionCommand({
          jobId: 'one',
          thingName: THING,
          executionNumber: Number(executionNumber),
          force,
        }),
      );
    expect(await refusal(remove(false))).toBeInstanceOf(iotApi.InvalidStateTransitionException);
    expect(await refusal(remove(true, 2n))).toBeInstanceOf(iotApi.ResourceNotFoundException);
    await remove(true);
    expect(await refusal(describeExecution('one'))).toBeInstanceOf(iotApi.ResourceNotFoundException);
  });

  test('UpdateJob changes what may be changed', async () => {
    await create('one');
    await bench.iot.send(
      new iotApi.UpdateJobCommand({
        jobId: 'one',
        description: 'new',
        timeoutConfig: { inProgressTimeoutInMinutes: 9 },
      }),
    );
    expect(await describeJob('one')).toMatchObject({
      description: 'new',
      timeoutConfig: { inProgressTimeoutInMinutes: 9 },
    });
  });

  test('C23, C24: what has ended is described and listed as ever', async () => {
    await create('one');
    await report('one', 'SUCCEEDED');
    const execution = await describeExecution('one');
    expect(execution).toMatchObject({ status: 'SUCCEEDED', statusDetails: {}, executionNumber: 1 });
    expect(execution).not.toHaveProperty('thingName');
    const ofJob = await bench.iot.send(new iotApi.ListJobExecutionsForJobCommand({ jobId: 'one' }));
    expect(ofJob.executionSummaries).toMatchObject([
      { thingArn: thingArn(THING), jobExecutionSummary: { status: 'SUCCEEDED', retryAttempt: 0 } },
    ]);
    const ofThing = await bench.iot.send(new iotApi.ListJobExecutionsForThingCommand({ thingName: THING }));
    expect(ofThing.executionSummaries).toMatchObject([
      { jobId: 'one', jobExecutionSummary: { status: 'SUCCEEDED' } },
    ]);
  });

  test('C25: lists are filtered and paged, and a page ends without a token', async () => {
    for (const jobId of ['a', 'b', 'c', 'd', 'e']) await create(jobId);
    await cancel('b');
    const pages: string[][] = [];
    for await (const page of iotApi.paginateListJobs({ client: bench.iot, pageSize: 2 }, {}))
      pages.push((page.jobs ?? []).map(({ jobId }) => jobId ?? ''));
    expect(pages).toEqual([['a', 'b'], ['c', 'd'], ['e']]);
    const completed = await bench.iot.send(new iotApi.ListJobsCommand({ status: 'COMPLETED' }));
    expect(completed.jobs?.map(({ jobId }) => jobId)).toEqual(['b']);
    const queued: string[] = [];
    const asked = { thingName: THING, status: 'QUEUED' as const };
    for await (const page of iotApi.paginateListJobExecutionsForThing(
      { client: bench.iot, pageSize: 3 },
      asked,
    ))
      queued.push(...(page.executionSummaries ?? []).map(({ jobId }) => jobId ?? ''));
    expect(queued).toEqual(['a', 'c', 'd', 'e']);
  });

  test('C25: a token of another question, and an unknown value of an enum, are invalid', async () => {
    for (const jobId of ['a', 'b', 'c']) await create(jobId);
    const { nextToken } = await bench.iot.send(new iotApi.ListJobsCommand({ maxResults: 1 }));
    const other = bench.iot.send(new iotApi.ListJobsCommand({ nextToken, status: 'IN_PROGRESS' }));
    expect(await refusal(other)).toBeInstanceOf(iotApi.InvalidRequestException);
    const unknown = bench.iot.send(new iotApi.ListJobsCommand({ status: 'DONE' as never }));
    expect((await refusal(unknown)).message).toMatch(/'DONE' at 'status' .*enum value set: \[IN_PROGRESS, /);
  });

  test('C25: a page goes on where the one before ended, also when its last entry is gone by then', async () => {
    for (const jobId of ['a', 'b', 'c', 'd']) await create(jobId);
    const first = await bench.iot.send(new iotApi.ListJobsCommand({ maxResults: 2 }));
    await bench.iot.send(new iotApi.DeleteJobCommand({ jobId: 'b', force: true }));
    const { nextToken } = first;
    const second = await bench.iot.send(new iotApi.ListJobsCommand({ maxResults: 2, nextToken }));
    expect(first.jobs?.map(({ jobId }) => jobId)).toEqual(['a', 'b']);
    // Nothing is shown twice, and nothing is left out.
    expect(second.jobs?.map(({ jobId }) => jobId)).toEqual(['c', 'd']);
  });

  test('AssociateTargetsWithJob, and a list of the jobs of a group', async () => {
    for (const thingGroupName of ['first', 'second'])
      await bench.iot.send(new iotApi.CreateThingGroupCommand({ thingGroupName }));
    await create('one', { targets: [groupArn('first')], targetSelection: 'CONTINUOUS' });
    await bench.iot.send(
      new iotApi.AddThingToThingGroupCommand({ thingGroupName: 'second', thingName: THING }),
    );
    const added = new iotApi.AssociateTargetsWithJobCommand({ jobId: 'one', targets: [groupArn('second')] });
    await bench.iot.send(added);
    expect((await describeExecution('one'))?.status).toBe('QUEUED');
    const listed = await bench.iot.send(new iotApi.ListJobsCommand({ thingGroupName: 'second' }));
    expect(listed.jobs?.map(({ jobId }) => jobId)).toEqual(['one']);
    await create('snapshot', { targets: [groupArn('first')] });
    const refused = bench.iot.send(
      new iotApi.AssociateTargetsWithJobCommand({ jobId: 'snapshot', targets: [groupArn('second')] }),
    );
    expect(await refusal(refused)).toBeInstanceOf(iotApi.InvalidRequestException);
  });

  test('L8 L11 L13: descriptions, comments, reasons, targets and pages have their bounds', async () => {
    const invalid = async (call: Promise<unknown>) =>
      expect(await refusal(call)).toBeInstanceOf(iotApi.InvalidRequestException);
    await create('one', { description: 'x'.repeat(2028) });
    for (const description of ['x'.repeat(2029), 'line\nfeed']) await invalid(create('two', { description }));
    const cancelJob = (more: Partial<iotApi.CancelJobCommandInput>) =>
      bench.iot.send(new iotApi.CancelJobCommand({ jobId: 'one', ...more }));
    await invalid(cancelJob({ comment: 'x'.repeat(2029) }));
    for (const reasonCode of ['X'.repeat(129), 'lower', 'A B']) await invalid(cancelJob({ reasonCode }));
    await invalid(create('two', { targets: Array.from({ length: 101 }, () => thingArn(THING)) }));
    const list = (maxResults: number) => bench.iot.send(new iotApi.ListJobsCommand({ maxResults }));
    for (const maxResults of [0, 251]) await invalid(list(maxResults));
    for (const maxResults of [1, 250]) expect((await list(maxResults)).jobs?.length).toBe(1);
    await cancelJob({ comment: 'x'.repeat(2028), reasonCode: 'X'.repeat(128) });
  });

  test('V1: events are configured one by one', async () => {
    await bench.iot.send(
      new iotApi.UpdateEventConfigurationsCommand({ eventConfigurations: { JOB: { Enabled: true } } }),
    );
    const { eventConfigurations, lastModifiedDate } = await bench.iot.send(
      new iotApi.DescribeEventConfigurationsCommand({}),
    );
    expect(eventConfigurations).toMatchObject({ JOB: { Enabled: true }, JOB_EXECUTION: { Enabled: false } });
    expect(lastModifiedDate).toBeInstanceOf(Date);
  });
});
