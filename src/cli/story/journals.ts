import { join } from 'node:path';
import type { StoredPlan } from '../../agent/book.ts';
import { fold, type Progress } from '../../execution/progress.ts';
import type { StampedRecord } from '../../execution/records.ts';
import type { Images } from '../../execution/verdict.ts';
import type { Disk } from '../../host/disk.ts';
import { resolveAttachment } from '../../store/attachment.ts';
import { executionsDirectory, listExecutions, readPlan } from '../../store/execution-directory.ts';
import { readJournal } from '../../store/journal.ts';

/** One execution as its directory tells it. */
export interface Told {
  key: string;
  records: readonly StampedRecord[];
  progress: Progress | undefined;
  /** Why the journal cannot be believed. */
  wrong?: string;
  /** Set where a newer version wrote it. */
  newerFormat?: number;
}

/** Every journal of a state directory, oldest first; reads only. */
export async function readAll(disk: Disk, state: string): Promise<Told[]> {
  const told: Told[] = [];
  for (const key of await listExecutions(disk, state)) told.push(await readTold(disk, state, key));
  return told.sort((a, b) => (a.records[0]?.at ?? 0) - (b.records[0]?.at ?? 0));
}

export function directoryOf(state: string, key: string): string {
  return join(executionsDirectory(state), key);
}

export async function readTold(disk: Disk, state: string, key: string): Promise<Told> {
  let records: readonly StampedRecord[] = [];
  try {
    const read = await readJournal(disk, join(directoryOf(state, key), 'journal'));
    if (read.kind === 'newerFormat') {
      const wrong = `a newer version wrote it (format ${read.format})`;
      return { key, records, progress: undefined, wrong, newerFormat: read.format };
    }
    records = read.records as readonly StampedRecord[];
    const progress = records.length > 0 ? fold(records) : undefined;
    return { key, records, progress, ...(read.kind === 'corrupt' && { wrong: read.reason }) };
  } catch (error) {
    return { key, records, progress: undefined, wrong: (error as Error).message };
  }
}

/** The plan that the journal names; `undefined` where it is gone. */
export async function planOf(disk: Disk, state: string, { key, progress }: Told) {
  if (!progress) return undefined;
  const stored = await readPlan(disk, directoryOf(state, key), progress.planSha256).catch(() => undefined);
  return (stored as StoredPlan | undefined)?.plan;
}

/** What the steps' resources were before and after them, as far as it can still be read. */
export async function imagesOf(disk: Disk, state: string, { key, progress }: Told): Promise<Images> {
  const directory = directoryOf(state, key);
  const before = new Map<number, unknown>();
  const after = new Map<number, unknown>();
  for (const [index, step] of progress?.steps.entries() ?? []) {
    for (const [images, attachment] of [
      [before, step.before],
      [after, step.after],
    ] as const) {
      const found =
        attachment && (await resolveAttachment(disk, directory, attachment).catch(() => undefined));
      if (found?.ok) images.set(index, found.value);
    }
  }
  return { before, after } as Images;
}
