import type { Clock } from './clock.ts';
import { findFamily, keyOf, type ProcessRow, readRow } from './process-table.ts';
import type { ProcessIdentity } from './processes.ts';

/** TERM, grace, KILL, until nothing of one run is alive. */
export interface Ending {
  clock: Clock;
  log?: { warn(fields: object, message: string): void } | undefined;
}

const POLL_MIN_MS = 5;
const POLL_MAX_MS = 200;
/** A process that is just replacing its program shows no environment, so one empty look is no proof. */
const EMPTY_LOOKS = 2;
/** A process in uninterruptible sleep outlives KILL; it is waited for, and spoken of this often. */
const COMPLAIN_EVERY_MS = 60_000;

/**
 * Ends all processes of the run that `identity` names and resolves when none is alive, with how many there were.
 * `known` are those found before. What they start while they are being ended is ended too.
 */
export async function endFamily(
  identity: ProcessIdentity,
  graceMs: number,
  known: Set<string>,
  { clock, log }: Ending,
): Promise<number> {
  const begunMs = clock.monotonicMs();
  const seen = new Set<string>();
  const asked = new Set<string>();
  let complainedMs = begunMs;
  let pauseMs = POLL_MIN_MS;
  for (let empty = 0; empty < EMPTY_LOOKS; ) {
    const family = await findFamily(identity, known);
    for (const row of family) seen.add(keyOf(row));
    empty = family.length === 0 ? empty + 1 : 0;
    const nowMs = clock.monotonicMs();
    if (nowMs - begunMs < graceMs) askToEnd(family, asked);
    else killAll(family, identity);
    if (nowMs - complainedMs >= COMPLAIN_EVERY_MS) {
      complainedMs = nowMs;
      log?.warn({ name: identity.name, pids: family.map(({ pid }) => pid) }, 'processes outlive KILL');
    }
    await clock.sleep(empty > 0 ? POLL_MIN_MS : pauseMs);
    pauseMs = Math.min(pauseMs * 2, POLL_MAX_MS);
  }
  return seen.size;
}

/**
 * Waits until nothing of the run's own process group is alive, for `patienceMs` at most. What has left the group is a
 * daemon that it started, whose end nobody waits for.
 */
export async function awaitGroup(
  identity: ProcessIdentity,
  patienceMs: number,
  known: Set<string>,
  { clock, log }: Ending,
): Promise<void> {
  const begunMs = clock.monotonicMs();
  for (let pauseMs = POLL_MIN_MS; ; pauseMs = Math.min(pauseMs * 2, POLL_MAX_MS)) {
    const family = await findFamily(identity, known);
    if (!family.some(({ group }) => group === identity.pid)) return;
    if (clock.monotonicMs() - begunMs >= patienceMs) break;
    await clock.sleep(pauseMs);
  }
  log?.warn({ name: identity.name, patienceMs }, 'it does not end by itself');
}

/** TERM once to each; CONT after it, since a stopped process sees no TERM. */
function askToEnd(family: readonly ProcessRow[], asked: Set<string>): void {
  for (const row of family) {
    if (asked.has(keyOf(row))) continue;
    asked.add(keyOf(row));
    signal(row, 'SIGTERM');
    signal(row, 'SIGCONT');
  }
}

/** The group first: one signal reaches all of it, however fast it forks. */
function killAll(family: readonly ProcessRow[], identity: ProcessIdentity): void {
  // While one of ours stands in it, the group's number cannot be another's.
  if (family.some((row) => rowNow(row)?.group === identity.pid)) send(-identity.pid, 'SIGKILL');
  for (const row of family) signal(row, 'SIGKILL');
}

function signal(row: ProcessRow, name: NodeJS.Signals): void {
  // Looked at again at the last moment: its pid may have become another's since.
  if (rowNow(row)) send(row.pid, name);
}

function rowNow(row: ProcessRow): ProcessRow | undefined {
  const now = readRow(row.pid);
  return now && keyOf(now) === keyOf(row) ? now : undefined;
}

function send(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // Gone meanwhile, or not ours to signal: the next look tells.
  }
}
