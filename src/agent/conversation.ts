import type { Answer, Cloud, CloudEnd, Details, NoLink, Replaced, Stopped } from '../execution/cloud.ts';
import type { ExecutionIdentity } from '../execution/records.ts';
import type { Clock } from '../host/clock.ts';
import type { Log } from '../host/log.ts';
import { within } from '../host/within.ts';
import { isTerminal } from '../jobs/classify.ts';
import type { JobsClient, Reply, UpdateAccepted, UpdateRequest } from '../jobs/client.ts';
import { minimalDetails } from '../jobs/details.ts';
import type { JobExecution } from '../jobs/messages.ts';
import type { Transport } from '../transport/port.ts';
import { fullJitterMs } from './backoff.ts';

/**
 * All that is said with AWS IoT Jobs about one execution, one request at a time. Here silence is told from evidence,
 * row by row as in the table of design section 5; what comes out is either ours, ended, or nothing.
 */
export interface Conversation extends Cloud {
  /** Asks by describing (changes nothing: P19, P20). Evidence of an end goes to `onEnd`. Never throws. */
  reconcile(): Promise<Heard>;
  /** Refreshes the step timer by an update when a third of it has passed; otherwise reconciles. */
  heartbeat(): Promise<Heard>;
  /** No request is sent from here on. */
  close(): void;
}

/** What one exchange has established. `nothing` is never evidence (I7). */
export type Heard = Answer | { kind: 'nothing'; why: string };

export interface ConversationDeps {
  identity: ExecutionIdentity;
  jobs: JobsClient;
  transport: Pick<Transport, 'up' | 'roundTrip' | 'renew' | 'subscribe'>;
  clock: Clock;
  log: Log;
  stepTimerMinutes: number;
  requestTimeoutMs: number;
  /** True when the document is the one that the plan was read from, URL queries aside (J14, P20). */
  isOurDocument(document: unknown): boolean;
  urlOf(document: unknown, step: number): string | undefined;
  onEnd(ended: CloudEnd): void;
  /** How the execution before this one ended; goes out with the first update (design section 9). */
  prev: string | undefined;
}

/** P25, L9: the longest step timer. */
const STEP_TIMER_MINUTES_MAX = 10_080;
const RETRY = { firstMs: 500, maxMs: 60_000 };

const STOPPED: Stopped = { kind: 'stopped' };
const DELETED: CloudEnd = { kind: 'ended', status: 'deleted' };

/**
 * Opens the conversation about one execution.
 * `known.started`: an IN_PROGRESS update of ours was accepted; `known.proposed`: our SUCCEEDED may be out.
 */
export function createConversation(
  deps: ConversationDeps,
  known: { versionNumber: number; started: boolean; proposed: boolean },
): Conversation {
  const { identity, jobs, transport, clock, log } = deps;
  const { jobId, executionNumber } = identity;
  let { versionNumber, started, proposed } = known;
  let last: Promise<unknown> = Promise.resolve();
  let waitingProgress: Details | undefined;
  let latest: Details = {};
  let refreshedMs = clock.monotonicMs();
  let adopted = 0;
  let closed = false;

  /** One request is in flight at most: version numbers only make sense in order (S14). */
  const exclusive = <T>(task: () => Promise<T>): Promise<T> => {
    const next = last.then(task, task);
    last = next.catch(() => undefined);
    return next;
  };

  const nothing = (why: string): Heard => ({ kind: 'nothing', why });
  const ours = (): Heard => ({ kind: 'ours', versionNumber });

  const update = async (
    status: UpdateRequest['status'],
    details: Details,
    extra: Partial<UpdateRequest> = {},
  ): Promise<Reply<UpdateAccepted>> => {
    const request: UpdateRequest = {
      status,
      statusDetails: details,
      expectedVersion: versionNumber,
      executionNumber,
      includeJobExecutionState: true,
      ...(status === 'IN_PROGRESS' && { stepTimeoutInMinutes: deps.stepTimerMinutes }),
      ...extra,
    };
    const reply = await jobs.update(jobId, request);
    const badText = reply.kind === 'rejected' && ['InvalidRequest', 'InvalidJson'].includes(reply.code);
    if (!badText) return reply;
    log.warn({ code: reply.code, reason: reply.message }, 'the details were refused; sending the least');
    return jobs.update(jobId, { ...request, statusDetails: minimalDetails(details) });
  };

  const acceptedAt = (value: UpdateAccepted): Heard => {
    versionNumber = value.executionState?.versionNumber ?? versionNumber + 1;
    adopted = 0;
    refreshedMs = clock.monotonicMs();
    return ours();
  };

  /** What an update's reply means (E4, E5, E6, E13, E14). */
  const hear = async (reply: Reply<UpdateAccepted>): Promise<Heard> => {
    if (reply.kind === 'noAnswer') return nothing(reply.reason);
    if (reply.kind === 'accepted') return acceptedAt(reply.value);
    const state = reply.executionState;
    if (state && isTerminal(state.status)) return { kind: 'ended', status: state.status };
    switch (reply.code) {
      case 'ResourceNotFound':
        return hearDescribed(await describe(false), 'refused');
      case 'VersionMismatch':
        return hearDescribed(await describe(false), 'fresh');
      case 'InvalidStateTransition':
        return state ? hearDescribed(await describe(false), 'fresh') : endedUnknown();
      case 'TerminalStateReached':
        return endedUnknown();
      default:
        return nothing(`${reply.rawCode}: ${reply.message}`);
    }
  };

  const describe = (includeJobDocument: boolean): Promise<Reply<JobExecution | undefined>> =>
    jobs.describe(jobId, { executionNumber, includeJobDocument });

  /** `history` says whether an update was refused just before: it takes two refusals to call an execution deleted. */
  const hearDescribed = async (
    reply: Reply<JobExecution | undefined>,
    history: 'fresh' | 'refused' | 'asked',
  ): Promise<Heard> => {
    if (reply.kind === 'noAnswer') return nothing(reply.reason);
    if (reply.kind === 'accepted') return hearExecution(reply.value);
    switch (reply.code) {
      case 'TerminalStateReached':
        // E9 carries no state: ask once with an update, which does (E4).
        return history === 'asked' ? endedUnknown() : askByUpdate();
      case 'ResourceNotFound':
        return history === 'fresh' ? askByUpdate() : DELETED;
      default:
        return nothing(`${reply.rawCode}: ${reply.message}`);
    }
  };

  const hearExecution = (execution: JobExecution | undefined): Heard => {
    if (!execution) return nothing('described without an execution');
    const same = execution.executionNumber === executionNumber && execution.queuedAt === identity.queuedAt;
    // A successor under the same id: ours is gone, and its version is never adopted (A21).
    if (!same) return DELETED;
    if (isTerminal(execution.status)) return { kind: 'ended', status: execution.status };
    if (execution.status === 'QUEUED' && started) return DELETED;
    if (execution.versionNumber !== versionNumber) {
      adopted += 1;
      if (adopted >= 2)
        log.warn({ versionNumber: execution.versionNumber }, 'a second agent updates this execution');
      versionNumber = execution.versionNumber;
    }
    return ours();
  };

  const askByUpdate = async (): Promise<Heard> => {
    const reply = await update('IN_PROGRESS', latest);
    if (reply.kind !== 'rejected') return hear(reply);
    if (reply.executionState && isTerminal(reply.executionState.status)) return hear(reply);
    if (reply.code === 'ResourceNotFound') return DELETED;
    if (reply.code === 'InvalidStateTransition' || reply.code === 'TerminalStateReached')
      return endedUnknown();
    if (reply.code === 'VersionMismatch') return endedUnknown();
    return nothing(`${reply.rawCode}: ${reply.message}`);
  };

  /** Terminal, nobody says how. Before the vote it cannot be our success; after it a stale version makes E6 tell. */
  const endedUnknown = async (): Promise<Heard> => {
    if (!proposed) return { kind: 'ended', status: 'unknown' };
    const reply = await update('IN_PROGRESS', latest, { expectedVersion: Math.max(versionNumber - 1, 0) });
    if (reply.kind === 'noAnswer') return nothing(reply.reason);
    if (reply.kind === 'rejected' && reply.executionState && isTerminal(reply.executionState.status)) {
      return { kind: 'ended', status: reply.executionState.status };
    }
    return { kind: 'ended', status: 'unknown' };
  };

  const reconcileNow = async (): Promise<Heard> => hearDescribed(await describe(false), 'fresh');

  /**
   * Tries until there is evidence or `signal` aborts. A request under way is always awaited (its timeout bounds it):
   * nobody may go on while a vote of ours is on its way.
   */
  const persist = async <T extends { kind: string }>(
    task: () => Promise<T | { kind: 'nothing'; why: string }>,
    signal: AbortSignal,
  ): Promise<Exclude<T, { kind: 'nothing' }> | Stopped> => {
    for (let failures = 0; !signal.aborted && !closed; failures += 1) {
      await linkUp(signal);
      if (signal.aborted) break;
      const heard = await exclusive(async () => (signal.aborted ? nothing('stopped') : task()));
      if (heard.kind !== 'nothing') return heard as Exclude<T, { kind: 'nothing' }>;
      await clock.sleep(fullJitterMs(RETRY, failures, clock.random()), signal).catch(() => undefined);
    }
    return STOPPED;
  };

  const linkUp = (signal: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      if (transport.up || signal.aborted) {
        resolve();
        return;
      }
      const finish = (): void => {
        unsubscribe();
        signal.removeEventListener('abort', finish);
        resolve();
      };
      const unsubscribe = transport.subscribe({ onUp: finish });
      signal.addEventListener('abort', finish);
    });

  const told = (heard: Heard): Heard => {
    if (heard.kind === 'ended' && !closed) deps.onEnd(heard);
    return heard;
  };

  const sendProgress = async (): Promise<void> => {
    const details = waitingProgress;
    waitingProgress = undefined;
    if (!details || closed || !transport.up) return;
    told(await hear(await update('IN_PROGRESS', details)));
  };

  const startOnce = async (details: Details): Promise<Heard | Replaced> => {
    const reply = await update('IN_PROGRESS', details, { includeJobDocument: true });
    const heard = await hear(reply);
    if (heard.kind !== 'ours') return heard;
    if (reply.kind === 'accepted') {
      started = true;
      return deps.isOurDocument(reply.value.jobDocument) ? heard : { kind: 'replaced' };
    }
    // The update was refused and the execution is still ours: either an answer of ours was lost, or it is QUEUED.
    const described = await describe(true);
    if (described.kind !== 'accepted' || described.value?.status !== 'IN_PROGRESS')
      return nothing('not started yet');
    started = true;
    return deps.isOurDocument(described.value.jobDocument)
      ? hearExecution(described.value)
      : { kind: 'replaced' };
  };

  const renewed = async (): Promise<Heard> => {
    await transport.renew(deps.requestTimeoutMs * 3);
    return hear(await update('IN_PROGRESS', { ...latest, phase: 'prepared' }, timerAtMost()));
  };

  const timerAtMost = (): Partial<UpdateRequest> => ({ stepTimeoutInMinutes: STEP_TIMER_MINUTES_MAX });

  return {
    get versionNumber() {
      return versionNumber;
    },
    start(details, signal) {
      latest = details;
      const first = deps.prev === undefined ? details : { ...details, prev: deps.prev };
      return persist(() => startOnce(first), signal);
    },
    progress(details) {
      latest = details;
      const idle = waitingProgress === undefined;
      waitingProgress = details;
      if (idle) void exclusive(sendProgress);
    },
    ask: (waitMs, signal) => within(waitMs, clock, signal, (both) => persist(reconcileNow, both)),
    fence(details, signal) {
      latest = details;
      return persist(async () => hear(await update('IN_PROGRESS', details)), signal);
    },
    async proveLink({ fresh, waitMs }, signal) {
      const attempt = async (): Promise<Heard> => {
        try {
          if (fresh) return await renewed();
          await transport.roundTrip(deps.requestTimeoutMs);
          return ours();
        } catch (error) {
          return nothing((error as Error).message);
        }
      };
      const answer = await within(waitMs, clock, signal, (both) => persist(attempt, both));
      if (answer.kind !== 'stopped' || signal.aborted) return answer;
      return { kind: 'noLink', reason: `not proved within ${Math.round(waitMs / 1000)} s` } satisfies NoLink;
    },
    propose: (details, beforeSend, signal) =>
      persist(async () => {
        proposed = true;
        await beforeSend(versionNumber);
        const reply = await update('SUCCEEDED', details);
        const heard = await hear(reply);
        // Only an accepted SUCCEEDED is the commit; `ours` by describing means that the vote has to be cast again.
        return heard.kind === 'ours' && reply.kind !== 'accepted' ? nothing('still in progress') : heard;
      }, signal),
    report: (status, details, signal) =>
      persist(async () => {
        const reply = await update(status, details);
        const heard = await hear(reply);
        return heard.kind === 'ours' && reply.kind !== 'accepted' ? nothing('still in progress') : heard;
      }, signal),
    async freshUrl(step, signal) {
      const answer = await persist(async () => {
        const reply = await describe(true);
        const url = reply.kind === 'accepted' ? deps.urlOf(reply.value?.jobDocument, step) : undefined;
        return url === undefined ? nothing('no document') : { kind: 'url' as const, url };
      }, signal);
      if (answer.kind === 'url') return answer.url;
      throw signal.reason;
    },
    reconcile: async () => (closed ? nothing('closed') : told(await exclusive(reconcileNow))),
    async heartbeat() {
      const idleMs = clock.monotonicMs() - refreshedMs;
      if (!started || proposed || idleMs < (deps.stepTimerMinutes * 60_000) / 3) return this.reconcile();
      return closed
        ? nothing('closed')
        : told(await exclusive(async () => hear(await update('IN_PROGRESS', latest))));
    },
    close() {
      closed = true;
    },
  };
}
