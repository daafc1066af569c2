import { join } from 'node:path';
import type { Plan, ResourceId } from '../document/plan.ts';
import { advance } from '../execution/progress.ts';
import type { ExecutionRecord } from '../execution/records.ts';
import { expectations, type Images, lastAfterImages } from '../execution/verdict.ts';
import { observe } from '../steps/observe.ts';
import { homesOf } from '../steps/own-directory.ts';
import { stepTypeOf } from '../steps/registry.ts';
import type { After, Before } from '../steps/step.ts';
import { resolveAttachment } from '../store/attachment.ts';
import { readPlan } from '../store/execution-directory.ts';
import { type Journal, JournalFailed, openJournal } from '../store/journal.ts';
import type { AgentDeps } from './agent.ts';
import { type Book, type ClosedExecution, type StoredPlan, unresolved } from './book.ts';
import { resolvedReceipt } from './side-receipts.ts';

/** An item of an INCONSISTENT list, as it is found now. */
export interface ProbedItem {
  id: ResourceId;
  now: 'old' | 'new' | 'neither';
}

/**
 * After a repair has committed: every item of the INCONSISTENT list is probed again. Items that are old or new, or that
 * the repair's document accepts, leave it; an empty list lifts the mark, with a receipt (design section 4). That this was
 * done is noted in the repair's own journal, for a life may end before it.
 */
export async function resolveAfterRepair(
  book: Book,
  repair: ClosedExecution,
  { accept }: Plan,
  deps: AgentDeps,
): Promise<void> {
  for (const closed of unresolved(book)) {
    const items = await probed(closed, deps);
    const left = items.filter(({ id, now }) => now === 'neither' && !accept.includes(id));
    if (left.length > 0) {
      deps.log.warn({ items: left.map(({ id }) => id) }, 'the repair has not mended everything');
      continue;
    }
    await lift(book, closed, items, { kind: 'repair', reason: 'a repair has committed' }, deps);
  }
  await markResolved(book, repair, 'looked at what it has mended', [], deps);
}

/** Looks at what repairs have mended, where a life has ended before it could. */
export async function finishRepairs(book: Book, deps: AgentDeps): Promise<void> {
  if (unresolved(book).length === 0) return;
  for (const closed of book.closed.values()) {
    if (closed.progress.commit === undefined || closed.progress.resolved) continue;
    const plan = await planOf(closed, deps).catch(() => undefined);
    if (plan?.repair) await resolveAfterRepair(book, closed, plan, deps);
  }
}

/** The items of a list, each compared with what it was before the job and after its last step. */
export async function probed(closed: ClosedExecution, deps: AgentDeps): Promise<ProbedItem[]> {
  const images = await imagesOf(closed, deps);
  const expected = expectations(closed.progress, images);
  const last = lastAfterImages(images);
  const ids = (closed.progress.verdict?.items ?? []).map(({ id }) => id);
  const found = await observe(ids, deps);
  return ids.map((id) => {
    const now = found.get(id);
    if (now === undefined) return { id, now: 'neither' };
    if (now === expected.get(id)?.old) return { id, now: 'old' };
    return { id, now: now === last.get(id) ? 'new' : 'neither' };
  });
}

/** Lifts the mark: the receipt is durable first, so that it goes out even when this is cut short and done again. */
export async function lift(
  book: Book,
  closed: ClosedExecution,
  items: readonly ProbedItem[],
  why: { kind: 'repair' | 'person'; reason: string },
  deps: AgentDeps,
): Promise<void> {
  const { identity, cloudStatus } = closed.progress;
  const accepted = items.filter(({ now }) => now === 'neither').map(({ id }) => id);
  const states = new Set(items.map(({ now }) => now));
  const receipt = resolvedReceipt(identity, { ...why, accepted, states, cloudStatus }, deps);
  await deps.outbox.add(`${closed.key}-resolved`, receipt);
  // Before the mark is gone: what is cut short here is done again.
  await discard(closed, deps);
  const ids = items.map(({ id }) => id);
  await markResolved(book, closed, why.reason, ids, deps);
  deps.log.info({ jobId: identity.jobId, ...why, accepted }, 'resolved');
}

async function markResolved(
  book: Book,
  closed: ClosedExecution,
  reason: string,
  items: readonly ResourceId[],
  deps: AgentDeps,
): Promise<void> {
  const record: ExecutionRecord = { type: 'resolved', reason, items };
  await withJournal(closed, deps, (journal) => journal.append([{ at: deps.clock.wallMs(), ...record }]));
  book.closed.set(closed.key, { ...closed, progress: advance(closed.progress, record) });
}

/** Nobody needs the undo data any more. */
async function discard(closed: ClosedExecution, deps: AgentDeps): Promise<void> {
  try {
    const plan = await planOf(closed, deps);
    const context = contextOf(closed, plan, deps);
    for (const step of plan.steps) await stepTypeOf(step).discard(step, context);
  } catch (error) {
    deps.log.warn({ error: String(error) }, 'cannot remove the undo data');
  }
}

export async function planOf({ directory, progress }: ClosedExecution, { disk }: AgentDeps): Promise<Plan> {
  const stored = (await readPlan(disk, directory, progress.planSha256)) as StoredPlan | undefined;
  if (!stored) throw new Error('its plan is lost');
  return stored.plan;
}

export function contextOf({ key, directory }: ClosedExecution, plan: Plan, deps: AgentDeps) {
  return {
    ...deps.stepContext(key, directory),
    homeOf: homesOf(plan),
    freshUrl: () => Promise.reject(new Error('internal error: an undo fetches nothing')),
  };
}

export async function withJournal<T>(
  { key, directory }: ClosedExecution,
  { disk }: AgentDeps,
  work: (journal: Journal) => Promise<T>,
): Promise<T> {
  const opened = await openJournal(disk, join(directory, 'journal'));
  if (opened.kind !== 'ok') throw new JournalFailed(`cannot open the journal ${key}: it is ${opened.kind}`);
  try {
    return await work(opened.journal);
  } finally {
    await opened.journal.close();
  }
}

export async function imagesOf(
  { progress, directory }: ClosedExecution,
  deps: Pick<AgentDeps, 'disk'>,
): Promise<Images> {
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
