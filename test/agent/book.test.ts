import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openBook, prune, strandedBy } from '../../src/agent/book.ts';
import type { ExecutionRecord } from '../../src/execution/records.ts';
import type { Disk } from '../../src/host/disk.ts';
import { createExecutionDirectory } from '../../src/store/execution-directory.ts';
import { openJournal } from '../../src/store/journal.ts';
import { planOf, received, step } from '../execution/story.ts';
import { createForgetfulDisk } from '../support/forgetful-disk.ts';

const STATE = '/state';
const log = { error: () => undefined, info: () => undefined } as never;
const OPERATIONS_MAX = 40;

/** A state directory with one closed execution. */
async function closedExecution(disk: Disk): Promise<string> {
  const plan = planOf(step(0));
  const first = received(plan) as ExecutionRecord & { type: 'received' };
  const { directory } = await createExecutionDirectory(disk, STATE, first.identity, {
    plan: { plan, document: {} },
    capacityBlocks: 8,
    head: (planSha256) => ({ ...first, planSha256 }),
  });
  const opened = await openJournal(disk, join(directory, 'journal'));
  if (opened.kind !== 'ok') throw new Error(opened.kind);
  const verdict = { outcome: 'rolledBack', verified: true, items: [], notUndone: [] } as const;
  await opened.journal.append([
    { type: 'aborted', cause: { by: 'local', reason: 'r' } },
    { type: 'settled' },
    { type: 'judged', verdict },
    { type: 'reported', cloudStatus: 'FAILED' },
    { type: 'closed' },
  ]);
  await opened.journal.close();
  return directory;
}

test('an execution that is forgotten while the power fails strands nobody', async () => {
  for (let at = 1; at <= OPERATIONS_MAX; at += 1) {
    const forgetful = createForgetfulDisk({ mounts: [STATE] });
    await closedExecution(forgetful.begin().disk);
    let operations = 0;
    const life = forgetful.begin(() => {
      operations += 1;
      return operations < at ? undefined : { kind: 'end', when: 'before', finish: () => undefined };
    });
    const book = await openBook(forgetful.begin().disk, STATE, log);
    const pruned = prune(life.disk, book, 0).then(() => 'done');
    const how = await Promise.race([pruned, new Promise((resolve) => setImmediate(() => resolve('ended')))]);
    life.end();
    const next = await openBook(forgetful.begin().disk, STATE, log);
    expect({ at, stranded: strandedBy(next) }).toEqual({ at, stranded: undefined });
    if (how === 'done') return;
  }
  expect.fail('it never came to its end');
});

test('a directory without a journal tells nothing certain: INCONSISTENT, and the agent stays up', async () => {
  const { disk } = createForgetfulDisk({ mounts: [STATE] }).begin();
  const directory = await closedExecution(disk);
  await disk.unlink(join(directory, 'journal'));
  const book = await openBook(disk, STATE, log);
  expect(strandedBy(book)).toMatchObject({ why: 'inconsistent', reason: expect.stringContaining('missing') });
});
