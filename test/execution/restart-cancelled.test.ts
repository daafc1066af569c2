import { expect, test } from 'vitest';
import { fold } from '../../src/execution/progress.ts';
import type { ExecutionRecord } from '../../src/execution/records.ts';
import { runExecution } from '../../src/execution/runner.ts';
import { eagerClock } from '../support/eager-clock.ts';
import { POLICY, planOf, received, step } from './story.ts';

/** A cancel is heard while the device goes down for a step of the job; the next boot finds the job turned back. */
test('a restart that was cancelled on its way down is undone in the next boot, and never called done', async () => {
  const plan = planOf({ ...step(0, { endsBoot: true }), touches: [] } as never);
  const records: ExecutionRecord[] = [
    received(plan),
    { type: 'started', versionNumber: 2 },
    { type: 'ready', step: 0, before: { inline: { resources: [] } } },
    { type: 'fenced', step: 0, versionNumber: 3 },
    { type: 'attempt', step: 0, attempt: 1, bootId: 'boot-1' },
    { type: 'interrupted', step: 0, reason: 'stopped: ended by the cloud' },
    { type: 'aborted', cause: { by: 'cloud', status: 'CANCELED' } },
  ];
  const written: string[] = [];
  const running = runExecution(
    fold(records),
    POLICY,
    {
      plan,
      journal: {
        append: (record: ExecutionRecord) => {
          written.push(record.type);
          return Promise.resolve();
        },
      },
      bootId: 'boot-2',
      clock: eagerClock(),
      context: {},
      observe: () => Promise.resolve(new Map()),
      stepTypeOf: () => ({
        undo: () => Promise.resolve({ result: 'ok', kept: [] }),
        discard: () => Promise.resolve(),
      }),
      addReceipt: () => Promise.resolve(),
      limits: { undoAttemptsMax: 3, undoRetryMs: 1000, undoTimeoutMs: 60_000, graceMs: 10 },
      log: { info: () => undefined, warn: () => undefined },
    } as never,
    'resumed',
  );
  expect((await running.done).verdict?.outcome).toBe('rolledBack');
  expect(written).not.toContain('done');
});
