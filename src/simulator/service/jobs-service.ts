import type { SimulatorClock } from '../clock.ts';
import { DEFAULT_SWITCHES, type Switches } from '../options.ts';
import { createMemoryStore } from '../store/memory-store.ts';
import type { Store } from '../store/port.ts';
import { targetOf, thingArn } from './arns.ts';
import { type Change, Changes } from './changes.ts';
import type { Core } from './core.ts';
import { Events } from './events.ts';
import { Jobs } from './jobs.ts';
import { Notifications } from './notifications.ts';
import { Outbox } from './outbox.ts';
import { State } from './state.ts';
import { Things } from './things.ts';
import { Timers } from './timers.ts';
import type {
  CancelExecutionRequest,
  CancelJobRequest,
  DeviceUpdate,
  Directory,
  DocumentResolver,
  EventConfigurations,
  Execution,
  ExecutionFilter,
  Job,
  JobChanges,
  JobFilter,
  JobProcessDetails,
  NewJob,
  Notifier,
} from './types.ts';
import { Refusal } from './types.ts';
import { Waiting } from './waiting.ts';

export { jobArn, thingArn } from './arns.ts';
export { summaryOf } from './notifications.ts';
export type * from './types.ts';

export interface JobsServiceDeps {
  clock: SimulatorClock;
  notifier: Notifier;
  switches?: Partial<Switches>;
  /** In memory when none is given. */
  store?: Store;
  /** Things and groups by name alone when none is given. */
  directory?: Directory;
  /** What makes the document of an execution out of that of its job; as it is when none is given. */
  document?: DocumentResolver;
}

/**
 * The Jobs service itself: jobs, executions, their timers, notifications and events. Knows no network. Members of
 * requests are validated by whoever calls; states and existence are checked here, and refused by the names of the
 * device plane. All of it happens at once, in memory; `saved` says when it is durable.
 */
export class JobsService {
  /** Read at each use: a change holds from then on. */
  readonly switches: Switches;
  readonly #changes = new Changes();
  readonly #core: Core;
  readonly #jobs: Jobs;
  readonly #outbox: Outbox;
  readonly #store: Store;
  readonly #document: DocumentResolver;

  constructor(deps: JobsServiceDeps) {
    const { clock, notifier, directory = new Things() } = deps;
    this.switches = { ...DEFAULT_SWITCHES, ...deps.switches };
    this.#store = deps.store ?? createMemoryStore();
    this.#document = deps.document ?? (({ document }) => document);
    this.#outbox = new Outbox(deps.store && (() => this.#store.saved()));
    const state = new State(this.#store, this.#changes);
    const timers = new Timers(clock, (act) => this.#changes.during(act));
    const shared = { state, timers, switches: this.switches, outbox: this.#outbox, notifier };
    this.#core = {
      ...shared,
      waiting: new Waiting(this.#store),
      directory,
      notifications: new Notifications({ ...shared, document: this.#document }),
      events: new Events(this.#store, shared),
    };
    this.#jobs = new Jobs(this.#core);
    this.#changes.during(() => this.#jobs.restore());
  }

  close(): void {
    this.#core.timers.close();
  }

  /** Resolves when all that was done so far is durable: an answer goes out after that. */
  saved(): Promise<void> {
    return this.#store.saved();
  }

  /** Epoch milliseconds, as the service counts them; they never go back. */
  nowMs(): number {
    return this.#core.timers.nowMs();
  }

  /**
   * N20: does something whose answer must go out before what it makes known. The caller sends the answer, and calls
   * what this returns, once.
   */
  holdWhile(act: () => void): () => void {
    return this.#outbox.holdWhile(act);
  }

  /** Who watches the service, as the console does; returns its own end. A listener must not change anything. */
  onChange(listener: (change: Change) => void): () => void {
    return this.#changes.onChange(listener);
  }

  // Things, and the groups that they belong to.

  /** Gives its ARN, which is what jobs name as a target. */
  createThing(thing: string): string {
    this.#changes.during(() => {
      this.#core.directory.addThing(thing);
      this.#changes.note({ kind: 'thing', thing });
    });
    return thingArn(thing);
  }

  things(): string[] {
    return [...this.#core.directory.thingNames()];
  }

  hasThing(thing: string): boolean {
    return this.#core.directory.hasThing(thing);
  }

  /** S5: the thing is gone; what was open becomes REMOVED. */
  removeThing(thing: string): void {
    this.#changes.during(() => {
      this.#core.directory.deleteThing(thing);
      this.thingDeleted(thing);
    });
  }

  /** To be called when the thing belongs to the group (or to one below it) already. */
  thingJoined(group: string, thing: string): void {
    this.#changes.during(() => this.#jobs.thingJoined(group, thing));
  }

  thingLeft(group: string, thing: string): void {
    this.#changes.during(() => this.#jobs.thingLeft(group, thing));
  }

  thingDeleted(thing: string): void {
    this.#changes.during(() => {
      this.#jobs.thingDeleted(thing);
      this.#changes.note({ kind: 'thing', thing });
    });
  }

  // Jobs.

  createJob(wanted: NewJob): Job {
    return this.#changes.during(() => this.#jobs.create(wanted));
  }

  updateJob(jobId: string, changes: JobChanges): Job {
    return this.#changes.during(() => this.#jobs.update(jobId, changes));
  }

  /** C19 */
  cancelJob(jobId: string, request: CancelJobRequest): Job {
    return this.#changes.during(() => this.#jobs.cancel(jobId, request));
  }

  /** C20 */
  deleteJob(jobId: string, force: boolean): void {
    this.#changes.during(() => this.#jobs.delete(jobId, force));
  }

  /** As new: no jobs, no things, no events. */
  clear(): void {
    this.#core.events.clear();
    this.#changes.during(() => this.#jobs.clear());
    for (const thing of this.things()) this.removeThing(thing);
  }

  associateTargets(jobId: string, targets: readonly string[], comment?: string): Job {
    return this.#changes.during(() => this.#jobs.associate(jobId, targets, comment));
  }

  job(jobId: string): Job {
    return this.#core.state.job(jobId);
  }

  /** The oldest first. */
  jobs(filter: JobFilter = {}): Job[] {
    const { status, targetSelection, thingGroupName, namespaceId } = filter;
    const hasGroup = (arn: string): boolean => {
      const target = targetOf(arn);
      return target?.kind === 'thinggroup' && target.name === thingGroupName;
    };
    return [...this.#core.state.jobs()].filter(
      (job) =>
        (status === undefined || job.status === status) &&
        (targetSelection === undefined || job.targetSelection === targetSelection) &&
        (namespaceId === undefined || job.namespaceId === namespaceId) &&
        (thingGroupName === undefined || job.targets.some(hasGroup)),
    );
  }

  /** Counters of DescribeJob. */
  jobProcessDetails(jobId: string): JobProcessDetails {
    const job = this.job(jobId);
    const targets = this.#jobs.processingTargets(job);
    return {
      ...(targets.length > 0 && { processingTargets: targets }),
      ...this.#core.state.processDetails(jobId),
    };
  }

  /** Things that the job has made no execution for, and will. */
  waitingThings(jobId: string): number {
    return this.#core.waiting.count(jobId);
  }

  /** S29: executions are being made. */
  isConcurrent(jobId: string): boolean {
    return this.#jobs.isConcurrent(this.job(jobId));
  }

  // Executions.

  /** All executions of a job or of a thing, oldest first. */
  executions(filter: ExecutionFilter): Execution[] {
    const { state } = this.#core;
    const { jobId, thing, status, namespaceId } = filter;
    const found =
      jobId !== undefined && thing !== undefined
        ? [...state.attempts(jobId, thing)]
        : jobId !== undefined
          ? state.ofJob(jobId)
          : thing !== undefined
            ? state.ofThing(thing)
            : state.all();
    return found
      .filter(
        (one) =>
          (status === undefined || one.status === status) &&
          (namespaceId === undefined || state.job(one.jobId).namespaceId === namespaceId),
      )
      .sort((a, b) => a.order - b.order);
  }

  /** P16: without a number the latest. */
  execution(thing: string, jobId: string, executionNumber?: number): Execution {
    return this.#jobs.executions.get(thing, jobId, executionNumber);
  }

  /** What a device has to do: what is in progress first, then what is queued, each by age (N5, P10, P11). */
  pending(thing: string): Execution[] {
    return this.#core.notifications.pending(thing);
  }

  /** P9, L14: as much of it as a list shows. */
  listedPending(thing: string): readonly Execution[] {
    return this.#core.notifications.listed(this.pending(thing));
  }

  /** What `$next/get` finds. */
  front(thing: string): Execution | undefined {
    return this.#core.notifications.front(thing);
  }

  update(thing: string, jobId: string, update: DeviceUpdate): Execution {
    return this.#changes.during(() => this.#jobs.executions.update(thing, jobId, update));
  }

  startNext(
    thing: string,
    update: Pick<DeviceUpdate, 'statusDetails' | 'stepTimeoutInMinutes'>,
  ): Execution | undefined {
    return this.#changes.during(() => this.#jobs.executions.startNext(thing, update));
  }

  /** C11-C17 */
  cancelExecution(thing: string, jobId: string, request: CancelExecutionRequest): void {
    this.#changes.during(() => this.#jobs.executions.cancel(thing, jobId, request));
  }

  /** C21 */
  deleteExecution(thing: string, jobId: string, executionNumber: number, force: boolean): void {
    this.#changes.during(() => this.#jobs.executions.delete(thing, jobId, executionNumber, force));
  }

  /** Ends an execution as its timer would, now; refused where no timer runs (S21). */
  timeOut(thing: string, jobId: string): void {
    const execution = this.execution(thing, jobId);
    if (execution.status !== 'IN_PROGRESS')
      throw new Refusal('InvalidStateTransition', `the execution is ${execution.status}`, execution);
    this.#changes.during(() => this.#jobs.executions.timeOut(execution));
  }

  /** Seconds until the effective deadline, where a timer runs (S23, S24). */
  secondsLeft(execution: Execution): number | undefined {
    return this.#core.notifications.secondsLeft(execution);
  }

  /** The JSON text that a device gets now. */
  documentOf(execution: Execution): string {
    return this.#document(this.job(execution.jobId), execution);
  }

  /** A JobExecution as MQTT tells it (section 1.3). */
  described(execution: Execution, withDocument: boolean): object {
    return this.#core.notifications.described(execution, withDocument);
  }

  // Events (section 7).

  eventConfigurations(): EventConfigurations {
    return this.#core.events.configurations();
  }

  /** Epoch seconds of the first and the last change; none before the first. */
  eventsConfiguredAt(): { creationDate: number; lastModifiedDate: number } | undefined {
    return this.#core.events.configuredAt();
  }

  updateEventConfigurations(changes: Readonly<EventConfigurations>): void {
    this.#core.events.configure(changes);
  }
}
