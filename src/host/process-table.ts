import { readFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import type { ProcessIdentity } from './processes.ts';

/** What /proc says about the processes of one run, and which of all processes those are. */
export interface ProcessRow {
  pid: number;
  parent: number;
  group: number;
  session: number;
  /** Clock ticks since boot. */
  startTime: number;
  /** A zombie has no thread left that runs; one whose other threads still run is alive. */
  alive: boolean;
}

/** Environment variable that carries the token. */
export const TOKEN_VARIABLE = 'EVENKEEL_TOKEN';

/**
 * Fields of /proc/PID/stat (man 5 proc). The program's name stands in parentheses and may hold spaces and
 * parentheses itself, so the fields are counted from the last one.
 */
export function parseStat(stat: string): ProcessRow | undefined {
  const nameEnd = stat.lastIndexOf(')');
  const pid = Number.parseInt(stat, 10);
  if (nameEnd === -1 || Number.isNaN(pid)) return undefined;
  const fields = stat.slice(nameEnd + 2).split(' ');
  const field = (number: number): number => Number(fields[number - 3]);
  const dead = fields[0] === 'X' || fields[0] === 'x' || (fields[0] === 'Z' && !(field(20) > 1));
  const row = { pid, parent: field(4), group: field(5), session: field(6), startTime: field(22) };
  return Number.isSafeInteger(row.startTime) ? { ...row, alive: !dead } : undefined;
}

/** The row of one process at this moment; `undefined` when there is no such process. */
export function readRow(pid: number): ProcessRow | undefined {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return undefined;
  }
}

/** Names one process of this boot for good: pids are used again. */
export function keyOf({ pid, startTime }: ProcessRow): string {
  return `${pid}:${startTime}`;
}

/**
 * All living processes of the run that `identity` names, and never another: its leader and what carries its token;
 * the group and session of the leader as far as one of these still stands in it, since while a group has members
 * its number is nobody else's; and all their descendants. `known` holds the processes found before (`keyOf`), which
 * stay ours when they drop their token; it grows with each call. `justEnded`: the leader was reaped this moment, so
 * the number of its group cannot have been given away yet.
 */
export async function findFamily(
  identity: ProcessIdentity,
  known: Set<string>,
  justEnded = false,
): Promise<ProcessRow[]> {
  const rows = (await readRows()).filter(
    ({ pid, startTime }) => pid !== process.pid && startTime >= Number(identity.startTime),
  );
  const ours = new Set<ProcessRow>();
  for (const row of rows) {
    if (known.has(keyOf(row)) || isLeader(row, identity) || (await hasToken(row.pid, identity.token)))
      ours.add(row);
  }
  const inFamily = (row: ProcessRow): boolean => row.group === identity.pid || row.session === identity.pid;
  if (justEnded || [...ours].some(inFamily)) for (const row of rows.filter(inFamily)) ours.add(row);
  addDescendants(rows, ours);
  for (const row of ours) known.add(keyOf(row));
  return [...ours].filter(({ alive }) => alive);
}

function isLeader(row: ProcessRow, identity: ProcessIdentity): boolean {
  return row.pid === identity.pid && String(row.startTime) === identity.startTime;
}

function addDescendants(rows: readonly ProcessRow[], ours: Set<ProcessRow>): void {
  const pids = new Set([...ours].map(({ pid }) => pid));
  for (let grown = true; grown; ) {
    grown = false;
    for (const row of rows) {
      if (ours.has(row) || !pids.has(row.parent)) continue;
      ours.add(row);
      pids.add(row.pid);
      grown = true;
    }
  }
}

async function readRows(): Promise<ProcessRow[]> {
  const names = await readdir('/proc');
  const pids = names.filter((name) => /^\d+$/.test(name));
  return pids.map((pid) => readRow(Number(pid))).filter((row) => row !== undefined);
}

/** A process of another user hides its environment; it is then found by its group or its parent only. */
async function hasToken(pid: number, token: string): Promise<boolean> {
  try {
    return (await readFile(`/proc/${pid}/environ`)).includes(`${TOKEN_VARIABLE}=${token}\0`);
  } catch {
    return false;
  }
}
