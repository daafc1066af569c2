import { expect, test } from 'vitest';
import { thingArn } from '../../../src/simulator/service/arns.ts';
import { type World, world } from './world.ts';

/** Events for whoever watches the fleet (section 7). */

function listening(...types: string[]): World {
  const w = world({}, ['t', 'u']);
  w.service.updateEventConfigurations(Object.fromEntries(types.map((type) => [type, { Enabled: true }])));
  return w;
}
const events = (w: World): string[] => w.news().filter((one) => one.startsWith('job'));

test('V1: off by default, and each type by itself', () => {
  const w = world();
  expect(Object.values(w.service.eventConfigurations()).some(({ Enabled }) => Enabled)).toBe(false);
  w.create('one');
  w.service.update('t', 'one', { status: 'SUCCEEDED' });
  expect(events(w)).toEqual([]);
  w.service.updateEventConfigurations({ JOB: { Enabled: true } });
  expect(w.service.eventConfigurations()).toMatchObject({
    JOB: { Enabled: true },
    JOB_EXECUTION: { Enabled: false },
  });
  w.create('two');
  w.service.update('t', 'two', { status: 'SUCCEEDED' });
  expect(events(w)).toEqual(['job/two/completed']);
  w.service.updateEventConfigurations({ JOB: { Enabled: false } });
  w.service.deleteJob('two', false);
  expect(events(w)).toEqual([]);
});

test('V2: what a completed job says', async () => {
  const w = listening('JOB');
  w.create('one', { description: 'text' });
  await w.clock.advance(1500);
  w.service.update('t', 'one', { status: 'SUCCEEDED' });
  w.service.update('u', 'one', { status: 'REJECTED' });
  const { to, body } = w.heard.findLast(({ kind }) => kind === 'event') ?? {};
  expect(to).toBe('$aws/events/job/one/completed');
  expect(body).toEqual({
    eventType: 'JOB',
    eventId: expect.stringMatching(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/),
    timestamp: 1_767_225_601,
    operation: 'completed',
    jobId: 'one',
    status: 'COMPLETED',
    targetSelection: 'SNAPSHOT',
    targets: ['t', 'u'].map(thingArn),
    description: 'text',
    completedAt: 1_767_225_601_500,
    createdAt: 1_767_225_600_000,
    lastUpdatedAt: 1_767_225_601_500,
    jobProcessDetails: {
      numberOfCanceledThings: 0,
      numberOfRejectedThings: 1,
      numberOfFailedThings: 0,
      numberOfRemovedThings: 0,
      numberOfSucceededThings: 1,
    },
  });
});

test('V3 V2: cancelling and deleting are told when they begin and when they are done', () => {
  const w = listening('JOB');
  w.create('one');
  w.service.cancelJob('one', { force: true, comment: 'enough' });
  w.service.deleteJob('one', false);
  expect(events(w)).toEqual([
    'job/one/cancellation_in_progress',
    'job/one/canceled',
    'job/one/deletion_in_progress',
    'job/one/deleted',
  ]);
  const canceled = w.heard.find(({ to }) => to.endsWith('/canceled'));
  expect(canceled?.body).toMatchObject({ status: 'CANCELED', forceCanceled: true, comment: 'enough' });
});

test('V4 C17: the end of each execution on the topic of its job, with the thing in the body', async () => {
  const w = listening('JOB_EXECUTION');
  const one = { timeoutConfig: { inProgressTimeoutInMinutes: 1 } };
  for (const jobId of ['a', 'b', 'c', 'd', 'e', 'f']) w.create(jobId, { ...one, targets: [thingArn('t')] });
  for (const jobId of ['a', 'b', 'd']) w.service.update('t', jobId, { status: 'IN_PROGRESS' });
  w.service.update('t', 'a', { status: 'SUCCEEDED', statusDetails: { k: 'v' } });
  expect(w.heard.at(-3)?.body).toEqual({
    eventType: 'JOB_EXECUTION',
    eventId: expect.any(String),
    timestamp: 1_767_225_600,
    operation: 'succeeded',
    jobId: 'a',
    thingArn: thingArn('t'),
    status: 'SUCCEEDED',
    statusDetails: { k: 'v' },
  });
  w.service.update('t', 'b', { status: 'FAILED' });
  w.service.update('t', 'c', { status: 'REJECTED' });
  await w.advance(1);
  w.service.cancelExecution('t', 'e', { force: false });
  w.service.deleteExecution('t', 'a', 1, false);
  w.service.removeThing('t');
  expect(events(w).map((one) => one.replace('jobExecution/', ''))).toEqual([
    'a/succeeded',
    'b/failed',
    'c/rejected',
    'd/timed_out',
    'e/canceled',
    'a/deleted',
    'f/removed',
  ]);
});
