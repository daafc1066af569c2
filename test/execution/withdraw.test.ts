import { expect, test } from 'vitest';
import type { Answer, Stopped } from '../../src/execution/cloud.ts';
import { fold } from '../../src/execution/progress.ts';
import type { ExecutionRecord } from '../../src/execution/records.ts';
import { runExecution } from '../../src/execution/runner.ts';
import { eagerClock } from '../support/eager-clock.ts';
import { POLICY, planOf, received, step } from './story.ts';

/**
 * I2, P23, P24: a vote that is out can arrive at any time. It is taken back only by an update that was accepted, which
 * makes every copy of it stale; until then nothing is undone.
 */

const PLAN = planOf(step(0));
const ID = PLAN.steps[0]!.touches[0]!;
const IMAGE = { inline: { resources: [{ id: ID, fingerprint: 'old', image: null }] } };
const VOTED_FOR = 4;
const STORY: readonly ExecutionRecord[] = [
  received(PLAN),
  { type: 'started', versionNumber: 2 },
  { type: 'ready', step: 0, before: IMAGE },
  { type: 'attempt', step: 0, attempt: 1, bootId: 'boot-1' },
  { type: 'done', step: 0, after: { inline: { resources: [{ id: ID, fingerprint: 'new' }] } } },
  { type: 'prepared', versionNumber: VOTED_FOR },
  { type: 'proposed', expectedVersion: VOTED_FOR },
];

/** The execution in the cloud; a copy of SUCCEEDED for the version of the vote is still on its way. */
class Voted {
  status = 'IN_PROGRESS';
  version = VOTED_FOR;

  /** An update, as the service takes it. */
  update(status: string, expectedVersion: number): boolean {
    if (this.status !== 'IN_PROGRESS' || expectedVersion !== this.version) return false;
    this.status = status;
    this.version += 1;
    return true;
  }
}

const untilStopped = (signal: AbortSignal): Promise<Stopped> =>
  new Promise((resolve) => signal.addEventListener('abort', () => resolve({ kind: 'stopped' })));

/** Runs from the vote on, with a cancel by a person; `fence` answers the update that shall take it back. */
function cancelled(
  voted: Voted,
  fence: (signal: AbortSignal) => Promise<Answer | Stopped>,
  story: readonly ExecutionRecord[] = STORY,
) {
  const records: string[] = [];
  let device = 'new';
  const running = runExecution(
    fold(story),
    POLICY,
    {
      plan: PLAN,
      journal: {
        append: (added: readonly ExecutionRecord[]) => {
          records.push(...added.map(({ type }) => type));
          return Promise.resolve();
        },
      },
      cloud: {
        propose: (_details: unknown, _before: unknown, signal: AbortSignal) => untilStopped(signal),
        fence: (_details: unknown, signal: AbortSignal) => fence(signal),
        report: (status: string): Promise<Answer> => {
          voted.update(status, voted.version);
          return Promise.resolve({ kind: 'ours', versionNumber: voted.version });
        },
        progress: () => undefined,
      },
      bootId: 'boot-1',
      clock: eagerClock(),
      context: {},
      observe: () => Promise.resolve(new Map([[ID, device]])),
      stepTypeOf: () => ({
        undo: () => {
          device = 'old';
          return Promise.resolve({ result: 'ok', kept: [] });
        },
        discard: () => Promise.resolve(),
      }),
      output: {},
      addReceipt: () => Promise.resolve(),
      limits: { undoAttemptsMax: 3, undoRetryMs: 1, undoTimeoutMs: 1e6, finishAttemptsMax: 1 },
      log: { info: () => undefined, warn: () => undefined },
    } as never,
    'new',
  );
  if (story === STORY) running.send({ type: 'CANCEL', cause: { by: 'local', reason: 'a person' } });
  return { running, records, device: () => device };
}

test('a late copy of a vote that was taken back changes nothing', async () => {
  const voted = new Voted();
  const { running, records, device } = cancelled(voted, () => {
    voted.update('IN_PROGRESS', voted.version);
    return Promise.resolve({ kind: 'ours', versionNumber: voted.version });
  });
  // The copy arrives when the device has just decided, and again at the end.
  let arrived = false;
  while (!records.includes('aborted')) await new Promise(setImmediate);
  arrived ||= voted.update('SUCCEEDED', VOTED_FOR);
  await running.done;
  arrived ||= voted.update('SUCCEEDED', VOTED_FOR);
  expect({ arrived, status: voted.status, device: device() }).toEqual({
    arrived: false,
    status: 'FAILED',
    device: 'old',
  });
  expect(records.indexOf('withdrawn')).toBeLessThan(records.indexOf('undo'));
});

test('nothing is undone while the update that takes the vote back has no answer', async () => {
  const voted = new Voted();
  const { running, records, device } = cancelled(voted, untilStopped);
  while (running.move !== 'withdrawing') await new Promise(setImmediate);
  running.send({ type: 'DRAIN' });
  const progress = await running.done;
  expect(progress.phase).toBe('proposed');
  expect({ records, device: device() }).toEqual({ records: ['withdrawing'], device: 'new' });
});

test('a vote that was accepted before it could be taken back is the commit', async () => {
  const voted = new Voted();
  const { running, records, device } = cancelled(voted, () => {
    voted.update('SUCCEEDED', VOTED_FOR);
    return Promise.resolve({ kind: 'ended', status: 'SUCCEEDED' });
  });
  const progress = await running.done;
  expect({ commit: progress.commit, device: device() }).toEqual({ commit: 'ownSuccess', device: 'new' });
  expect(records).not.toContain('undo');
});

test('the wish to take it back outlives a restart: the vote is not sent again', async () => {
  const voted = new Voted();
  const cause = { by: 'local', reason: 'a person' } as const;
  const { running, records, device } = cancelled(voted, () => {
    voted.update('IN_PROGRESS', voted.version);
    return Promise.resolve({ kind: 'ours', versionNumber: voted.version });
  }, [...STORY, { type: 'withdrawing', cause }]);
  const progress = await running.done;
  expect({ cause: progress.cause, device: device(), status: voted.status }).toEqual({
    cause,
    device: 'old',
    status: 'FAILED',
  });
  expect(records).not.toContain('proposed');
});
