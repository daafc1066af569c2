import { describe, expect, test } from 'vitest';
import { Exchange, type Known } from '../../src/agent/exchange.ts';
import type { ErrorCode, ExecutionStatus } from '../../src/jobs/classify.ts';
import type { Reply, UpdateAccepted, UpdateRequest } from '../../src/jobs/client.ts';
import type { JobExecution } from '../../src/jobs/messages.ts';

/**
 * I7: what each answer of the cloud means, row by row as in the table of design section 5. `update` and `describe`
 * answer one after another as written; a question that the table does not foresee fails the test.
 */

type Script = { update?: Reply<UpdateAccepted>[]; describe?: Reply<JobExecution | undefined>[] };

const IDENTITY = { thing: 't', jobId: 'job-1', executionNumber: 1, queuedAt: 100 };
const log = { warn: () => undefined } as never;

const rejected = (code: ErrorCode, status?: ExecutionStatus, versionNumber = 9): Reply<never> => ({
  kind: 'rejected',
  code,
  rawCode: code,
  message: 'm',
  ...(status && { executionState: { status, versionNumber } }),
});
const noAnswer: Reply<never> = { kind: 'noAnswer', reason: 'late' };
const accepted: Reply<UpdateAccepted> = {
  kind: 'accepted',
  value: { executionState: { status: 'IN_PROGRESS', versionNumber: 6 }, jobDocument: undefined },
};
const described = (change: Partial<JobExecution>): Reply<JobExecution> => ({
  kind: 'accepted',
  value: {
    ...IDENTITY,
    versionNumber: 5,
    status: 'IN_PROGRESS',
    approximateSecondsBeforeTimedOut: undefined,
    jobDocument: {},
    ...change,
  },
});

function exchange(script: Script, known: Partial<Known> = {}) {
  const asked: UpdateRequest[] = [];
  const next = <T>(list: T[] | undefined, what: string): Promise<T> => {
    const reply = list?.shift();
    return reply === undefined ? Promise.reject(new Error(`one ${what} too many`)) : Promise.resolve(reply);
  };
  const jobs = {
    describe: () => next(script.describe, 'describe'),
    update: (_: string, request: UpdateRequest) => {
      asked.push(request);
      return next(script.update, 'update');
    },
  };
  const of = new Exchange(
    { identity: IDENTITY, jobs, clock: { monotonicMs: () => 0 }, log, stepTimerMinutes: 60 },
    { versionNumber: 5, started: true, proposed: false, ...known },
  );
  return { of, asked, left: () => (script.update?.length ?? 0) + (script.describe?.length ?? 0) };
}

const ours = (versionNumber: number) => ({ kind: 'ours', versionNumber });
const ended = (status: string) => ({ kind: 'ended', status });
const NOTHING = { kind: 'nothing' };

describe('an update is answered', () => {
  test.each<[string, Script, object, Partial<Known>?]>([
    ['accepted', { update: [accepted] }, ours(6)],
    ['not at all', { update: [noAnswer] }, NOTHING],
    ['with throttling', { update: [rejected('RequestThrottled')] }, NOTHING],
    ['with a fault of the service', { update: [rejected('InternalError')] }, NOTHING],
    ['with a code that nobody knows', { update: [rejected('unknown')] }, NOTHING],
    [
      'E4: ended, with the state',
      { update: [rejected('InvalidStateTransition', 'CANCELED')] },
      ended('CANCELED'),
    ],
    ['E13: stale, and ended', { update: [rejected('VersionMismatch', 'TIMED_OUT')] }, ended('TIMED_OUT')],
    [
      'ended, without a state, before the vote',
      { update: [rejected('TerminalStateReached')] },
      ended('unknown'),
    ],
    [
      'ended, without a state, after the vote: a stale version makes the service tell',
      { update: [rejected('InvalidStateTransition'), rejected('VersionMismatch', 'SUCCEEDED')] },
      ended('SUCCEEDED'),
      { proposed: true },
    ],
    [
      'ended, without a state even then',
      { update: [rejected('TerminalStateReached'), rejected('InvalidStateTransition')] },
      ended('unknown'),
      { proposed: true },
    ],
    [
      'stale, and the execution is ours: a lost answer, its version is adopted',
      { update: [rejected('VersionMismatch', 'IN_PROGRESS')], describe: [described({ versionNumber: 7 })] },
      ours(7),
    ],
    [
      'A21: stale, and the execution is a successor: its version is not adopted',
      { update: [rejected('VersionMismatch')], describe: [described({ queuedAt: 101, versionNumber: 1 })] },
      ended('deleted'),
    ],
    [
      'stale, and another number is there',
      { update: [rejected('VersionMismatch')], describe: [described({ executionNumber: 2 })] },
      ended('deleted'),
    ],
    [
      'stale, and it is QUEUED again though we had started it',
      { update: [rejected('VersionMismatch')], describe: [described({ status: 'QUEUED' })] },
      ended('deleted'),
    ],
    [
      'not found once, and described all the same',
      { update: [rejected('ResourceNotFound')], describe: [described({})] },
      ours(5),
    ],
    [
      'not found twice',
      { update: [rejected('ResourceNotFound')], describe: [rejected('ResourceNotFound')] },
      ended('deleted'),
    ],
    [
      'not found, and then nobody answers',
      { update: [rejected('ResourceNotFound')], describe: [noAnswer] },
      NOTHING,
    ],
  ])('%s', async (_, script, meaning, known) => {
    const { of, left } = exchange(script, known);
    const { heard } = await of.say('IN_PROGRESS', { phase: 'p' });
    expect(heard).toMatchObject(meaning);
    expect(left()).toBe(0);
  });

  test('E3: with a complaint about the details: the least of them is sent again', async () => {
    const { of, asked } = exchange({ update: [rejected('InvalidRequest'), accepted] });
    const { heard } = await of.say('SUCCEEDED', { outcome: 'committed', stdout: 'x' });
    expect(heard).toEqual(ours(6));
    expect(asked.map(({ statusDetails }) => statusDetails)).toEqual([
      { outcome: 'committed', stdout: 'x' },
      { outcome: 'committed' },
    ]);
  });

  test('S14: every update names number and version', async () => {
    const { of, asked } = exchange({ update: [accepted, accepted] });
    await of.say('IN_PROGRESS', {});
    await of.say('IN_PROGRESS', {});
    expect(asked.map(({ expectedVersion, executionNumber }) => [expectedVersion, executionNumber])).toEqual([
      [5, 1],
      [6, 1],
    ]);
  });
});

describe('a question is answered', () => {
  test.each<[string, Script, object, Partial<Known>?]>([
    ['IN_PROGRESS', { describe: [described({})] }, ours(5)],
    ['with nothing inside', { describe: [{ kind: 'accepted', value: undefined }] }, NOTHING],
    ['not at all', { describe: [noAnswer] }, NOTHING],
    ['with throttling', { describe: [rejected('RequestThrottled')] }, NOTHING],
    [
      'E9: ended, which an update then names',
      {
        describe: [rejected('TerminalStateReached')],
        update: [rejected('InvalidStateTransition', 'REMOVED')],
      },
      ended('REMOVED'),
    ],
    [
      'E9: ended, and the update gets no answer',
      { describe: [rejected('TerminalStateReached')], update: [noAnswer] },
      NOTHING,
    ],
    [
      'not found, and the update neither',
      { describe: [rejected('ResourceNotFound')], update: [rejected('ResourceNotFound')] },
      ended('deleted'),
    ],
    [
      'A5: not found, and the update is accepted',
      { describe: [rejected('ResourceNotFound')], update: [accepted] },
      ours(6),
    ],
    [
      'not found, and the update is stale on an execution that goes on: a contradiction is no evidence',
      { describe: [rejected('ResourceNotFound')], update: [rejected('VersionMismatch', 'IN_PROGRESS')] },
      NOTHING,
    ],
    [
      'ended, and the update is stale on an execution that goes on: a contradiction is no evidence',
      { describe: [rejected('TerminalStateReached')], update: [rejected('VersionMismatch', 'IN_PROGRESS')] },
      NOTHING,
    ],
    [
      'ended, and throttled when asked how',
      { describe: [rejected('TerminalStateReached')], update: [rejected('RequestThrottled')] },
      NOTHING,
    ],
  ])('%s', async (_, script, meaning, known) => {
    const { of, left } = exchange(script, known);
    expect(await of.ask()).toMatchObject(meaning);
    expect(left()).toBe(0);
  });
});
