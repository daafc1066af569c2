import type { Details, Execution, Status } from '../service/types.ts';

/** One line of an execution's timeline. The service keeps only the present state, so the console writes it down. */
export interface HistoryEntry {
  /** Milliseconds since the epoch. */
  atMs: number;
  kind: 'queued' | 'started' | 'update' | 'ended' | 'deleted' | 'refused' | 'receipt';
  status: Status;
  versionNumber: number;
  details: Details;
  forceCanceled: boolean;
  /** What a device was told when its update was refused. */
  refusal?: { code: string; message: string };
  receipt?: Record<string, unknown>;
}

/** Kept of one execution: the beginning always, of the rest the newest. */
export const HISTORY_ENTRIES_MAX = 200;
const FIRST_KEPT = 2;

export class History {
  readonly entries: HistoryEntry[] = [];
  /** How many were left out after the first ones. */
  left = 0;

  add(entry: HistoryEntry): void {
    this.entries.push(entry);
    if (this.entries.length <= HISTORY_ENTRIES_MAX) return;
    this.entries.splice(FIRST_KEPT, 1);
    this.left += 1;
  }
}

/** The state of an execution as a line: what changed is told by comparing it with the status before. */
export function entryOf(execution: Execution, before: Status | undefined, atMs: number): HistoryEntry {
  const { status, versionNumber, statusDetails, forceCanceled = false } = execution;
  return {
    atMs,
    kind: kindOf(status, before),
    status,
    versionNumber,
    details: { ...statusDetails },
    forceCanceled,
  };
}

function kindOf(status: Status, before: Status | undefined): HistoryEntry['kind'] {
  if (status === 'QUEUED') return 'queued';
  if (status !== 'IN_PROGRESS') return 'ended';
  return before === 'IN_PROGRESS' ? 'update' : 'started';
}
