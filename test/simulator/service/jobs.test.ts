import { describe, expect, test } from 'vitest';
import { groupArn, thingArn } from '../../../src/simulator/service/arns.ts';
import { Refusal, type Status } from '../../../src/simulator/service/types.ts';
import { MINUTE_MS, type World, world } from './world.ts';

/** The life of jobs: rollout, abort, groups, cancel, deletion (sections 3.5, 4.3, 4.4). */

function code(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return error.code;
  }
  return 'accepted';
}

const jobStatus = ({ service }: World, jobId = 'one'): string => service.job(jobId).status;
const names = (count: number): string[] => Array.from({ length: count }, (_, n) => `t${n}`);
const counts = ({ service }: World): object => service.jobProcessDetails('one');
const queued = ({ service }: World): number => service.executions({ jobId: 'one' }).length;
const report = ({ service }: World, thing: string, status: Status): void =>
  void service.update(thing, 'one', { status });

test('L1: a job id that no topic can name is refused, also by the library', () => {
  const w = world();
  for (const jobId of ['update-1.2', 'a/b', '', 'ü', 'x'.repeat(65)])
    expect(code(() => w.create(jobId))).toBe('InvalidRequest');
  expect(code(() => w.create('x'.repeat(64)))).toBe('accepted');
});

describe('from creation to completion', () => {
  test('S26 S27: SNAPSHOT is COMPLETED when all executions have ended, whatever the mix', () => {
    const w = world({}, names(4));
    w.create('one');
    expect(jobStatus(w)).toBe('IN_PROGRESS');
    report(w, 't0', 'SUCCEEDED');
    report(w, 't1', 'FAILED');
    report(w, 't2', 'REJECTED');
    expect(jobStatus(w)).toBe('IN_PROGRESS');
    w.service.cancelExecution('t3', 'one', { force: false });
    expect(w.service.job('one')).toMatchObject({ status: 'COMPLETED', completedAt: expect.any(Number) });
    expect(counts(w)).toEqual({
      numberOfCanceledThings: 1,
      numberOfSucceededThings: 1,
      numberOfFailedThings: 1,
      numberOfRejectedThings: 1,
      numberOfQueuedThings: 0,
      numberOfInProgressThings: 0,
      numberOfRemovedThings: 0,
      numberOfTimedOutThings: 0,
    });
  });

  test('S27: CONTINUOUS never completes by itself', () => {
    const w = world();
    w.create('one', { targetSelection: 'CONTINUOUS' });
    report(w, 't', 'SUCCEEDED');
    expect(jobStatus(w)).toBe('IN_PROGRESS');
  });

  test('S29: with rolloutDelayMs CreateJob returns before there are executions', async () => {
    const w = world({ switches: { rolloutDelayMs: 200 } });
    w.create('one');
    expect(queued(w)).toBe(0);
    expect(w.service.isConcurrent('one')).toBe(true);
    expect(jobStatus(w)).toBe('IN_PROGRESS');
    await w.clock.advance(200);
    expect(queued(w)).toBe(1);
    expect(w.service.isConcurrent('one')).toBe(false);
  });

  test('a target that does not exist, and an id that does, are refused', () => {
    const w = world();
    w.create('one');
    expect(code(() => w.create('one'))).toBe('ResourceAlreadyExists');
    expect(code(() => w.create('two', { targets: [thingArn('none')] }))).toBe('ResourceNotFound');
    expect(code(() => w.create('two', { targets: [groupArn('none')] }))).toBe('ResourceNotFound');
    expect(code(() => w.create('two', { targets: ['arn:aws:iot:us-east-1:1:job/one'] }))).toBe(
      'InvalidRequest',
    );
  });

  test('a thing that is a target twice has one execution', () => {
    const w = world();
    w.things.join('g', 't');
    w.create('one', { targets: [groupArn('g'), thingArn('t'), thingArn('t')] });
    expect(queued(w)).toBe(1);
  });
});

describe('rollout', () => {
  test('L12 S29: a constant rate is so many a minute; what waits is told as processingTargets', async () => {
    const w = world({}, names(5));
    w.create('one', { jobExecutionsRolloutConfig: { maximumPerMinute: 2 } });
    expect(queued(w)).toBe(2);
    expect(counts(w)).toMatchObject({ processingTargets: ['t2', 't3', 't4'].map(thingArn) });
    expect(w.service.isConcurrent('one')).toBe(true);
    await w.clock.advance(MINUTE_MS - 1);
    expect(queued(w)).toBe(2);
    await w.clock.advance(1);
    expect(queued(w)).toBe(4);
    await w.advance(1);
    expect(queued(w)).toBe(5);
    expect(counts(w)).not.toHaveProperty('processingTargets');
    expect(w.service.isConcurrent('one')).toBe(false);
  });

  test('L12: at most 1000 a minute without a configuration', async () => {
    const w = world({}, names(2500));
    w.create('one');
    const seen = [queued(w)];
    for (let minute = 0; minute < 2; minute += 1) {
      await w.advance(1);
      seen.push(queued(w));
    }
    expect(seen).toEqual([1000, 2000, 2500]);
  });

  test('S27: a job whose rollout goes on is not completed by the end of its first executions', async () => {
    const w = world({}, names(2));
    w.create('one', { jobExecutionsRolloutConfig: { maximumPerMinute: 1 } });
    report(w, 't0', 'SUCCEEDED');
    expect(jobStatus(w)).toBe('IN_PROGRESS');
    await w.advance(1);
    report(w, 't1', 'SUCCEEDED');
    expect(jobStatus(w)).toBe('COMPLETED');
  });

  test('an exponential rate grows with each number of notified things, up to the maximum', async () => {
    const w = world({}, names(200));
    w.create('one', {
      jobExecutionsRolloutConfig: {
        maximumPerMinute: 50,
        exponentialRate: {
          baseRatePerMinute: 10,
          incrementFactor: 2,
          rateIncreaseCriteria: { numberOfNotifiedThings: 10 },
        },
      },
    });
    const steps = [queued(w)];
    for (let minute = 0; minute < 4; minute += 1) {
      const before = queued(w);
      await w.advance(1);
      steps.push(queued(w) - before);
    }
    expect(steps).toEqual([10, 20, 50, 50, 50]);
  });

  test('an exponential rate grows when the number is full, and not before', async () => {
    const w = world({}, names(100));
    w.create('one', {
      jobExecutionsRolloutConfig: {
        exponentialRate: {
          baseRatePerMinute: 10,
          incrementFactor: 2,
          rateIncreaseCriteria: { numberOfNotifiedThings: 15 },
        },
      },
    });
    await w.advance(1);
    expect(queued(w)).toBe(20);
    await w.advance(1);
    expect(queued(w)).toBe(40);
  });

  test('an exponential rate grows with each number of succeeded things', async () => {
    const w = world({}, names(20));
    w.create('one', {
      jobExecutionsRolloutConfig: {
        exponentialRate: {
          baseRatePerMinute: 2,
          incrementFactor: 1.5,
          rateIncreaseCriteria: { numberOfSucceededThings: 2 },
        },
      },
    });
    await w.advance(1);
    expect(queued(w)).toBe(4);
    report(w, 't0', 'SUCCEEDED');
    report(w, 't1', 'SUCCEEDED');
    await w.advance(1);
    expect(queued(w)).toBe(7);
  });
});

describe('abort', () => {
  const abort = (failureType: 'FAILED' | 'REJECTED' | 'TIMED_OUT' | 'ALL', thresholdPercentage: number) => ({
    abortConfig: {
      criteriaList: [
        { failureType, action: 'CANCEL' as const, thresholdPercentage, minNumberOfExecutedThings: 4 },
      ],
    },
  });

  test('QUEUED is cancelled, IN_PROGRESS is not, and the job says why', () => {
    const w = world({}, names(7));
    w.create('one', abort('FAILED', 50));
    report(w, 't6', 'IN_PROGRESS');
    report(w, 't0', 'FAILED');
    report(w, 't1', 'SUCCEEDED');
    report(w, 't2', 'FAILED');
    expect(jobStatus(w)).toBe('IN_PROGRESS');
    report(w, 't3', 'SUCCEEDED');
    expect(w.service.job('one')).toMatchObject({
      status: 'CANCELED',
      reasonCode: expect.any(String),
      comment: expect.any(String),
    });
    expect(counts(w)).toMatchObject({ numberOfCanceledThings: 2, numberOfInProgressThings: 1 });
  });

  test('below the percentage, and for another type of failure, nothing happens', () => {
    const w = world({}, names(8));
    w.create('one', abort('FAILED', 51));
    for (const thing of ['t0', 't1']) report(w, thing, 'FAILED');
    for (const thing of ['t2', 't3']) report(w, thing, 'SUCCEEDED');
    for (const thing of ['t4', 't5', 't6']) report(w, thing, 'REJECTED');
    expect(jobStatus(w)).toBe('IN_PROGRESS');
  });

  test('ALL counts every failure, and ends the rollout, too', async () => {
    const w = world({}, names(9));
    w.create('one', { ...abort('ALL', 100), jobExecutionsRolloutConfig: { maximumPerMinute: 5 } });
    report(w, 't0', 'FAILED');
    report(w, 't1', 'REJECTED');
    report(w, 't2', 'FAILED');
    report(w, 't3', 'REJECTED');
    expect(jobStatus(w)).toBe('CANCELED');
    await w.advance(10);
    expect(queued(w)).toBe(5);
  });
});

describe('groups', () => {
  function onGroup(): World {
    const w = world({}, ['t', 'u']);
    w.things.join('g', 't');
    w.create('one', { targets: [groupArn('g')], targetSelection: 'CONTINUOUS' });
    return w;
  }
  const join = (w: World, thing: string): void => {
    w.things.join('g', thing);
    w.service.thingJoined('g', thing);
  };
  const leave = (w: World, thing: string): void => {
    w.things.leave('g', thing);
    w.service.thingLeft('g', thing);
  };

  test('S5 C26: who joins gets the job of its CONTINUOUS group; who leaves is REMOVED', () => {
    const w = onGroup();
    join(w, 'u');
    expect(w.service.pending('u').map(({ jobId }) => jobId)).toEqual(['one']);
    report(w, 't', 'IN_PROGRESS');
    leave(w, 't');
    leave(w, 'u');
    expect(counts(w)).toMatchObject({ numberOfRemovedThings: 2 });
    expect(jobStatus(w)).toBe('IN_PROGRESS');
  });

  test('S5: who is a target by another way stays', () => {
    const w = onGroup();
    w.service.associateTargets('one', [thingArn('t')], 'for good');
    leave(w, 't');
    expect(w.service.execution('t', 'one').status).toBe('QUEUED');
    expect(w.service.job('one')).toMatchObject({
      comment: 'for good',
      targets: [groupArn('g'), thingArn('t')],
    });
  });

  test('S18: who comes back starts anew, its retries, too', () => {
    const w = world();
    w.things.join('g', 't');
    const retries = { criteriaList: [{ failureType: 'FAILED' as const, numberOfRetries: 1 }] };
    w.create('one', {
      targets: [groupArn('g')],
      targetSelection: 'CONTINUOUS',
      jobExecutionsRetryConfig: retries,
    });
    report(w, 't', 'FAILED');
    leave(w, 't');
    join(w, 't');
    expect(w.service.execution('t', 'one')).toMatchObject({
      executionNumber: 3,
      retryAttempt: 0,
      status: 'QUEUED',
    });
    report(w, 't', 'FAILED');
    expect(w.service.execution('t', 'one')).toMatchObject({ executionNumber: 4, retryAttempt: 1 });
    report(w, 't', 'FAILED');
    expect(w.service.execution('t', 'one')).toMatchObject({ executionNumber: 4, status: 'FAILED' });
  });

  test('a SNAPSHOT has the members of its start, for better or worse', () => {
    const w = world({}, ['t', 'u']);
    w.things.join('g', 't');
    w.create('one', { targets: [groupArn('g')] });
    join(w, 'u');
    leave(w, 't');
    expect(w.service.executions({ jobId: 'one' })).toMatchObject([{ thing: 't', status: 'QUEUED' }]);
  });

  test('S5: a deleted thing is REMOVED from every job, and from what waits', async () => {
    const w = world({}, names(2));
    w.create('one', { jobExecutionsRolloutConfig: { maximumPerMinute: 1 } });
    w.service.removeThing('t1');
    await w.advance(1);
    expect(queued(w)).toBe(1);
    w.service.removeThing('t0');
    expect(w.service.execution('t0', 'one').status).toBe('REMOVED');
    expect(jobStatus(w)).toBe('COMPLETED');
  });

  test('AssociateTargetsWithJob: CONTINUOUS and IN_PROGRESS only, at most 100 targets (L11)', () => {
    const w = world({}, names(101));
    w.create('one');
    expect(code(() => w.service.associateTargets('one', [thingArn('t0')]))).toBe('InvalidRequest');
    w.create('two', { targetSelection: 'CONTINUOUS', targets: [thingArn('t0')] });
    w.service.associateTargets('two', names(100).map(thingArn));
    expect(w.service.executions({ jobId: 'two' }).length).toBe(100);
    expect(code(() => w.service.associateTargets('two', [thingArn('t100')]))).toBe('LimitExceeded');
    expect(code(() => w.service.associateTargets('two', [thingArn('none')]))).toBe('ResourceNotFound');
    w.service.cancelJob('two', { force: false });
    expect(code(() => w.service.associateTargets('two', [thingArn('t1')]))).toBe('InvalidRequest');
  });
});

describe('UpdateJob, CancelJob, DeleteJob', () => {
  test('S19: retries can be given up, not added; S21: a new time-out is for those that start later', async () => {
    const w = world({}, ['t', 'u']);
    w.create('one', { timeoutConfig: { inProgressTimeoutInMinutes: 10 } });
    report(w, 't', 'IN_PROGRESS');
    const retries = (numberOfRetries: number) => (): unknown =>
      w.service.updateJob('one', {
        jobExecutionsRetryConfig: { criteriaList: [{ failureType: 'ALL', numberOfRetries }] },
      });
    expect(code(retries(1))).toBe('InvalidRequest');
    expect(code(retries(0))).toBe('accepted');
    w.service.updateJob('one', { description: 'new', timeoutConfig: { inProgressTimeoutInMinutes: 1 } });
    report(w, 'u', 'IN_PROGRESS');
    await w.advance(1);
    expect(w.service.execution('t', 'one').status).toBe('IN_PROGRESS');
    expect(w.service.execution('u', 'one').status).toBe('TIMED_OUT');
    expect(w.service.job('one').description).toBe('new');
    w.service.cancelJob('one', { force: true });
    expect(code(() => w.service.updateJob('one', { description: 'late' }))).toBe('InvalidRequest');
  });

  test('C19: CancelJob takes QUEUED, by force IN_PROGRESS, and never what has ended', () => {
    const w = world({}, names(3));
    w.create('one');
    report(w, 't0', 'IN_PROGRESS');
    report(w, 't1', 'SUCCEEDED');
    expect(w.service.cancelJob('one', { force: false, reasonCode: 'WHY', comment: 'because' })).toMatchObject(
      {
        status: 'CANCELED',
        reasonCode: 'WHY',
        comment: 'because',
      },
    );
    expect(w.service.executions({ jobId: 'one' }).map(({ status }) => status)).toEqual([
      'IN_PROGRESS',
      'SUCCEEDED',
      'CANCELED',
    ]);
    w.service.cancelJob('one', { force: true });
    expect(w.service.job('one').forceCanceled).toBe(true);
    expect(w.service.execution('t0', 'one')).toMatchObject({ status: 'CANCELED', forceCanceled: true });
    w.create('two');
    for (const thing of names(3)) w.service.update(thing, 'two', { status: 'SUCCEEDED' });
    expect(code(() => w.service.cancelJob('two', { force: true }))).toBe('InvalidRequest');
  });

  test('C20 A21: without force only what has ended is deleted; the id is free again, and its numbers, too', () => {
    const w = world();
    w.create('one');
    expect(code(() => w.service.deleteJob('one', false))).toBe('InvalidStateTransition');
    report(w, 't', 'FAILED');
    w.service.deleteJob('one', false);
    expect(code(() => w.service.job('one'))).toBe('ResourceNotFound');
    expect(w.service.executions({ thing: 't' })).toEqual([]);
    w.create('one');
    expect(w.service.execution('t', 'one')).toMatchObject({ executionNumber: 1, versionNumber: 1 });
  });

  test('C20 S26 L17: DELETION_IN_PROGRESS for a while, nothing else goes meanwhile, ten at most', async () => {
    const w = world({ switches: { rolloutDelayMs: 1000 } });
    for (let n = 0; n < 11; n += 1) w.create(`j${n}`);
    for (let n = 0; n < 10; n += 1) w.service.deleteJob(`j${n}`, true);
    expect(jobStatus(w, 'j0')).toBe('DELETION_IN_PROGRESS');
    expect(code(() => w.service.deleteJob('j0', true))).toBe('InvalidStateTransition');
    expect(code(() => w.service.cancelJob('j0', { force: true }))).toBe('InvalidRequest');
    expect(code(() => w.create('j0'))).toBe('ResourceAlreadyExists');
    expect(code(() => w.service.deleteJob('j10', true))).toBe('LimitExceeded');
    await w.clock.advance(1000);
    expect(w.service.jobs().map(({ jobId }) => jobId)).toEqual(['j10']);
    w.service.deleteJob('j10', true);
  });
});

test('ten thousand things: each question looks at its own answer only', { timeout: 120_000 }, async () => {
  const w = world({}, names(10_000));
  w.create('one', { timeoutConfig: { inProgressTimeoutInMinutes: 60 } });
  for (let minute = 0; minute < 10; minute += 1) await w.advance(1);
  for (const thing of names(10_000)) w.service.startNext(thing, { stepTimeoutInMinutes: 5 });
  for (const thing of names(5000)) report(w, thing, 'SUCCEEDED');
  expect(counts(w)).toMatchObject({ numberOfSucceededThings: 5000, numberOfInProgressThings: 5000 });
  await w.advance(5);
  expect(counts(w)).toMatchObject({ numberOfSucceededThings: 5000, numberOfTimedOutThings: 5000 });
  expect(jobStatus(w)).toBe('COMPLETED');
});
