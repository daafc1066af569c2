import { expect, test } from 'vitest';
import { fold } from '../../src/execution/progress.ts';
import type { ExecutionRecord } from '../../src/execution/records.ts';
import { runExecution } from '../../src/execution/runner.ts';
import { UNREADABLE } from '../../src/steps/observe.ts';
import { eagerClock } from '../support/eager-clock.ts';
import { POLICY, planOf, received, step } from './story.ts';

/** The records of a rollback's end on a disk whose first `failures` reads of the device fail. */
async function verdictAfter(failures: number): Promise<string | undefined> {
  const plan = planOf(step(0));
  const id = plan.steps[0]!.touches[0]!;
  const before = { inline: { resources: [{ id, fingerprint: 'old', image: null }] } };
  const records: ExecutionRecord[] = [
    received(plan),
    { type: 'started', versionNumber: 2 },
    { type: 'ready', step: 0, before },
    { type: 'attempt', step: 0, attempt: 1, bootId: 'boot-1' },
    { type: 'failed', step: 0, reason: 'exit status 1' },
    { type: 'aborted', cause: { by: 'cloud', status: 'CANCELED' } },
    { type: 'undo', step: 0, attempt: 1 },
    { type: 'undone', step: 0, kept: [] },
    { type: 'settled' },
  ];
  let looked = 0;
  const running = runExecution(
    fold(records),
    POLICY,
    {
      plan,
      journal: { append: () => Promise.resolve() },
      bootId: 'boot-1',
      clock: eagerClock(),
      context: {},
      observe: () => {
        looked += 1;
        return Promise.resolve(new Map([[id, looked <= failures ? `${UNREADABLE}EIO` : 'old']]));
      },
      stepTypeOf: () => ({ discard: () => Promise.resolve() }),
      addReceipt: () => Promise.resolve(),
      limits: { undoAttemptsMax: 3, undoRetryMs: 1000 },
      log: { info: () => undefined, warn: () => undefined },
    } as never,
    'new',
  );
  return (await running.done).verdict?.outcome;
}

test('a resource that cannot be read once is looked at again before the device is called INCONSISTENT', async () => {
  expect(await verdictAfter(2)).toBe('rolledBack');
  expect(await verdictAfter(99)).toBe('inconsistent');
});
