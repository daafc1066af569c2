import { join } from 'node:path';
import { fold, type Progress } from '../../src/execution/progress.ts';
import type { ExecutionRecord } from '../../src/execution/records.ts';
import { nodeDisk } from '../../src/host/node-disk.ts';
import { executionsDirectory, listExecutions } from '../../src/store/execution-directory.ts';
import { readJournal } from '../../src/store/journal.ts';

/** All executions that a state directory knows, as its journals tell them. */
export async function executionsIn(state: string): Promise<Progress[]> {
  const found: Progress[] = [];
  for (const key of await listExecutions(nodeDisk, state)) {
    const read = await readJournal(nodeDisk, join(executionsDirectory(state), key, 'journal'));
    if (read.kind === 'ok') found.push(fold(read.records as unknown as ExecutionRecord[]));
  }
  return found;
}
