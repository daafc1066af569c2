import { join } from 'node:path';
import type { Plan } from '../document/plan.ts';
import { assumeLost, fold, ImpossibleStory, type Progress } from '../execution/progress.ts';
import type { ExecutionIdentity, ExecutionRecord } from '../execution/records.ts';
import type { Disk } from '../host/disk.ts';
import type { Log } from '../host/log.ts';
import {
  cleanLeftovers,
  executionKey,
  listExecutions,
  readPlan,
  removeExecution,
} from '../store/execution-directory.ts';
import { type Journal, openJournal, readJournal } from '../store/journal.ts';
import type { Stranded } from './agent-machine.ts';

/** Every execution that this device has a journal of, by key. The journals are the truth; this is their index. */
export interface Book {
  /** Executions to go on with, oldest first. */
  open: Map<string, OpenExecution>;
  closed: Map<string, ClosedExecution>;
  /** Journals that tell nothing certain any more, with the reason. */
  corrupt: Map<string, string>;
  /** A journal that only a newer agent can read, or a disk that cannot be read: nothing may be started. */
  blocked: Stranded | undefined;
}

export interface OpenExecution {
  key: string;
  directory: string;
  journal: Journal;
  progress: Progress;
  stored: StoredPlan;
  life: 'new' | 'resumed';
}

export interface ClosedExecution {
  key: string;
  directory: string;
  progress: Progress;
  /** Wall clock of the last record: for people, and to forget the oldest first. */
  closedAt: number;
}

/** What plan.json holds: the frozen plan and the document that it was read from, URL queries cut out (J14). */
export interface StoredPlan {
  plan: Plan;
  document: unknown;
  /** Of a job that came from a person at the device. */
  local?: { linkWasUp: boolean };
}

/** Reads all journals, and opens those that are not finished: durable first, then believed (design section 6). */
export async function openBook(disk: Disk, state: string, log: Log): Promise<Book> {
  const book: Book = { open: new Map(), closed: new Map(), corrupt: new Map(), blocked: undefined };
  try {
    await cleanLeftovers(disk, state);
    for (const key of await listExecutions(disk, state)) await openOne(disk, state, key, book, log);
  } catch (error) {
    book.blocked = { why: 'storageFailed', reason: `cannot read ${state}: ${(error as Error).message}` };
    // It is opened anew when the disk may be well again.
    for (const { journal } of book.open.values()) await journal.close().catch(() => undefined);
    book.open.clear();
  }
  return book;
}

async function openOne(disk: Disk, state: string, key: string, book: Book, log: Log): Promise<void> {
  const directory = join(state, 'executions', key);
  const path = join(directory, 'journal');
  // The directory appears with its journal, at once: one without has been tampered with, and nothing in it is certain.
  if (!(await disk.lstat(path))) {
    log.error({ key }, 'a journal is missing');
    book.corrupt.set(key, 'it is missing');
    return;
  }
  const read = await readJournal(disk, path);
  if (read.kind === 'newerFormat') {
    book.blocked = { why: 'newerFormat', reason: `the journal ${key} has format ${read.format}` };
    return;
  }
  try {
    if (read.kind === 'corrupt') throw new Error(read.reason);
    const known = fold(read.records as never);
    if (known.phase === 'closed') {
      const closedAt = (read.records.at(-1) as { at?: number } | undefined)?.at ?? 0;
      book.closed.set(key, { key, directory, progress: known, closedAt });
      return;
    }
    await openUnfinished(disk, directory, key, known, book);
  } catch (error) {
    if (!isStory(error)) throw error;
    log.error({ key, reason: error.message }, 'a journal is corrupt');
    book.corrupt.set(key, error.message);
  }
}

async function openUnfinished(
  disk: Disk,
  directory: string,
  key: string,
  known: Progress,
  book: Book,
): Promise<void> {
  const stored = (await readPlan(disk, directory, known.planSha256)) as StoredPlan | undefined;
  if (!stored) throw new Error('its plan.json is missing or not the one that the journal names');
  const opened = await openJournal(disk, join(directory, 'journal'));
  if (opened.kind !== 'ok') throw new Error(opened.kind === 'corrupt' ? opened.reason : 'unreadable');
  const folded = fold(opened.records as unknown as ExecutionRecord[]);
  const progress = opened.tail === 'cut' ? assumeLost(folded) : folded;
  book.open.set(key, { key, directory, journal: opened.journal, progress, stored, life: 'resumed' });
}

/** A journal's content is a value to be told about; a disk that fails is not. */
function isStory(error: unknown): error is Error {
  return error instanceof ImpossibleStory || (error instanceof Error && !('code' in error));
}

/** The key of an execution on this device. */
export function keyOf(identity: ExecutionIdentity): string {
  return executionKey(identity);
}

/** INCONSISTENT and not resolved: why the device starts nothing but a repair. */
export function strandedBy(book: Book): Stranded | undefined {
  if (book.blocked) return book.blocked;
  const items = unresolved(book).flatMap(({ progress }) =>
    (progress.verdict?.items ?? []).map(({ id }) => id),
  );
  const reasons = [
    ...(items.length > 0 ? [`neither old nor new: ${items.join(' ')}`] : []),
    ...[...book.corrupt].map(([key, reason]) => `journal ${key}: ${reason}`),
  ];
  return reasons.length > 0 ? { why: 'inconsistent', reason: reasons.join('; ') } : undefined;
}

/** Closed executions that left the device INCONSISTENT. */
export function unresolved(book: Book): ClosedExecution[] {
  return [...book.closed.values()].filter(
    ({ progress }) => progress.verdict?.outcome === 'inconsistent' && !progress.resolved,
  );
}

/** Forgets the oldest finished executions beyond `keep`; never one that still has to be answered for. */
export async function prune(disk: Disk, book: Book, keep: number): Promise<void> {
  const answered = [...book.closed.values()]
    .filter(({ progress }) => progress.verdict?.outcome !== 'inconsistent' || progress.resolved)
    .sort((a, b) => b.closedAt - a.closedAt);
  for (const { key, directory } of answered.slice(keep)) {
    await removeExecution(disk, directory);
    book.closed.delete(key);
  }
}
