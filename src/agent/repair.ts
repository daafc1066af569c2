import { join } from 'node:path';
import type { Plan } from '../document/plan.ts';
import { expectations, type Images, lastAfterImages } from '../execution/verdict.ts';
import { observe } from '../steps/observe.ts';
import type { After, Before } from '../steps/step.ts';
import { resolveAttachment } from '../store/attachment.ts';
import { openJournal } from '../store/journal.ts';
import type { AgentDeps } from './agent.ts';
import { type Book, type ClosedExecution, unresolved } from './book.ts';
import { resolvedReceipt } from './side-receipts.ts';

/**
 * After a repair has committed: every item of the INCONSISTENT list is probed again. Items that are old or new, or that
 * the repair's document accepts, leave it; an empty list lifts the mark, with a receipt (design section 4).
 */
export async function resolveAfterRepair(book: Book, repair: Plan, deps: AgentDeps): Promise<void> {
  for (const closed of unresolved(book)) {
    const left = await stillDifferent(closed, repair, deps);
    if (left.length > 0) {
      deps.log.warn({ items: left }, 'the repair has not mended everything');
      continue;
    }
    const items = (closed.progress.verdict?.items ?? []).map(({ id }) => id);
    const opened = await openJournal(deps.disk, join(closed.directory, 'journal'));
    if (opened.kind !== 'ok') throw new Error(`cannot open the journal ${closed.key}: it is ${opened.kind}`);
    const reason = 'a repair has committed';
    await deps.outbox.add(`${closed.key}-resolved`, resolvedReceipt(closed.progress.identity, reason, deps));
    await opened.journal.append([{ at: deps.clock.wallMs(), type: 'resolved', reason, items }]);
    await opened.journal.close();
    book.closed.set(closed.key, { ...closed, progress: { ...closed.progress, resolved: true } });
  }
}

async function stillDifferent(closed: ClosedExecution, repair: Plan, deps: AgentDeps): Promise<string[]> {
  const images = await imagesOf(closed, deps);
  const expected = expectations(closed.progress, images);
  const last = lastAfterImages(images);
  const ids = (closed.progress.verdict?.items ?? [])
    .map(({ id }) => id)
    .filter((id) => !repair.accept.includes(id));
  const found = await observe(ids, deps);
  return ids.filter((id) => {
    const now = found.get(id);
    return now === undefined || (now !== expected.get(id)?.old && now !== last.get(id));
  });
}

async function imagesOf({ progress, directory }: ClosedExecution, deps: AgentDeps): Promise<Images> {
  const before = new Map<number, Before>();
  const after = new Map<number, After>();
  for (const [index, step] of progress.steps.entries()) {
    const old = step.before && (await resolveAttachment(deps.disk, directory, step.before));
    const done = step.after && (await resolveAttachment(deps.disk, directory, step.after));
    if (old?.ok) before.set(index, old.value as unknown as Before);
    if (done?.ok) after.set(index, done.value as unknown as After);
  }
  return { before, after };
}
