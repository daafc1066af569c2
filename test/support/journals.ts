import { join } from 'node:path';
import { fold, type Progress } from '../../src/execution/progress.ts';
import type { StampedRecord } from '../../src/execution/records.ts';
import { nodeDisk } from '../../src/host/node-disk.ts';
import { executionsDirectory, listExecutions } from '../../src/store/execution-directory.ts';
import { readJournal } from '../../src/store/journal.ts';

/** One journal: what it says, and what that comes to. */
export interface Story {
  records: readonly StampedRecord[];
  progress: Progress;
}

/** All journals of a state directory; one that goes while it is read is left out. */
export async function storiesIn(state: string): Promise<Story[]> {
  const found: Story[] = [];
  // Listing makes the directory where there is none, and that is the agent's to do.
  if (!(await nodeDisk.lstat(executionsDirectory(state)))) return found;
  for (const key of await listExecutions(nodeDisk, state)) {
    const path = join(executionsDirectory(state), key, 'journal');
    const read = await unlessGone(readJournal(nodeDisk, path));
    if (read?.kind !== 'ok') continue;
    const records = read.records as StampedRecord[];
    found.push({ records, progress: fold(records) });
  }
  return found;
}

/** All executions that a state directory knows, as its journals tell them. */
export async function executionsIn(state: string): Promise<Progress[]> {
  return (await storiesIn(state)).map(({ progress }) => progress);
}

async function unlessGone<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return undefined;
  }
}
