import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { Disk } from '../../src/host/disk.ts';
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

test('I8: a receipt that the disk cannot give now is not set aside: it waits, and goes', {
  timeout: TEST_MS,
}, async () => {
  const directory = await mkdtemp('/var/tmp/evenkeel-outbox-');
  onTestFinished(() => rm(directory, { recursive: true }));
  let failing = true;
  const disk: Disk = {
    ...nodeDisk,
    openFile: (path, flags, mode) =>
      failing
        ? Promise.reject(Object.assign(new Error(`EIO: ${path}`), { code: 'EIO' }))
        : nodeDisk.openFile(path, flags, mode),
  };
  const said: string[] = [];
  const log = { warn: (_: object, text: string) => said.push(text), error: () => expect.fail('set aside') };
  await (await openOutbox(nodeDisk, directory, log)).add('one', receipt(1));
  const outbox = await openOutbox(disk, directory, log);
  const delivered: string[] = [];
  const deliver = (id: string): Promise<boolean> => Promise.resolve(delivered.push(id) > 0);
  const { signal } = new AbortController();

  await outbox.drain(deliver, signal);
  expect(delivered).toEqual([]);
  expect(said).toEqual(['a receipt cannot be read now']);
  expect(await outbox.pending()).toEqual(['one']);

  failing = false;
  await outbox.drain(deliver, signal);
  expect(delivered).toEqual(['one']);
  expect(await outbox.pending()).toEqual([]);
});
