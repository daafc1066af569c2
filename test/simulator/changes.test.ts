import { expect, test } from 'vitest';
import { systemClock } from '../../src/host/clock.ts';
import { JobsService, thingArn } from '../../src/simulator/service/jobs-service.ts';
import { Shadows } from '../../src/simulator/service/shadows.ts';

/** What a watcher of the service is told: every change once, complete, in order. */

function watched(): { service: JobsService; told: string[]; stop: () => void } {
  const service = new JobsService({
    clock: systemClock,
    notifier: { notify: () => undefined, notifyNext: () => undefined, event: () => undefined },
  });
  const told: string[] = [];
  const stop = service.onChange((change) => {
    if (change.kind === 'thing') told.push(`thing ${change.thing}`);
    else if (change.kind === 'job') told.push(`job ${change.jobId}`);
    else {
      const { jobId, executionNumber, status, versionNumber } = change.execution;
      told.push(`${jobId}#${executionNumber} ${change.deleted ? 'deleted' : `${status} v${versionNumber}`}`);
    }
  });
  return { service, told, stop };
}

const job = { jobId: 'one', targets: [thingArn('t')], document: '{}' };

test('a watcher hears of things, jobs and each state of an execution, after the change is complete', () => {
  const { service, told } = watched();
  service.createThing('t');
  service.createJob(job);
  service.startNext('t', {});
  service.update('t', 'one', { status: 'IN_PROGRESS', statusDetails: { step: '1' } });
  service.cancelExecution('t', 'one', { force: true });
  service.deleteJob('one', true);
  expect(told).toEqual([
    'thing t',
    'job one',
    'one#1 QUEUED v1',
    'one#1 IN_PROGRESS v2',
    'one#1 IN_PROGRESS v3',
    'one#1 CANCELED v4',
    'job one',
    'one#1 deleted',
    'job one',
  ]);
});

test('a retry is told after the end that brought it, and a watcher that has left hears no more', () => {
  const { service, told, stop } = watched();
  service.createThing('t');
  service.createJob({
    ...job,
    jobExecutionsRetryConfig: { criteriaList: [{ failureType: 'ALL', numberOfRetries: 1 }] },
  });
  told.length = 0;
  service.update('t', 'one', { status: 'FAILED' });
  expect(told).toEqual(['one#1 FAILED v2', 'one#2 QUEUED v1']);
  stop();
  service.update('t', 'one', { status: 'FAILED' });
  expect(told.length).toBe(2);
});

test('a watcher of shadows hears of each write and of a removal', () => {
  const shadows = new Shadows();
  const told: string[] = [];
  shadows.onChange((thing, name) => told.push(`${thing}/${name}`));
  shadows.update('t', 'evenkeel', { reported: { a: 1 } }, 1);
  expect(shadows.names('t')).toEqual(['evenkeel']);
  shadows.delete('t', 'evenkeel');
  shadows.delete('t', 'evenkeel');
  expect(told).toEqual(['t/evenkeel', 't/evenkeel']);
});
