import * as iotApi from '@aws-sdk/client-iot';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Bench, groupArn, refusal, startBench, thingArn } from './clients.ts';

/** Things, groups, tags and endpoints (C26): what tools call before they make a job. */

let bench: Bench;
beforeEach(async () => {
  bench = await startBench();
});
afterEach(async () => {
  await bench.close();
});

const thing = (thingName: string, attributes: Record<string, string> = {}) =>
  bench.iot.send(new iotApi.CreateThingCommand({ thingName, attributePayload: { attributes } }));
const group = (thingGroupName: string, parentGroupName?: string) =>
  bench.iot.send(new iotApi.CreateThingGroupCommand({ thingGroupName, parentGroupName }));
const join = (thingName: string, thingGroupName: string) =>
  bench.iot.send(new iotApi.AddThingToThingGroupCommand({ thingName, thingGroupName }));
const statusOf = async (jobId: string, thingName: string): Promise<string | undefined> => {
  const asked = new iotApi.DescribeJobExecutionCommand({ jobId, thingName });
  return (await bench.iot.send(asked)).execution?.status;
};

describe('things', () => {
  test('C26: UpdateThing merges or replaces attributes, and a version guards it', async () => {
    await thing('T', { a: '1', b: '2' });
    const update = (more: Partial<iotApi.UpdateThingCommandInput>) =>
      bench.iot.send(new iotApi.UpdateThingCommand({ thingName: 'T', ...more }));
    const described = () => bench.iot.send(new iotApi.DescribeThingCommand({ thingName: 'T' }));
    await update({ attributePayload: { attributes: { b: '', c: '3' }, merge: true } });
    expect(await described()).toMatchObject({ attributes: { a: '1', c: '3' }, version: 2 });
    expect((await described()).attributes).not.toHaveProperty('b');
    const stale = update({ expectedVersion: 1, attributePayload: { attributes: { d: '4' } } });
    expect(await refusal(stale)).toBeInstanceOf(iotApi.VersionConflictException);
    await update({ expectedVersion: 2, attributePayload: { attributes: { d: '4' } } });
    expect(await described()).toMatchObject({ attributes: { d: '4' }, version: 3 });
    expect((await described()).attributes).toEqual({ d: '4' });
    const nobody = new iotApi.UpdateThingCommand({ thingName: 'nobody' });
    expect(await refusal(bench.iot.send(nobody))).toBeInstanceOf(iotApi.ResourceNotFoundException);
  });

  test('L2: a name has 1 to 128 of its characters', async () => {
    await thing('a:b_c-D9'.padEnd(128, 'x'));
    for (const name of ['x'.repeat(129), 'a b', 'a/b', 'ä'])
      expect(await refusal(thing(name)), name).toBeInstanceOf(iotApi.InvalidRequestException);
  });
});

describe('groups', () => {
  test('C26 S5: a job on a group is for the things of the groups below, and of who comes later', async () => {
    await group('fleet');
    await group('north', 'fleet');
    await group('coast', 'north');
    for (const name of ['T', 'U', 'V']) await thing(name);
    await join('T', 'coast');
    const job = { jobId: 'one', document: '{}', targetSelection: 'CONTINUOUS' as const };
    await bench.iot.send(new iotApi.CreateJobCommand({ ...job, targets: [groupArn('fleet')] }));
    expect(await statusOf('one', 'T')).toBe('QUEUED');
    expect(await refusal(statusOf('one', 'U'))).toBeInstanceOf(iotApi.ResourceNotFoundException);
    await join('U', 'north');
    expect(await statusOf('one', 'U')).toBe('QUEUED');
    // Still in by another way.
    await join('T', 'fleet');
    const leave = (thingGroupName: string) =>
      bench.iot.send(new iotApi.RemoveThingFromThingGroupCommand({ thingName: 'T', thingGroupName }));
    await leave('coast');
    expect(await statusOf('one', 'T')).toBe('QUEUED');
    await leave('fleet');
    expect(await statusOf('one', 'T')).toBe('REMOVED');
  });

  test('C26: a tree is described, listed, and deleted from below', async () => {
    await group('fleet');
    await group('north', 'fleet');
    await group('coast', 'north');
    await thing('T');
    await join('T', 'coast');
    const described = await bench.iot.send(new iotApi.DescribeThingGroupCommand({ thingGroupName: 'coast' }));
    expect(described.thingGroupMetadata).toMatchObject({
      parentGroupName: 'north',
      rootToParentThingGroups: [{ groupName: 'fleet' }, { groupName: 'north' }],
    });
    const names = async (input: iotApi.ListThingGroupsCommandInput) =>
      (await bench.iot.send(new iotApi.ListThingGroupsCommand(input))).thingGroups?.map(
        ({ groupName }) => groupName,
      );
    expect(await names({ parentGroup: 'fleet', recursive: false })).toEqual(['north']);
    expect(await names({ parentGroup: 'fleet', recursive: true })).toEqual(['north', 'coast']);
    const things = async (recursive: boolean) =>
      (await bench.iot.send(new iotApi.ListThingsInThingGroupCommand({ thingGroupName: 'fleet', recursive })))
        .things;
    expect([await things(false), await things(true)]).toEqual([[], ['T']]);
    const remove = (thingGroupName: string) =>
      bench.iot.send(new iotApi.DeleteThingGroupCommand({ thingGroupName }));
    expect(await refusal(remove('fleet'))).toBeInstanceOf(iotApi.InvalidRequestException);
    for (const name of ['coast', 'north', 'fleet']) await remove(name);
    expect(await names({})).toEqual([]);
  });
});

test('C26: tags are added, taken away, and gone with their job', async () => {
  await thing('T');
  const job = { jobId: 'one', targets: [thingArn('T')], document: '{}', tags: [{ Key: 'a', Value: '1' }] };
  const { jobArn: resourceArn = '' } = await bench.iot.send(new iotApi.CreateJobCommand(job));
  const tags = async () =>
    (await bench.iot.send(new iotApi.ListTagsForResourceCommand({ resourceArn }))).tags;
  await bench.iot.send(new iotApi.TagResourceCommand({ resourceArn, tags: [{ Key: 'b', Value: '2' }] }));
  expect(await tags()).toEqual([
    { Key: 'a', Value: '1' },
    { Key: 'b', Value: '2' },
  ]);
  await bench.iot.send(new iotApi.UntagResourceCommand({ resourceArn, tagKeys: ['a', 'nothing'] }));
  expect(await tags()).toEqual([{ Key: 'b', Value: '2' }]);
  await bench.iot.send(new iotApi.DeleteJobCommand({ jobId: 'one', force: true }));
  expect(await refusal(tags())).toBeInstanceOf(iotApi.ResourceNotFoundException);
  await bench.iot.send(new iotApi.CreateJobCommand({ ...job, tags: undefined }));
  expect(await tags()).toEqual([]);
});

test('C26 D1: DescribeEndpoint names the broker for devices and this port for the rest', async () => {
  const endpoint = async (endpointType?: string) =>
    (await bench.iot.send(new iotApi.DescribeEndpointCommand({ endpointType }))).endpointAddress;
  const { mqttUrl, httpUrl } = bench.simulator;
  for (const type of ['iot:Data', 'iot:Data-ATS']) expect(await endpoint(type)).toBe(new URL(mqttUrl).host);
  expect(await endpoint('iot:Jobs')).toBe(new URL(httpUrl).host);
  expect(await refusal(endpoint('iot:Nothing'))).toBeInstanceOf(iotApi.InvalidRequestException);
});

test('reset: nothing that was made is left', async () => {
  await group('fleet');
  await group('north', 'fleet');
  await thing('T');
  await join('T', 'north');
  const { httpUrl, switches, service, shadows } = bench.simulator;
  const tags = [{ Key: 'a', Value: '1' }];
  const job = { targets: [thingArn('T')], document: '{}', tags };
  // More at once than may be deleted one by one (L17).
  switches.set({ rolloutDelayMs: 3_600_000 });
  for (let at = 0; at < 12; at += 1)
    await bench.iot.send(new iotApi.CreateJobCommand({ ...job, jobId: `job-${at}` }));
  await bench.iot.send(new iotApi.DeleteJobCommand({ jobId: 'job-0', force: true }));
  const template = { jobTemplateId: 'mine', description: 'd', document: '{}' };
  await bench.iot.send(new iotApi.CreateJobTemplateCommand(template));
  await bench.iot.send(
    new iotApi.UpdateEventConfigurationsCommand({ eventConfigurations: { JOB: { Enabled: true } } }),
  );
  await fetch(`${httpUrl}/s3/bucket/key`, { method: 'PUT', body: '{}' });
  shadows.update('T', 'x', { reported: {} }, 0);
  expect((await fetch(`${httpUrl}/_simulator/reset`, { method: 'POST' })).status).toBe(200);
  expect([service.jobs(), service.things(), shadows.names('T')]).toEqual([[], [], []]);
  const lists = [
    (await bench.iot.send(new iotApi.ListThingGroupsCommand({}))).thingGroups,
    (await bench.iot.send(new iotApi.ListJobTemplatesCommand({}))).jobTemplates,
  ];
  expect(lists).toEqual([[], []]);
  const events = await bench.iot.send(new iotApi.DescribeEventConfigurationsCommand({}));
  expect(events.eventConfigurations?.JOB).toEqual({ Enabled: false });
  await thing('T');
  // The same ARN has no tags, and its document is not to be found any more.
  const { jobArn: resourceArn } = await bench.iot.send(
    new iotApi.CreateJobCommand({ ...job, jobId: 'job-0', tags: undefined }),
  );
  const found = await bench.iot.send(new iotApi.ListTagsForResourceCommand({ resourceArn }));
  expect(found.tags).toEqual([]);
  const gone = new iotApi.CreateJobCommand({
    jobId: 'two',
    targets: job.targets,
    documentSource: 'https://s3.us-east-1.amazonaws.com/bucket/key',
  });
  expect(await refusal(bench.iot.send(gone))).toBeInstanceOf(iotApi.InvalidRequestException);
});
