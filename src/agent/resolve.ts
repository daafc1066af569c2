import { join } from 'node:path';
import type { PlanStep } from '../document/plan.ts';
import { advance, type Progress } from '../execution/progress.ts';
import type { ExecutionIdentity, ExecutionRecord } from '../execution/records.ts';
import { within } from '../host/within.ts';
import { stepTypeOf } from '../steps/registry.ts';
import type { Attempt, UndoOutcome } from '../steps/step.ts';
import { syncDirectory } from '../store/atomic-file.ts';
import { executionsDirectory } from '../store/execution-directory.ts';
import { type Journal, JournalFailed, readJournal } from '../store/journal.ts';
import type { AgentDeps } from './agent.ts';
import { type Book, type ClosedExecution, unresolved } from './book.ts';
import { contextOf, imagesOf, lift, type ProbedItem, planOf, probed, withJournal } from './repair.ts';
import { resolvedReceipt } from './side-receipts.ts';

/**
 * `evenkeel resolve`: a person answers for an INCONSISTENT device (design section 4). What is old or new again leaves
 * the list by itself; where something is left, the undos that had failed are tried again, from the same before-images
 * and into the same journal; what is left then is only taken as it is when a person says so, and why.
 */
export interface ResolveWanted {
  /** Takes what is left as it is, for this reason. */
  accept?: string;
  /** Only looks. */
  lookOnly: boolean;
}

export interface Resolution {
  jobs: readonly ResolvedJob[];
  /** Journals that cannot be believed; only accepting sets them aside. */
  corrupt: readonly { key: string; reason: string; setAside: boolean }[];
}

export interface ResolvedJob {
  jobId: string;
  executionNumber: number;
  items: readonly ProbedItem[];
  /** By name, steps whose undo was tried again, with what came of it. */
  undone: readonly { step: string; failed?: string }[];
  resolved: boolean;
}

const UNDO_AGAIN = ['notUndone', 'undoing'];

export async function resolve(
  book: Book,
  wanted: ResolveWanted,
  deps: AgentDeps,
  signal: AbortSignal,
): Promise<Resolution> {
  const jobs: ResolvedJob[] = [];
  for (const closed of unresolved(book)) jobs.push(await resolveOne(book, closed, wanted, deps, signal));
  const corrupt: { key: string; reason: string; setAside: boolean }[] = [];
  for (const [key, reason] of [...book.corrupt]) {
    const { accept } = wanted;
    if (accept !== undefined) await setAside(book, key, accept, deps);
    corrupt.push({ key, reason, setAside: accept !== undefined });
  }
  return { jobs, corrupt };
}

async function resolveOne(
  book: Book,
  closed: ClosedExecution,
  { accept, lookOnly }: ResolveWanted,
  deps: AgentDeps,
  signal: AbortSignal,
): Promise<ResolvedJob> {
  const { jobId, executionNumber } = closed.progress.identity;
  let items = await probed(closed, deps);
  let known = closed;
  let undone: ResolvedJob['undone'] = [];
  if (isLeft(items) && !lookOnly && accept === undefined) {
    const again = await undoAgain(closed, deps, signal);
    undone = again.undone;
    known = { ...closed, progress: again.progress };
    book.closed.set(closed.key, known);
    items = await probed(known, deps);
  }
  const may = !lookOnly && (!isLeft(items) || accept !== undefined);
  if (may) {
    const reason = accept ?? 'every item is old or new again';
    await lift(book, known, items, { kind: 'person', reason }, deps);
  }
  return { jobId, executionNumber, items, undone, resolved: may };
}

function isLeft(items: readonly ProbedItem[]): boolean {
  return items.some(({ now }) => now === 'neither');
}

/** The undos that had failed, last first; then the restarts of what they put back. */
async function undoAgain(
  closed: ClosedExecution,
  deps: AgentDeps,
  signal: AbortSignal,
): Promise<{ undone: ResolvedJob['undone']; progress: Progress }> {
  const undone: { step: string; failed?: string }[] = [];
  let { progress } = closed;
  // The before-images of another machine say nothing about this one.
  if (progress.origin.machineId !== deps.machineId) return { undone, progress };
  const plan = await planOf(closed, deps);
  await withJournal(closed, deps, async (journal) => {
    for (const step of plan.steps.toReversed()) {
      if (signal.aborted || !UNDO_AGAIN.includes(progress.steps[step.index]?.phase ?? '')) continue;
      const tried = await undoOne({ ...closed, progress }, step, journal, deps, signal);
      progress = tried.progress;
      undone.push({ step: step.name, ...(tried.failed !== undefined && { failed: tried.failed }) });
    }
  });
  const settled = new Set<PlanStep['touches'][number]>();
  const { before } = await imagesOf({ ...closed, progress }, deps);
  for (const step of plan.steps) {
    const image = before.get(step.index);
    if (!image || !undone.some(({ step: name, failed }) => name === step.name && failed === undefined))
      continue;
    await stepTypeOf(step).settle?.(step, image, contextOf(closed, plan, deps), settled);
  }
  return { undone, progress };
}

async function undoOne(
  closed: ClosedExecution,
  step: PlanStep,
  journal: Journal,
  deps: AgentDeps,
  signal: AbortSignal,
): Promise<{ progress: Progress; failed?: string }> {
  const { index } = step;
  const { limits } = deps.settings;
  let { progress } = closed;
  const put = async (record: ExecutionRecord): Promise<void> => {
    await journal.append([{ at: deps.clock.wallMs(), ...record }]);
    progress = advance(progress, record);
  };
  const { undoAttempts = 0, process, undoProcess } = progress.steps[index] ?? {};
  // I5: nothing of the step, nor of an undo that was cut short, may be alive.
  for (const left of [process, undoProcess]) if (left) await deps.processes.fence(left, limits.graceMs);
  await put({ type: 'undo', step: index, attempt: undoAttempts + 1 });
  const attempt: Attempt = {
    number: undoAttempts + 1,
    record: (identity) => put({ type: 'process', step: index, direction: 'undo', identity }),
  };
  const outcome = await within(limits.undoTimeoutMs, deps.clock, signal, (both) =>
    tryUndo(closed, step, attempt, deps, both),
  );
  if (outcome.result === 'ok') {
    await put({ type: 'undone', step: index, kept: outcome.kept });
    return { progress };
  }
  await put({ type: 'undoFailed', step: index, reason: outcome.reason, final: true });
  return { progress, failed: outcome.reason };
}

async function tryUndo(
  closed: ClosedExecution,
  step: PlanStep,
  attempt: Attempt,
  deps: AgentDeps,
  signal: AbortSignal,
): Promise<UndoOutcome> {
  try {
    const { before, after } = await imagesOf(closed, deps);
    const image = before.get(step.index);
    if (!image) return { result: 'failed', reason: 'its before-image is lost' };
    const context = contextOf(closed, await planOf(closed, deps), deps);
    return await stepTypeOf(step).undo(step, image, after.get(step.index), attempt, context, signal);
  } catch (error) {
    if (error instanceof JournalFailed) throw error;
    return { result: 'failed', reason: (error as Error).message };
  }
}

/** A journal that says nothing certain: kept under another name, for whoever wants to look into it. */
async function setAside(book: Book, key: string, reason: string, deps: AgentDeps): Promise<void> {
  const { disk, settings, outbox } = deps;
  const directory = join(executionsDirectory(settings.stateDirectory), key);
  const read = await readJournal(disk, join(directory, 'journal')).catch(() => undefined);
  const first = read?.kind === 'corrupt' ? (read.records[0] as Partial<Received> | undefined) : undefined;
  const identity = first?.identity ?? { thing: settings.thing, jobId: key, executionNumber: 1, queuedAt: 0 };
  const why = { kind: 'person' as const, reason, accepted: [], states: new Set(['neither' as const]) };
  await outbox.add(`${key}-resolved`, resolvedReceipt(identity, { ...why, cloudStatus: undefined }, deps));
  await disk.rename(directory, `${directory}.corrupt`);
  await syncDirectory(disk, executionsDirectory(settings.stateDirectory));
  book.corrupt.delete(key);
}

interface Received {
  identity: ExecutionIdentity;
}
