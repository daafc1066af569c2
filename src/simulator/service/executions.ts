import { type Core, nowSeconds } from './core.ts';
import { deadlineOf } from './notifications.ts';
import {
  type CancelExecutionRequest,
  type DeviceUpdate,
  type Execution,
  type Job,
  Refusal,
  type Status,
  TERMINAL,
} from './types.ts';

const MINUTE_MS = 60_000;
/** S16 */
const RETRIES_MAX = 10;
const DEVICE_STATUSES: readonly Status[] = ['IN_PROGRESS', 'SUCCEEDED', 'FAILED', 'REJECTED'];

/** Every way in which an execution comes, changes and ends (sections 3.1-3.4). */
export class Executions {
  readonly #core: Core;
  /** Told when an attempt has ended that will not be tried again, or an execution is gone. */
  readonly #onEnded: (jobId: string) => void;

  constructor(core: Core, onEnded: (jobId: string) => void) {
    this.#core = core;
    this.#onEnded = onEnded;
  }

  /** P16: without a number the latest. */
  get(thing: string, jobId: string, executionNumber?: number): Execution {
    const attempts = this.#core.state.attempts(jobId, thing);
    const found =
      executionNumber === undefined
        ? attempts.at(-1)
        : attempts.find((one) => one.executionNumber === executionNumber);
    if (!found) throw new Refusal('ResourceNotFound', `no execution of ${jobId} on ${thing}`);
    return found;
  }

  /** S11, S15, S17: a fresh attempt, under the next number. */
  queue(jobId: string, thing: string, retryAttempt = 0): void {
    const { state, notifications } = this.#core;
    const now = nowSeconds(this.#core);
    notifications.change(thing, () => {
      state.add({
        thing,
        jobId,
        executionNumber: (state.latest(jobId, thing)?.executionNumber ?? 0) + 1,
        retryAttempt,
        status: 'QUEUED',
        statusDetails: {},
        queuedAt: now,
        lastUpdatedAt: now,
        versionNumber: 1,
      });
    });
  }

  /** A device's update: E3-E6, P21-P25, S1-S4. */
  update(thing: string, jobId: string, update: DeviceUpdate): Execution {
    const execution = this.get(thing, jobId, update.executionNumber);
    if (!DEVICE_STATUSES.includes(update.status))
      throw new Refusal('InvalidRequest', `status: a device cannot report ${update.status}`);
    this.#check(execution, update);
    const { state, notifications } = this.#core;
    const wasQueued = execution.status === 'QUEUED';
    const act = (): void => {
      if (update.statusDetails) execution.statusDetails = { ...update.statusDetails };
      this.#touch(execution);
      if (TERMINAL.includes(update.status)) {
        this.#end(execution, update.status);
        return;
      }
      if (wasQueued) this.#start(execution);
      this.#setStepTimer(execution, update.stepTimeoutInMinutes);
      state.save(execution);
    };
    if (TERMINAL.includes(update.status)) this.#endAndRetry(execution, act);
    else notifications.change(thing, act);
    if (!wasQueued) notifications.repeatNext(thing, execution);
    return execution;
  }

  /** StartNextPendingJobExecution (P11-P14). */
  startNext(
    thing: string,
    update: Pick<DeviceUpdate, 'statusDetails' | 'stepTimeoutInMinutes'>,
  ): Execution | undefined {
    const { notifications, switches, state } = this.#core;
    const [front] = notifications.pending(thing);
    if (!front) return undefined;
    if (front.status === 'QUEUED') {
      const { executionNumber } = front;
      return this.update(thing, front.jobId, { ...update, status: 'IN_PROGRESS', executionNumber });
    }
    if (update.stepTimeoutInMinutes !== undefined && switches.startNextAppliesStepTimeout) {
      this.#setStepTimer(front, update.stepTimeoutInMinutes);
      state.save(front);
    }
    return front;
  }

  /** C11-C17: the latest attempt. */
  cancel(thing: string, jobId: string, request: CancelExecutionRequest): void {
    const execution = this.get(thing, jobId);
    if (TERMINAL.includes(execution.status) || (execution.status === 'IN_PROGRESS' && !request.force)) {
      throw new Refusal('InvalidStateTransition', `the execution is ${execution.status}`, execution);
    }
    if (request.expectedVersion !== undefined && request.expectedVersion !== execution.versionNumber) {
      throw new Refusal('VersionConflict', `the version is ${execution.versionNumber}`, execution);
    }
    // C14: given details take the place of the device's own.
    if (request.statusDetails) execution.statusDetails = { ...request.statusDetails };
    this.endByService(execution, 'CANCELED', request.force);
    this.#onEnded(jobId);
  }

  /** S5, S13: CANCELED or REMOVED. What becomes of the job is the caller's to say. */
  endByService(execution: Execution, status: 'CANCELED' | 'REMOVED', force = false): void {
    this.#core.notifications.change(execution.thing, () => {
      if (force) execution.forceCanceled = true;
      this.#touchByService(execution);
      this.#end(execution, status);
    });
  }

  /** C21 */
  delete(thing: string, jobId: string, executionNumber: number, force: boolean): void {
    const execution = this.get(thing, jobId, executionNumber);
    if (!force && execution.status === 'IN_PROGRESS') {
      throw new Refusal('InvalidStateTransition', 'the execution is IN_PROGRESS');
    }
    this.forget(execution);
    this.#onEnded(jobId);
  }

  forget(execution: Execution): void {
    const { notifications, timers, state, events } = this.#core;
    notifications.change(execution.thing, () => {
      timers.clear(timerOf(execution));
      state.delete(execution);
    });
    events.execution(execution, 'deleted');
  }

  /** S24, S25: what a timer does at its end. */
  timeOut(execution: Execution): void {
    this.#endAndRetry(execution, () => {
      this.#touchByService(execution);
      this.#end(execution, 'TIMED_OUT');
    });
  }

  /** Sets the timers of a state that was read back. */
  restore(): void {
    for (const execution of this.#core.state.all()) this.#watch(execution);
  }

  #check(execution: Execution, { status, expectedVersion }: DeviceUpdate): void {
    const { terminalBeforeVersion, terminalCarriesState, queuedToSucceededAccepted } = this.#core.switches;
    const checkOpen = (): void => {
      if (!TERMINAL.includes(execution.status)) return;
      const told = terminalCarriesState ? execution : undefined;
      throw new Refusal('InvalidStateTransition', `the execution is ${execution.status}`, told);
    };
    const checkVersion = (): void => {
      if (expectedVersion === undefined || expectedVersion === execution.versionNumber) return;
      throw new Refusal('VersionMismatch', `the version is ${execution.versionNumber}`, execution);
    };
    // E13
    const checks = terminalBeforeVersion ? [checkOpen, checkVersion] : [checkVersion, checkOpen];
    for (const check of checks) check();
    if (status === 'SUCCEEDED' && execution.status === 'QUEUED' && !queuedToSucceededAccepted)
      throw new Refusal('InvalidStateTransition', 'the execution is QUEUED', execution);
  }

  /** Ends an attempt by `act`, and queues the next one where the job says so (S16, S17, N18c). */
  #endAndRetry(execution: Execution, act: () => void): void {
    const { thing, jobId, retryAttempt } = execution;
    const { notifications, switches, state } = this.#core;
    const retry = (): boolean => {
      if (!this.#isRetried(state.job(jobId), execution)) return false;
      this.queue(jobId, thing, retryAttempt + 1);
      return true;
    };
    let retried = false;
    if (switches.notifyOnRetry === 'once') {
      notifications.change(thing, () => {
        act();
        retried = retry();
      });
    } else {
      notifications.change(thing, act);
      retried = retry();
    }
    if (!retried) this.#onEnded(jobId);
  }

  /** S16: FAILED and TIMED_OUT only, as often as the job says; S18: none once the job has been cancelled. */
  #isRetried(job: Job, { status, retryAttempt, jobId, thing }: Execution): boolean {
    const isActive = job.status === 'IN_PROGRESS' || job.status === 'SCHEDULED';
    if (!isActive || job.rollout.phase === 'ended') return false;
    if ((status !== 'FAILED' && status !== 'TIMED_OUT') || retryAttempt >= RETRIES_MAX) return false;
    const criteria = job.jobExecutionsRetryConfig?.criteriaList ?? [];
    const rule = ['ALL', status]
      .map((type) => criteria.findLast(({ failureType }) => failureType === type))
      .findLast((one) => one !== undefined);
    if (!rule) return false;
    // Each failure type has its own number; a thing that left its group and came back starts anew (S18).
    const series = this.#core.state.attempts(jobId, thing).slice(-1 - retryAttempt, -1);
    const used = series.filter((one) => rule.failureType === 'ALL' || one.status === rule.failureType);
    return used.length < rule.numberOfRetries;
  }

  #touch(execution: Execution): void {
    execution.versionNumber += 1;
    execution.lastUpdatedAt = nowSeconds(this.#core);
  }

  /** S13 */
  #touchByService(execution: Execution): void {
    if (this.#core.switches.versionIncrementOnServiceChange) execution.versionNumber += 1;
    execution.lastUpdatedAt = nowSeconds(this.#core);
  }

  /** S21: the timer of the job starts here, with what the job says now. */
  #start(execution: Execution): void {
    const { state, timers } = this.#core;
    state.setStatus(execution, 'IN_PROGRESS');
    execution.startedAt = nowSeconds(this.#core);
    const minutes = state.job(execution.jobId).timeoutConfig?.inProgressTimeoutInMinutes;
    if (minutes !== undefined) execution.inProgressDeadlineMs = timers.nowMs() + minutes * MINUTE_MS;
    this.#watch(execution);
  }

  /** S22 */
  #setStepTimer(execution: Execution, minutes: number | undefined): void {
    if (minutes === undefined) return;
    if (minutes === -1) delete execution.stepDeadlineMs;
    else execution.stepDeadlineMs = this.#core.timers.nowMs() + minutes * MINUTE_MS;
    this.#watch(execution);
  }

  #end(execution: Execution, status: Status): void {
    const { state, timers, events } = this.#core;
    delete execution.inProgressDeadlineMs;
    delete execution.stepDeadlineMs;
    timers.clear(timerOf(execution));
    state.setStatus(execution, status);
    events.execution(execution, status.toLowerCase());
  }

  #watch(execution: Execution): void {
    const { timers, switches } = this.#core;
    const deadlineMs = deadlineOf(execution);
    if (deadlineMs === undefined) {
      timers.clear(timerOf(execution));
      return;
    }
    const wait = (atMs: number): void =>
      timers.set(timerOf(execution), atMs, () => {
        const lateMs = deadlineMs + switches.lateTimersSeconds * 1000;
        if (timers.nowMs() < lateMs) wait(lateMs);
        else this.timeOut(execution);
      });
    wait(deadlineMs);
  }
}

const timerOf = ({ jobId, thing, executionNumber }: Execution): string =>
  `execution/${jobId}/${thing}/${executionNumber}`;
