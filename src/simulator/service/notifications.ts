import type { Switches } from '../options.ts';
import type { Outbox } from './outbox.ts';
import type { State } from './state.ts';
import type { Timers } from './timers.ts';
import type { DocumentResolver, Execution, Notifier, Status } from './types.ts';

/** L14 */
const LISTED_MAX = 10;
const LISTED_MAX_WITH_SCHEDULE = 15;

export interface NotificationsDeps {
  state: State;
  timers: Timers;
  switches: Switches;
  outbox: Outbox;
  notifier: Notifier;
  document: DocumentResolver;
}

/** Which executions a device sees, and what it is told when that changes (N1-N20). */
export class Notifications {
  readonly #deps: NotificationsDeps;
  /** Things within a change: what they are told is decided at its end. */
  readonly #changing = new Set<string>();

  constructor(deps: NotificationsDeps) {
    this.#deps = deps;
  }

  /** Open executions in order: what is in progress first, then what is queued, each by age (N5, P10, P11). */
  pending(thing: string): Execution[] {
    return [...this.#deps.state.open(thing)].filter((one) => this.#isSeen(one)).sort(byTurn);
  }

  /** N2, P9, L14: what of it a list shows. */
  listed(pending: readonly Execution[]): readonly Execution[] {
    const scheduled = pending.some(({ jobId }) => this.#deps.state.job(jobId).schedulingConfig);
    return pending.slice(0, scheduled ? LISTED_MAX_WITH_SCHEDULE : LISTED_MAX);
  }

  /** What `$next/get` sees: not yet what was queued a moment ago, where the switch says so (A5). */
  front(thing: string): Execution | undefined {
    const sinceSeconds = (this.#deps.timers.nowMs() - this.#deps.switches.consistencyGapMs) / 1000;
    return this.pending(thing).find(
      ({ status, queuedAt }) =>
        status !== 'QUEUED' || this.#deps.switches.consistencyGapMs === 0 || queuedAt <= sinceSeconds,
    );
  }

  /** N6-N18: `notify` when an execution came or went, `notify-next` when the front is another one. */
  change(thing: string, act: () => void): void {
    this.changeAll([thing], act);
  }

  /** One change that many things may see; within another change of a thing it is part of that one. */
  changeAll(things: readonly string[], act: () => void): void {
    const mine = things.filter((thing) => !this.#changing.has(thing));
    const before = mine.map((thing) => this.pending(thing));
    for (const thing of mine) this.#changing.add(thing);
    try {
      act();
    } finally {
      for (const thing of mine) this.#changing.delete(thing);
    }
    for (const [at, thing] of mine.entries()) this.#tell(thing, before[at] ?? [], this.pending(thing));
  }

  #tell(thing: string, before: readonly Execution[], after: readonly Execution[]): void {
    const seen = new Set(after);
    const same = before.length === after.length && before.every((one) => seen.has(one));
    // N20: the set, then the front.
    if (!same) this.#notify(thing, after);
    if (before[0] !== after[0]) this.#notifyNext(thing, after[0]);
  }

  /** N19: the same front again. */
  repeatNext(thing: string, execution: Execution): void {
    if (this.#deps.switches.notifyNextRepeats && this.pending(thing)[0] === execution) {
      this.#notifyNext(thing, execution);
    }
  }

  /** T9: jobs of a namespace have topics of their own. N18d: what is queued waits for its window unseen. */
  #isSeen({ jobId, status }: Execution): boolean {
    const { state, switches } = this.#deps;
    const { namespaceId, rollout } = state.job(jobId);
    const hides = status === 'QUEUED' || switches.closedWindowHidesInProgress;
    return namespaceId === undefined && (rollout.inWindow || !hides);
  }

  #notify(thing: string, pending: readonly Execution[]): void {
    const listed = this.listed(pending);
    const under = (status: Status): object[] => listed.filter((one) => one.status === status).map(summaryOf);
    // N1: a status without members is left out.
    const lists = Object.entries({ IN_PROGRESS: under('IN_PROGRESS'), QUEUED: under('QUEUED') });
    const jobs = Object.fromEntries(lists.filter(([, list]) => list.length > 0));
    const body = { timestamp: this.#timestamp(), jobs };
    this.#deps.outbox.send(() => this.#deps.notifier.notify(thing, body));
  }

  #notifyNext(thing: string, front: Execution | undefined): void {
    const timestamp = this.#timestamp();
    const body = front ? { timestamp, execution: this.described(front, true) } : { timestamp };
    this.#deps.outbox.send(() => this.#deps.notifier.notifyNext(thing, body));
  }

  /** A JobExecution as the device plane tells it (section 1.3). */
  described(execution: Execution, withDocument: boolean): object {
    const { state, document } = this.#deps;
    const left = this.secondsLeft(execution);
    return {
      jobId: execution.jobId,
      thingName: execution.thing,
      status: execution.status,
      ...(Object.keys(execution.statusDetails).length > 0 && {
        statusDetails: { ...execution.statusDetails },
      }),
      ...summaryOf(execution),
      ...(left !== undefined && { approximateSecondsBeforeTimedOut: left }),
      // P7: an object, not its text.
      ...(withDocument && {
        jobDocument: JSON.parse(document(state.job(execution.jobId), execution)) as unknown,
      }),
    };
  }

  /** Seconds until the effective deadline, where a timer runs (S23, S24). */
  secondsLeft(execution: Execution): number | undefined {
    const deadlineMs = deadlineOf(execution);
    return deadlineMs === undefined
      ? undefined
      : Math.max(0, Math.ceil((deadlineMs - this.#deps.timers.nowMs()) / 1000));
  }

  #timestamp(): number {
    return Math.floor(this.#deps.timers.nowMs() / 1000);
  }
}

const rank = ({ status }: Execution): number => (status === 'IN_PROGRESS' ? 0 : 1);

function byTurn(a: Execution, b: Execution): number {
  return rank(a) - rank(b) || a.queuedAt - b.queuedAt || a.order - b.order;
}

/** A JobExecutionSummary of the device planes: whole seconds (P3), and no status. */
export function summaryOf(execution: Execution): object {
  const { jobId, queuedAt, lastUpdatedAt, startedAt, executionNumber, versionNumber } = execution;
  return {
    jobId,
    queuedAt: Math.floor(queuedAt),
    lastUpdatedAt: Math.floor(lastUpdatedAt),
    ...(startedAt !== undefined && { startedAt: Math.floor(startedAt) }),
    executionNumber,
    versionNumber,
  };
}

/** S23: the earlier of the two. */
export function deadlineOf({ inProgressDeadlineMs, stepDeadlineMs }: Execution): number | undefined {
  const set = [inProgressDeadlineMs, stepDeadlineMs].filter((one) => one !== undefined);
  return set.length === 0 ? undefined : Math.min(...set);
}
