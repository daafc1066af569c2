import { describe, expect, test } from 'vitest';
import { Refusal, type RetryConfig, type Status } from '../../../src/simulator/service/types.ts';
import { type World, world } from './world.ts';

/** Transitions, versions and attempts of executions (sections 3.1-3.3, 4.2, 4.3). */

const statusOf = ({ service }: World, jobId = 'one'): string => service.execution('t', jobId).status;
const report = ({ service }: World, status: Status, more: object = {}): unknown =>
  service.update('t', 'one', { status, ...more });

/** The refusal, by its code and the status that it carries. */
function refused(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return [error.code, error.execution?.status].filter((one) => one !== undefined).join(' ');
  }
  return 'accepted';
}

function one(deps: Parameters<typeof world>[0] = {}, more: Parameters<World['create']>[1] = {}): World {
  const w = world(deps);
  w.create('one', more);
  return w;
}

const ENDS = ['SUCCEEDED', 'FAILED', 'REJECTED'] as const;

describe('what a device may do', () => {
  test.each(ENDS)('S1: QUEUED to IN_PROGRESS, any number of times, to %s', (end) => {
    const w = one();
    for (let times = 0; times < 3; times += 1) report(w, 'IN_PROGRESS');
    expect(statusOf(w)).toBe('IN_PROGRESS');
    report(w, end);
    expect(w.service.execution('t', 'one')).toMatchObject({ status: end, versionNumber: 5 });
  });

  test.each(ENDS)('S2: QUEUED to %s at once', (end) => {
    const w = one();
    report(w, end);
    expect(w.service.execution('t', 'one')).toMatchObject({ status: end, versionNumber: 2 });
  });

  test('S2: QUEUED to SUCCEEDED is refused where the switch says so, and FAILED is not', () => {
    const w = one({ switches: { queuedToSucceededAccepted: false } });
    expect(refused(() => report(w, 'SUCCEEDED'))).toBe('InvalidStateTransition QUEUED');
    expect(refused(() => report(w, 'FAILED'))).toBe('accepted');
  });

  test.each(['QUEUED', 'CANCELED', 'TIMED_OUT', 'REMOVED', 'SUCCESS', ''])(
    'S3 P21: "%s" is refused',
    (status) => {
      const w = one();
      report(w, 'IN_PROGRESS');
      expect(refused(() => report(w, status as Status))).toBe('InvalidRequest');
      expect(w.service.execution('t', 'one').versionNumber).toBe(2);
    },
  );

  test('S4 E4 E15: nothing leaves a terminal status, and the refusal carries it', () => {
    for (const end of ENDS) {
      const w = one();
      report(w, end);
      for (const next of ['IN_PROGRESS', ...ENDS] as const)
        expect(refused(() => report(w, next))).toBe(`InvalidStateTransition ${end}`);
      expect(w.service.execution('t', 'one').versionNumber).toBe(2);
    }
  });

  test('E4: with terminalCarriesState off the refusal carries nothing', () => {
    const w = one({ switches: { terminalCarriesState: false } });
    report(w, 'FAILED');
    expect(refused(() => report(w, 'FAILED'))).toBe('InvalidStateTransition');
  });

  test('S6 S9: after a forced cancel an update is refused as CANCELED; whoever is first wins', () => {
    const w = one();
    report(w, 'IN_PROGRESS');
    w.service.cancelExecution('t', 'one', { force: true });
    expect(refused(() => report(w, 'SUCCEEDED'))).toBe('InvalidStateTransition CANCELED');
    w.create('two');
    w.service.update('t', 'two', { status: 'SUCCEEDED' });
    expect(refused(() => w.service.cancelExecution('t', 'two', { force: true }))).toBe(
      'InvalidStateTransition SUCCEEDED',
    );
    expect(statusOf(w, 'two')).toBe('SUCCEEDED');
  });

  test('S7 C22 P18 E5: after a forced deletion there is nothing to update', () => {
    const w = one();
    report(w, 'IN_PROGRESS');
    w.service.deleteJob('one', true);
    expect(refused(() => report(w, 'SUCCEEDED'))).toBe('ResourceNotFound');
  });

  test('S10: several executions are in progress at once', () => {
    const w = one();
    w.create('two');
    report(w, 'IN_PROGRESS');
    w.service.update('t', 'two', { status: 'IN_PROGRESS' });
    expect(w.service.pending('t').map(({ status }) => status)).toEqual(['IN_PROGRESS', 'IN_PROGRESS']);
  });

  test('P22: details are kept when none are given, and replaced as a whole', () => {
    const w = one();
    report(w, 'IN_PROGRESS', { statusDetails: { a: '1', b: '2' } });
    report(w, 'IN_PROGRESS');
    expect(w.service.execution('t', 'one').statusDetails).toEqual({ a: '1', b: '2' });
    report(w, 'IN_PROGRESS', { statusDetails: { c: '3' } });
    expect(w.service.execution('t', 'one').statusDetails).toEqual({ c: '3' });
  });

  test('P11 P12 P13 P14: start-next takes what is in progress first, then the oldest', async () => {
    const w = one();
    await w.clock.advance(1000);
    w.create('two');
    w.service.update('t', 'two', { status: 'IN_PROGRESS', statusDetails: { own: 'word' } });
    expect(w.service.startNext('t', { statusDetails: { other: 'word' } })).toMatchObject({
      jobId: 'two',
      versionNumber: 2,
      statusDetails: { own: 'word' },
    });
    w.service.update('t', 'two', { status: 'SUCCEEDED' });
    const started = w.service.startNext('t', { statusDetails: { a: '1' } });
    expect(started).toMatchObject({ jobId: 'one', status: 'IN_PROGRESS', versionNumber: 2 });
    expect(started?.statusDetails).toEqual({ a: '1' });
    expect(started?.startedAt).toBe(started?.lastUpdatedAt);
    report(w, 'SUCCEEDED');
    expect(w.service.startNext('t', {})).toBeUndefined();
  });
});

describe('versions', () => {
  test('S11 S12 P24: 1 when queued, and one more for each accepted update', () => {
    const w = one();
    const version = (): number => w.service.execution('t', 'one').versionNumber;
    expect(version()).toBe(1);
    w.service.startNext('t', {});
    expect(version()).toBe(2);
    report(w, 'IN_PROGRESS');
    expect(version()).toBe(3);
  });

  test.each([
    [true, 3],
    [false, 2],
  ])('S13: with versionIncrementOnServiceChange %s a cancel leaves version %i', (increment, version) => {
    const w = one({ switches: { versionIncrementOnServiceChange: increment } });
    report(w, 'IN_PROGRESS');
    w.service.cancelExecution('t', 'one', { force: true });
    expect(w.service.execution('t', 'one').versionNumber).toBe(version);
  });

  test('S14 P23 E6: a stale version is refused with the state; none is no check', () => {
    const w = one();
    report(w, 'IN_PROGRESS', { expectedVersion: 1 });
    expect(refused(() => report(w, 'SUCCEEDED', { expectedVersion: 1 }))).toBe('VersionMismatch IN_PROGRESS');
    // 0 is a version like another, and none that an execution ever has (S11).
    expect(refused(() => report(w, 'SUCCEEDED', { expectedVersion: 0 }))).toBe('VersionMismatch IN_PROGRESS');
    report(w, 'SUCCEEDED');
  });

  test.each([
    [true, 'InvalidStateTransition'],
    [false, 'VersionMismatch'],
  ])('E13: ended and stale at once, terminalBeforeVersion %s: %s; read at each use', (first, code) => {
    const w = one({ switches: { terminalBeforeVersion: !first } });
    report(w, 'FAILED');
    w.service.switches.terminalBeforeVersion = first;
    expect(refused(() => report(w, 'FAILED', { expectedVersion: 1 }))).toBe(`${code} FAILED`);
  });
});

describe('attempts', () => {
  const retry = (...criteriaList: RetryConfig['criteriaList']): object => ({
    timeoutConfig: { inProgressTimeoutInMinutes: 1 },
    jobExecutionsRetryConfig: { criteriaList },
  });

  test('S15 S17 P16: a retry is the next number from version 1; without a number the latest is meant', () => {
    const w = one({}, retry({ failureType: 'FAILED', numberOfRetries: 2 }));
    report(w, 'FAILED', { statusDetails: { a: '1' } });
    const second = w.service.execution('t', 'one');
    expect(second).toMatchObject({ executionNumber: 2, retryAttempt: 1, versionNumber: 1, status: 'QUEUED' });
    expect(second.statusDetails).toEqual({});
    expect(w.service.execution('t', 'one', 1).status).toBe('FAILED');
    expect(refused(() => report(w, 'IN_PROGRESS', { executionNumber: 3 }))).toBe('ResourceNotFound');
    expect(refused(() => report(w, 'IN_PROGRESS', { executionNumber: 1 }))).toBe(
      'InvalidStateTransition FAILED',
    );
  });

  test('S16 S19: each failure type has its own number of retries, ALL counts both', async () => {
    const w = one(
      {},
      retry({ failureType: 'FAILED', numberOfRetries: 1 }, { failureType: 'TIMED_OUT', numberOfRetries: 2 }),
    );
    report(w, 'FAILED');
    for (let times = 0; times < 2; times += 1) {
      report(w, 'IN_PROGRESS');
      await w.advance(1);
    }
    expect(w.service.execution('t', 'one')).toMatchObject({ executionNumber: 4, status: 'QUEUED' });
    report(w, 'FAILED');
    expect(w.service.execution('t', 'one')).toMatchObject({ executionNumber: 4, status: 'FAILED' });

    const all = one({}, retry({ failureType: 'ALL', numberOfRetries: 2 }));
    report(all, 'FAILED');
    report(all, 'IN_PROGRESS');
    await all.advance(1);
    report(all, 'FAILED');
    expect(all.service.execution('t', 'one')).toMatchObject({ executionNumber: 3, status: 'FAILED' });
  });

  test('S16: never more than ten retries, however they are shared out', async () => {
    const w = one(
      {},
      retry(
        { failureType: 'FAILED', numberOfRetries: 10 },
        { failureType: 'TIMED_OUT', numberOfRetries: 10 },
      ),
    );
    for (let times = 0; times < 5; times += 1) {
      report(w, 'FAILED');
      report(w, 'IN_PROGRESS');
      await w.advance(1);
    }
    expect(w.service.execution('t', 'one')).toMatchObject({ executionNumber: 11, status: 'QUEUED' });
    report(w, 'FAILED');
    expect(w.service.execution('t', 'one')).toMatchObject({ executionNumber: 11, status: 'FAILED' });
    expect(w.service.job('one').status).toBe('COMPLETED');
  });

  test.each(['REJECTED', 'SUCCEEDED'] as const)('S16 S20: %s is never tried again', (end) => {
    const w = one({}, retry({ failureType: 'ALL', numberOfRetries: 3 }));
    report(w, end);
    expect(w.service.executions({ jobId: 'one' }).length).toBe(1);
  });

  test('S16: neither is CANCELED', () => {
    const w = one({}, retry({ failureType: 'ALL', numberOfRetries: 3 }));
    w.service.cancelExecution('t', 'one', { force: false });
    expect(w.service.executions({ jobId: 'one' }).length).toBe(1);
  });

  test('S18: a queued retry goes with its job; what runs on under a cancelled job is not tried again', () => {
    const w = one({}, retry({ failureType: 'ALL', numberOfRetries: 3 }));
    report(w, 'FAILED');
    w.service.cancelJob('one', { force: false });
    expect(w.service.execution('t', 'one', 2).status).toBe('CANCELED');
    w.create('two', retry({ failureType: 'ALL', numberOfRetries: 3 }));
    w.service.update('t', 'two', { status: 'IN_PROGRESS' });
    w.service.cancelJob('two', { force: false });
    w.service.update('t', 'two', { status: 'FAILED' });
    expect(w.service.executions({ jobId: 'two' }).length).toBe(1);
  });
});

describe('CancelJobExecution and DeleteJobExecution', () => {
  test('C12 S5: QUEUED without force, IN_PROGRESS with it only, an end never', () => {
    const w = one();
    report(w, 'IN_PROGRESS');
    expect(refused(() => w.service.cancelExecution('t', 'one', { force: false }))).toBe(
      'InvalidStateTransition IN_PROGRESS',
    );
    w.service.cancelExecution('t', 'one', { force: true });
    for (const force of [true, false])
      expect(refused(() => w.service.cancelExecution('t', 'one', { force }))).toBe(
        'InvalidStateTransition CANCELED',
      );
    w.create('two');
    w.service.cancelExecution('t', 'two', { force: false });
    expect(statusOf(w, 'two')).toBe('CANCELED');
  });

  test('C13: a stale version is a conflict', () => {
    const w = one();
    report(w, 'IN_PROGRESS');
    const cancel = (expectedVersion: number) => (): void =>
      w.service.cancelExecution('t', 'one', { force: true, expectedVersion });
    expect(refused(cancel(1))).toBe('VersionConflict IN_PROGRESS');
    expect(refused(cancel(2))).toBe('accepted');
    expect(refused(() => w.service.cancelExecution('t', 'none', { force: true }))).toBe('ResourceNotFound');
  });

  test('C14 C15 C17 S8: details are replaced when given, force is remembered, the latest attempt is meant', () => {
    const w = one(
      {},
      { jobExecutionsRetryConfig: { criteriaList: [{ failureType: 'FAILED', numberOfRetries: 1 }] } },
    );
    report(w, 'FAILED');
    report(w, 'IN_PROGRESS', { statusDetails: { a: '1' } });
    w.service.cancelExecution('t', 'one', { force: true, statusDetails: { why: 'x' } });
    expect(w.service.execution('t', 'one')).toMatchObject({ executionNumber: 2, forceCanceled: true });
    expect(w.service.execution('t', 'one').statusDetails).toEqual({ why: 'x' });
    expect(w.service.job('one').status).toBe('COMPLETED');
    expect(w.service.jobProcessDetails('one')).toMatchObject({
      numberOfCanceledThings: 1,
      numberOfFailedThings: 0,
    });
    w.create('two');
    w.service.cancelExecution('t', 'two', { force: false });
    expect(w.service.execution('t', 'two').forceCanceled).toBeUndefined();
  });

  test('C21 S15: after the deletion of its latest attempt a thing counts by the one before', () => {
    const w = one(
      {},
      { jobExecutionsRetryConfig: { criteriaList: [{ failureType: 'FAILED', numberOfRetries: 1 }] } },
    );
    report(w, 'FAILED');
    w.service.deleteExecution('t', 'one', 2, false);
    expect(w.service.jobProcessDetails('one')).toMatchObject({
      numberOfFailedThings: 1,
      numberOfQueuedThings: 0,
    });
    expect(w.service.execution('t', 'one').executionNumber).toBe(1);
  });

  test('C21: IN_PROGRESS is deleted by force only', () => {
    const w = one();
    report(w, 'IN_PROGRESS');
    expect(refused(() => w.service.deleteExecution('t', 'one', 1, false))).toBe('InvalidStateTransition');
    w.service.deleteExecution('t', 'one', 1, true);
    expect(refused(() => w.service.execution('t', 'one'))).toBe('ResourceNotFound');
  });
});
