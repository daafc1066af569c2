import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { nodeDisk } from '../../src/host/node-disk.ts';
import { openOutbox, RECEIPTS_MAX } from '../../src/receipts/outbox.ts';
import type { Receipt } from '../../src/receipts/receipt.ts';

/** The outbox of a device whose channels stay refused. */

const TEST_MS = 60_000;

function receipt(endedAt: number, more: Partial<Receipt> = {}): Receipt {
  return {
    format: 1,
    thing: 'd',
    jobId: `job-${endedAt}`,
    executionNumber: 1,
    queuedAt: 1,
    cloudStatus: 'CANCELED',
    outcome: 'rolledBack',
    deviceState: 'old',
    verified: true,
    cause: { kind: 'cloud', reason: 'the cloud ended the execution: CANCELED' },
    undone: [],
    notUndone: [],
    items: [],
    kept: [],
    endedAt,
    bootId: 'boot',
    agentVersion: '0.0.0',
    ...more,
  };
}

test('it keeps what matters most: the least important goes first, of that the oldest, and never what is not undone', {
  timeout: TEST_MS,
}, async () => {
  const directory = await mkdtemp('/var/tmp/evenkeel-outbox-');
  onTestFinished(() => rm(directory, { recursive: true }));
  const warnings: object[] = [];
  const outbox = await openOutbox(nodeDisk, join(directory, 'outbox'), {
    warn: (fields) => void warnings.push(fields),
    error: () => undefined,
  });
  await outbox.add('inconsistent', receipt(1, { outcome: 'inconsistent', deviceState: 'inconsistent' }));
  await outbox.add('notReversed', receipt(2, { outcome: 'notReversed', deviceState: 'unknown' }));
  await outbox.add('doubt', receipt(3, { outcome: 'committed', exception: 'endedInDoubt' }));
  for (let at = 4; at < RECEIPTS_MAX; at += 1) await outbox.add(`back-${at}`, receipt(at));
  await outbox.add('observed', receipt(RECEIPTS_MAX, { outcome: 'observed' }));
  expect(await outbox.pending()).toHaveLength(RECEIPTS_MAX);
  expect(warnings).toEqual([]);

  // What waits under the same id is replaced, and takes no room.
  await outbox.add('back-4', receipt(4));
  expect(await outbox.pending()).toHaveLength(RECEIPTS_MAX);
  expect(warnings).toEqual([]);

  for (const at of [1, 2, 3]) await outbox.add(`late-${at}`, receipt(RECEIPTS_MAX + at));
  const kept = await outbox.pending();
  expect(kept).toHaveLength(RECEIPTS_MAX);
  expect(kept.slice(0, 4)).toEqual(['inconsistent', 'notReversed', 'doubt', 'back-6']);
  expect(kept).not.toContain('observed');
  expect(warnings).toMatchObject([
    { outcome: 'observed', dropped: 1 },
    { jobId: 'job-4', dropped: 2 },
    { jobId: 'job-5', dropped: 3 },
  ]);
});
