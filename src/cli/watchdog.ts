import type { AgentStatus } from '../agent/agent.ts';
import type { Clock } from '../host/clock.ts';
import type { Disk } from '../host/disk.ts';
import { type Notifier, statusLine } from '../host/notify.ts';

/**
 * What systemd hears while the agent lives: one line of status when it changes, and the sign of life of `WatchdogSec`.
 * That is given by the main loop itself, after the file system of the state directory has answered through the same
 * threads that the journal is written by, and not while a write of a journal hangs. Nothing of it is written to disk.
 */
export interface WatchdogDeps {
  notifier: Notifier;
  clock: Pick<Clock, 'sleep'>;
  status(): string;
  /** Resolves when the state directory answers. */
  answers(): Promise<unknown>;
  /** How long the oldest write of a journal has been under way. */
  journalWaitMs(): number;
}

const TELL_MS = 5000;
/** Of the watchdog's time: so often it is fed, and so long a journal may hang. */
const FEED_PART = 4;
const HANG_PART = 2;

/** What `systemctl status` says of the agent. */
export function statusText({ state, linkUp, stranded, job }: AgentStatus): string {
  const link = linkUp ? 'connected' : 'not connected';
  if (stranded !== undefined) return `stranded, ${link}: ${stranded}`;
  if (job) return `${job.jobId}#${job.executionNumber}: ${job.move}, ${link}`;
  return state === 'offline' ? link : `${state}, ${link}`;
}

/** Until `signal` aborts. */
export async function keepTelling(deps: WatchdogDeps, signal: AbortSignal): Promise<void> {
  const { notifier, clock } = deps;
  const { watchdogMs = Number.POSITIVE_INFINITY } = notifier;
  let told = '';
  while (notifier.heard && !signal.aborted) {
    const text = deps.status();
    const answered = await deps.answers().then(
      () => true,
      () => false,
    );
    const well = answered && deps.journalWaitMs() < watchdogMs / HANG_PART;
    notifier.tell(...(text === told ? [] : [statusLine(text)]), ...(well ? ['WATCHDOG=1'] : []));
    told = text;
    await clock.sleep(Math.min(TELL_MS, watchdogMs / FEED_PART), signal).catch(() => undefined);
  }
}

/** The disk, and how long the oldest write to it that must be durable (a journal's) has been under way. */
export function watchedDisk(disk: Disk, clock: Pick<Clock, 'monotonicMs'>): { disk: Disk; waitMs(): number } {
  const begun = new Set<{ atMs: number }>();
  const timed = async (work: () => Promise<void>): Promise<void> => {
    const mark = { atMs: clock.monotonicMs() };
    begun.add(mark);
    await work().finally(() => begun.delete(mark));
  };
  return {
    disk: {
      ...disk,
      async openFile(...args) {
        const file = await disk.openFile(...args);
        return { ...file, datasync: () => timed(() => file.datasync()) };
      },
    },
    waitMs() {
      const nowMs = clock.monotonicMs();
      return Math.max(0, ...[...begun].map(({ atMs }) => nowMs - atMs));
    },
  };
}
