import {
  type Change,
  DEFAULT_SWITCHES,
  type Details,
  type Execution,
  type Job,
  Refusal,
  type SimulatorClock,
  type Status,
  type Switches,
  TERMINAL,
} from './types.ts';

/** Told about each change that a device may hear of. */
export interface Notifier {
  /** N1: all pending executions. */
  notify(thing: string, body: object): void;
  /** The front has changed, or nothing is pending any more. */
  notifyNext(thing: string, body: object): void;
}

export interface NewJob {
  jobId: string;
  targets: string[];
  document: string;
  description?: string;
  targetSelection?: 'SNAPSHOT' | 'CONTINUOUS';
  inProgressTimeoutInMinutes?: number;
  retries?: Job['retries'];
}

export interface DeviceUpdate {
  status: Status;
  statusDetails?: Details;
  expectedVersion?: number;
  executionNumber?: number;
  stepTimeoutInMinutes?: number;
}

const REGION = 'us-east-1';
const ACCOUNT = '123456789012';
const MINUTE_MS = 60_000;
/** L14 */
const LISTED_MAX = 10;
const DEVICE_STATUSES: readonly Status[] = ['IN_PROGRESS', 'SUCCEEDED', 'FAILED', 'REJECTED'];

export function thingArn(thing: string): string {
  return `arn:aws:iot:${REGION}:${ACCOUNT}:thing/${thing}`;
}

export function jobArn(jobId: string): string {
  return `arn:aws:iot:${REGION}:${ACCOUNT}:job/${jobId}`;
}

/** The Jobs service itself: things, jobs, executions, their timers and notifications. Knows no network. */
export class JobsService {
  readonly switches: Switches;
  readonly #clock: SimulatorClock;
  readonly #notifier: Notifier;
  readonly #things = new Set<string>();
  readonly #jobs = new Map<string, Job>();
  /** The one that waits for the deadline of each execution in progress. */
  readonly #watchers = new Map<Execution, AbortController>();
  readonly #listeners = new Set<(change: Change) => void>();
  #executions: Execution[] = [];
  #order = 0;
  /** What the running change has changed so far, and how deep it is nested: told when it is complete. */
  #changed: Change[] = [];
  #depth = 0;

  constructor(clock: SimulatorClock, notifier: Notifier, switches: Partial<Switches> = {}) {
    this.#clock = clock;
    this.#notifier = notifier;
    this.switches = { ...DEFAULT_SWITCHES, ...switches };
  }

  close(): void {
    for (const watcher of this.#watchers.values()) watcher.abort(new Error('closed'));
  }

  /** Who watches the service, as the console does; returns its own end. A listener must not change anything. */
  onChange(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  createThing(thing: string): void {
    this.#things.add(thing);
    this.#tell({ kind: 'thing', thing });
  }

  things(): string[] {
    return [...this.#things];
  }

  hasThing(thing: string): boolean {
    return this.#things.has(thing);
  }

  /** S5: the thing is gone; what was open becomes REMOVED. */
  removeThing(thing: string): void {
    this.#things.delete(thing);
    this.#change(thing, () => {
      for (const execution of this.pending(thing)) this.#endByService(execution, 'REMOVED');
    });
    this.#tell({ kind: 'thing', thing });
  }

  createJob(wanted: NewJob): Job {
    if (this.#jobs.has(wanted.jobId))
      throw new Refusal('ResourceAlreadyExists', `job ${wanted.jobId} exists`);
    const things = wanted.targets.map((arn) => /:thing\/(.+)$/.exec(arn)?.[1] ?? '');
    const unknown = things.find((thing) => !this.#things.has(thing));
    if (unknown !== undefined) throw new Refusal('ResourceNotFound', `no thing "${unknown}"`);
    const { retries = [], targetSelection = 'SNAPSHOT', ...rest } = wanted;
    const now = this.#nowSeconds();
    const job: Job = {
      ...rest,
      arn: jobArn(wanted.jobId),
      targetSelection,
      status: 'IN_PROGRESS',
      createdAt: now,
      lastUpdatedAt: now,
      retries,
    };
    this.#jobs.set(job.jobId, job);
    this.#tell({ kind: 'job', jobId: job.jobId });
    for (const thing of new Set(things)) this.#queue(thing, job.jobId, 1, 0);
    return job;
  }

  job(jobId: string): Job {
    const job = this.#jobs.get(jobId);
    if (!job) throw new Refusal('ResourceNotFound', `no job ${jobId}`);
    return job;
  }

  jobs(): Job[] {
    return [...this.#jobs.values()];
  }

  /** All executions of a job or of a thing, oldest first. */
  executions(of: { jobId?: string; thing?: string }): Execution[] {
    return this.#executions.filter(
      ({ jobId, thing }) =>
        (of.jobId === undefined || jobId === of.jobId) && (of.thing === undefined || thing === of.thing),
    );
  }

  /** P16: without a number the latest. */
  execution(thing: string, jobId: string, executionNumber?: number): Execution {
    const found = this.executions({ thing, jobId }).filter(
      (one) => executionNumber === undefined || one.executionNumber === executionNumber,
    );
    const latest = found.reduce<Execution | undefined>(
      (a, b) => (a && a.executionNumber > b.executionNumber ? a : b),
      undefined,
    );
    if (!latest) throw new Refusal('ResourceNotFound', `no execution of ${jobId} on ${thing}`);
    return latest;
  }

  /** Open executions in order: what is in progress first, then what is queued, each by age (N5, P11). */
  pending(thing: string): Execution[] {
    const open = this.#executions.filter((one) => one.thing === thing && !TERMINAL.includes(one.status));
    const rank = ({ status }: Execution): number => (status === 'IN_PROGRESS' ? 0 : 1);
    return open.sort((a, b) => rank(a) - rank(b) || a.queuedAt - b.queuedAt || a.order - b.order);
  }

  /** A device's update: E3-E6, P21-P25, S1-S4. */
  update(thing: string, jobId: string, update: DeviceUpdate): Execution {
    const execution = this.execution(thing, jobId, update.executionNumber);
    if (!DEVICE_STATUSES.includes(update.status))
      throw new Refusal('InvalidRequest', `status ${update.status}`);
    const { terminalBeforeVersion } = this.switches;
    const checks = [
      () => this.#checkOpen(execution),
      () => this.#checkVersion(execution, update.expectedVersion),
    ];
    for (const check of terminalBeforeVersion ? checks : checks.reverse()) check();
    this.#change(thing, () => {
      if (update.statusDetails) execution.statusDetails = update.statusDetails;
      this.#touch(execution);
      if (TERMINAL.includes(update.status)) this.#finish(execution, update.status);
      else this.#start(execution, update.stepTimeoutInMinutes);
    });
    return execution;
  }

  /** StartNextPendingJobExecution (P11-P14). */
  startNext(
    thing: string,
    update: Pick<DeviceUpdate, 'statusDetails' | 'stepTimeoutInMinutes'>,
  ): Execution | undefined {
    const [front] = this.pending(thing);
    if (front?.status !== 'QUEUED') return front;
    return this.update(thing, front.jobId, {
      ...update,
      status: 'IN_PROGRESS',
      executionNumber: front.executionNumber,
    });
  }

  /** C11-C17. */
  cancelExecution(
    thing: string,
    jobId: string,
    request: { force: boolean; expectedVersion?: number; statusDetails?: Details },
  ): void {
    const execution = this.execution(thing, jobId);
    if (TERMINAL.includes(execution.status) || (execution.status === 'IN_PROGRESS' && !request.force)) {
      throw new Refusal('InvalidStateTransition', `the execution is ${execution.status}`, execution);
    }
    if (request.expectedVersion !== undefined && request.expectedVersion !== execution.versionNumber) {
      throw new Refusal('VersionConflict', `the version is ${execution.versionNumber}`, execution);
    }
    this.#change(thing, () => {
      if (request.statusDetails) execution.statusDetails = request.statusDetails;
      if (request.force) execution.forceCanceled = true;
      this.#endByService(execution, 'CANCELED');
    });
  }

  /** C19. */
  cancelJob(jobId: string, request: { force: boolean; reasonCode?: string; comment?: string }): Job {
    const job = this.job(jobId);
    const { force, ...reasons } = request;
    Object.assign(job, reasons, { status: 'CANCELED', lastUpdatedAt: this.#nowSeconds() });
    if (force) job.forceCanceled = true;
    this.#tell({ kind: 'job', jobId });
    for (const execution of this.executions({ jobId })) {
      const open = execution.status === 'QUEUED' || (force && execution.status === 'IN_PROGRESS');
      if (!open) continue;
      this.#change(execution.thing, () => {
        if (force) execution.forceCanceled = true;
        this.#endByService(execution, 'CANCELED');
      });
    }
    return job;
  }

  /** C20. */
  deleteJob(jobId: string, force: boolean): void {
    const job = this.job(jobId);
    if (!force && job.status === 'IN_PROGRESS')
      throw new Refusal('InvalidStateTransition', 'the job is in progress');
    const things = new Set(this.executions({ jobId }).map(({ thing }) => thing));
    for (const thing of things) {
      this.#change(thing, () => {
        this.#remove((one) => one.jobId === jobId && one.thing === thing);
      });
    }
    this.#jobs.delete(jobId);
    this.#tell({ kind: 'job', jobId });
  }

  /** C21. */
  deleteExecution(thing: string, jobId: string, executionNumber: number, force: boolean): void {
    const execution = this.execution(thing, jobId, executionNumber);
    if (!force && execution.status === 'IN_PROGRESS') {
      throw new Refusal('InvalidStateTransition', 'the execution is in progress');
    }
    this.#change(thing, () => {
      this.#remove((one) => one === execution);
    });
  }

  /** Ends an execution as its timer would, now. */
  timeOut(thing: string, jobId: string): void {
    const execution = this.execution(thing, jobId);
    this.#change(thing, () => this.#finish(execution, 'TIMED_OUT', true));
  }

  /** Seconds until the effective deadline, where a timer runs (S23, S24). */
  secondsLeft(execution: Execution): number | undefined {
    const deadline = deadlineOf(execution);
    return deadline === undefined
      ? undefined
      : Math.max(0, Math.ceil((deadline - this.#clock.monotonicMs()) / 1000));
  }

  document(jobId: string): unknown {
    return JSON.parse(this.job(jobId).document) as unknown;
  }

  #queue(thing: string, jobId: string, executionNumber: number, retryAttempt: number): void {
    const now = this.#nowSeconds();
    this.#change(thing, () => {
      this.#order += 1;
      const execution: Execution = {
        thing,
        jobId,
        executionNumber,
        retryAttempt,
        status: 'QUEUED',
        statusDetails: {},
        queuedAt: now,
        lastUpdatedAt: now,
        versionNumber: 1,
        order: this.#order,
      };
      this.#executions.push(execution);
      this.#changed.push({ kind: 'execution', execution, deleted: false });
    });
  }

  #remove(which: (execution: Execution) => boolean): void {
    for (const execution of this.#executions.filter(which)) {
      this.#changed.push({ kind: 'execution', execution, deleted: true });
    }
    this.#executions = this.#executions.filter((one) => !which(one));
  }

  #checkOpen(execution: Execution): void {
    if (!TERMINAL.includes(execution.status)) return;
    const told = this.switches.terminalCarriesState ? execution : undefined;
    throw new Refusal('InvalidStateTransition', `the execution is ${execution.status}`, told);
  }

  #checkVersion(execution: Execution, expected: number | undefined): void {
    if (expected === undefined || expected === execution.versionNumber) return;
    throw new Refusal('VersionMismatch', `the version is ${execution.versionNumber}`, execution);
  }

  #touch(execution: Execution): void {
    execution.versionNumber += 1;
    execution.lastUpdatedAt = this.#nowSeconds();
    this.#changed.push({ kind: 'execution', execution, deleted: false });
  }

  #start(execution: Execution, stepMinutes: number | undefined): void {
    const nowMs = this.#clock.monotonicMs();
    if (execution.status === 'QUEUED') {
      execution.status = 'IN_PROGRESS';
      execution.startedAt = this.#nowSeconds();
      const minutes = this.#jobs.get(execution.jobId)?.inProgressTimeoutInMinutes;
      if (minutes !== undefined) execution.inProgressDeadlineMs = nowMs + minutes * MINUTE_MS;
    }
    if (stepMinutes === -1) delete execution.stepDeadlineMs;
    else if (stepMinutes !== undefined) execution.stepDeadlineMs = nowMs + stepMinutes * MINUTE_MS;
    void this.#watch(execution);
  }

  /** Waits for the deadline; every update that moves it brings a new watcher. */
  async #watch(execution: Execution): Promise<void> {
    this.#watchers.get(execution)?.abort(new Error('moved'));
    this.#watchers.delete(execution);
    const deadline = deadlineOf(execution);
    if (deadline === undefined) return;
    const watcher = new AbortController();
    this.#watchers.set(execution, watcher);
    try {
      await this.#clock.sleep(Math.max(0, deadline - this.#clock.monotonicMs()), watcher.signal);
    } catch {
      return;
    }
    this.#watchers.delete(execution);
    this.#change(execution.thing, () => this.#finish(execution, 'TIMED_OUT', true));
  }

  /** S13: a change by the service moves the version too. */
  #endByService(execution: Execution, status: Status): void {
    this.#touch(execution);
    this.#finish(execution, status);
  }

  #finish(execution: Execution, status: Status, touch = false): void {
    if (touch) this.#touch(execution);
    execution.status = status;
    delete execution.inProgressDeadlineMs;
    delete execution.stepDeadlineMs;
    void this.#watch(execution);
    const job = this.#jobs.get(execution.jobId);
    if (!job) return;
    if (this.#retries(job, execution)) {
      this.#queue(execution.thing, job.jobId, execution.executionNumber + 1, execution.retryAttempt + 1);
      return;
    }
    const all = this.executions({ jobId: job.jobId });
    if (
      job.status === 'IN_PROGRESS' &&
      job.targetSelection === 'SNAPSHOT' &&
      all.every((one) => TERMINAL.includes(one.status))
    ) {
      job.status = 'COMPLETED';
      job.completedAt = this.#nowSeconds();
      this.#changed.push({ kind: 'job', jobId: job.jobId });
    }
  }

  /** S16: FAILED and TIMED_OUT only, as often as the job says. */
  #retries(job: Job, { status, retryAttempt }: Execution): boolean {
    if (job.status !== 'IN_PROGRESS' || (status !== 'FAILED' && status !== 'TIMED_OUT')) return false;
    const rule = job.retries.find(({ failureType }) => failureType === 'ALL' || failureType === status);
    return rule !== undefined && retryAttempt < rule.numberOfRetries;
  }

  /** N6-N18: `notify` when an execution came or went, `notify-next` when the front is another one. */
  #change(thing: string, act: () => void): void {
    const before = this.pending(thing);
    this.#depth += 1;
    try {
      act();
    } finally {
      this.#depth -= 1;
    }
    const after = this.pending(thing);
    const same = before.length === after.length && before.every((one) => after.includes(one));
    if (!same) this.#notifier.notify(thing, this.#notifyBody(after));
    if (before[0] !== after[0]) this.#notifier.notifyNext(thing, this.#nextBody(after[0]));
    if (this.#depth === 0) this.#tell();
  }

  #tell(...more: Change[]): void {
    const changed = [...this.#changed, ...more];
    this.#changed = [];
    for (const change of changed) for (const listener of this.#listeners) listener(change);
  }

  #notifyBody(pending: readonly Execution[]): object {
    const listed = pending.slice(0, LISTED_MAX);
    const under = (status: Status): object[] => listed.filter((one) => one.status === status).map(summaryOf);
    const lists = Object.entries({ IN_PROGRESS: under('IN_PROGRESS'), QUEUED: under('QUEUED') });
    return {
      timestamp: this.#nowSeconds(),
      jobs: Object.fromEntries(lists.filter(([, list]) => list.length > 0)),
    };
  }

  #nextBody(front: Execution | undefined): object {
    const timestamp = this.#nowSeconds();
    return front ? { timestamp, execution: this.described(front, true) } : { timestamp };
  }

  /** A JobExecution as the device plane tells it (section 1.3). */
  described(execution: Execution, withDocument: boolean): object {
    const left = this.secondsLeft(execution);
    return {
      jobId: execution.jobId,
      thingName: execution.thing,
      status: execution.status,
      ...(Object.keys(execution.statusDetails).length > 0 && { statusDetails: execution.statusDetails }),
      ...summaryOf(execution),
      ...(left !== undefined && { approximateSecondsBeforeTimedOut: left }),
      ...(withDocument && { jobDocument: this.document(execution.jobId) }),
    };
  }

  #nowSeconds(): number {
    return Math.floor(this.#clock.wallMs() / 1000);
  }
}

export function summaryOf(execution: Execution): object {
  const { jobId, queuedAt, lastUpdatedAt, startedAt, executionNumber, versionNumber } = execution;
  return {
    jobId,
    queuedAt,
    lastUpdatedAt,
    ...(startedAt !== undefined && { startedAt }),
    executionNumber,
    versionNumber,
  };
}

/** S23: the earlier of the two. */
function deadlineOf({ inProgressDeadlineMs, stepDeadlineMs }: Execution): number | undefined {
  const set = [inProgressDeadlineMs, stepDeadlineMs].filter((one) => one !== undefined);
  return set.length === 0 ? undefined : Math.min(...set);
}
