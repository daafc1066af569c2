import type { JobExecution, JobSummary, PendingExecutions } from '../jobs/messages.ts';
import type { AgentDeps } from './agent.ts';
import { fullJitterMs } from './backoff.ts';
import type { Current } from './execute.ts';

/**
 * Everything that may mean that the cloud has moved: CONNACK, notify, notify-next, the heartbeat (A6). None of it is
 * evidence; all of it leads to one question, reconcile (design section 5). Messages are taken in and acted on later
 * (A16).
 */
export interface Notices {
  start(end: AbortSignal): void;
  /** Reconciles at once where an execution has just been taken up. */
  now(): void;
}

export interface NoticeSinks {
  current(): Current | undefined;
  onUp(): void;
  onDown(): void;
  /** The front of the queue as the cloud names it; `undefined` when nothing is pending. */
  onFront(front: JobExecution | undefined): void;
  onTick(): void;
  /** An execution came or went; the front may be the same as before. */
  onList(): void;
}

/** ± share of the heartbeat, so that a fleet does not ask in step. */
const HEARTBEAT_SPREAD = 0.2;
const RETRY = { firstMs: 500, maxMs: 60_000 };
/** Beats between two questions of a device that has long been idle: each of them is billed, twice. */
const IDLE_BEATS_MAX = 12;

export function createNotices(deps: AgentDeps, sinks: NoticeSinks): Notices {
  const { clock, settings, jobs, transport, log } = deps;
  let asking = false;
  let askAgain = false;
  let end: AbortSignal | undefined;
  let waiting = new AbortController();
  /** Since a job or a CONNACK; the first idle beats ask (A2), and the later ones less and less often. */
  let idleBeats = 0;
  let askAtBeat = 1;

  const busy = (): void => {
    idleBeats = 0;
    askAtBeat = 1;
  };

  const idle = (): void => {
    idleBeats += 1;
    if (idleBeats < askAtBeat) return;
    askAtBeat = idleBeats + Math.min(idleBeats, IDLE_BEATS_MAX);
    sinks.onTick();
  };

  /** Asks until there is an answer: a question that got none must not wait for the heartbeat (E8, E14). */
  const heard = async (): Promise<void> => {
    const asked = sinks.current();
    for (let failures = 0; asked && sinks.current() === asked; failures += 1) {
      const { kind } = await asked.conversation.reconcile();
      // Without a link the next CONNACK asks.
      if (kind !== 'nothing' || !transport.up || askAgain || end?.aborted) return;
      waiting = new AbortController();
      const stop = end ? AbortSignal.any([waiting.signal, end]) : waiting.signal;
      await clock.sleep(fullJitterMs(RETRY, failures, clock.random()), stop).catch(() => undefined);
      if (stop.aborted) return;
    }
  };

  /** One reconcile at a time, and one more if something came in meanwhile. */
  const reconcile = async (): Promise<void> => {
    if (asking) {
      askAgain = true;
      waiting.abort();
      return;
    }
    asking = true;
    try {
      do {
        askAgain = false;
        await heard();
      } while (askAgain);
    } finally {
      asking = false;
    }
  };

  const ask = (): void => {
    reconcile().catch((error: unknown) => log.error({ error: String(error) }, 'cannot reconcile'));
  };

  /** A21: a job that was deleted and made again has its id and number, and another `queuedAt`. */
  const isCurrent = (front: JobSummary | undefined): boolean => {
    const identity = sinks.current()?.execution.progress.identity;
    return (
      front !== undefined &&
      identity?.jobId === front.jobId &&
      identity.executionNumber === front.executionNumber &&
      identity.queuedAt === front.queuedAt
    );
  };

  const beat = async (end: AbortSignal): Promise<void> => {
    while (!end.aborted) {
      const spread = 1 + HEARTBEAT_SPREAD * (2 * clock.random() - 1);
      await clock.sleep(settings.heartbeatMs * spread, end);
      if (!sinks.current()) {
        idle();
        continue;
      }
      busy();
      await sinks.current()?.conversation.heartbeat();
    }
  };

  return {
    now() {
      if (transport.up && sinks.current()?.execution.progress.phase !== 'received') ask();
    },
    start(signal) {
      end = signal;
      const stops = [
        transport.subscribe({
          onUp() {
            // A1: after every CONNACK, session present or not.
            busy();
            sinks.onUp();
            ask();
            deps.drainOutbox();
          },
          onDown: () => sinks.onDown(),
        }),
        jobs.subscribe({
          onNotify({ inProgressJobs, queuedJobs }: PendingExecutions) {
            // N2: absence proves nothing; N5: the front is the first of these.
            if (!isCurrent(inProgressJobs[0] ?? queuedJobs[0])) ask();
            sinks.onList();
          },
          onNotifyNext(front: JobExecution | undefined) {
            // N19: the job in hand may be named again.
            if (isCurrent(front)) return;
            ask();
            sinks.onFront(front);
          },
        }),
      ];
      signal.addEventListener('abort', () => {
        for (const stop of stops) stop();
      });
      beat(signal).catch((error: unknown) => {
        if (!signal.aborted) log.error({ error: String(error) }, 'the heartbeat has stopped');
      });
    },
  };
}
