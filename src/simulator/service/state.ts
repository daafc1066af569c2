import type { Collection, Store } from '../store/port.ts';
import { targetOf } from './arns.ts';
import type { Changes } from './changes.ts';
import {
  type Execution,
  isActive,
  type Job,
  type JobProcessDetails,
  Refusal,
  type Status,
  TERMINAL,
} from './types.ts';

type Attempts = Execution[];

const COUNTERS: Record<Status, keyof Omit<JobProcessDetails, 'processingTargets'>> = {
  CANCELED: 'numberOfCanceledThings',
  SUCCEEDED: 'numberOfSucceededThings',
  FAILED: 'numberOfFailedThings',
  REJECTED: 'numberOfRejectedThings',
  QUEUED: 'numberOfQueuedThings',
  IN_PROGRESS: 'numberOfInProgressThings',
  REMOVED: 'numberOfRemovedThings',
  TIMED_OUT: 'numberOfTimedOutThings',
};

const none = (): Record<Status, number> => ({
  QUEUED: 0,
  IN_PROGRESS: 0,
  SUCCEEDED: 0,
  FAILED: 0,
  REJECTED: 0,
  TIMED_OUT: 0,
  REMOVED: 0,
  CANCELED: 0,
});

const keyOf = ({ jobId, thing, executionNumber }: Execution): string =>
  `${jobId}/${thing}/${executionNumber}`;

/**
 * All jobs and executions, with an index for each question that is asked often: no question looks at executions that
 * are not part of its answer. Whoever changes an entry in place says so with `saveJob` or `save`.
 */
export class State {
  readonly #jobs: Collection<Job>;
  readonly #executions: Collection<Execution>;
  readonly #byJob = new Map<string, Map<string, Attempts>>();
  readonly #byThing = new Map<string, Map<string, Attempts>>();
  readonly #openOf = new Map<string, Set<Execution>>();
  readonly #counts = new Map<string, Record<Status, number>>();
  /** Active CONTINUOUS jobs by the groups that are their targets. */
  readonly #continuous = new Map<string, Set<Job>>();
  readonly #deleting = new Set<string>();
  readonly #changes: Changes;
  #order = 0;

  constructor(store: Store, changes: Changes) {
    this.#changes = changes;
    this.#jobs = store.collection('jobs');
    this.#executions = store.collection('executions');
    for (const job of this.#jobs.values()) this.#indexJob(job);
    for (const one of this.#executions.values()) this.#index(one);
  }

  job(jobId: string): Job {
    const job = this.#jobs.get(jobId);
    if (!job) throw new Refusal('ResourceNotFound', `no job ${jobId}`);
    return job;
  }

  hasJob(jobId: string): boolean {
    return this.#jobs.has(jobId);
  }

  jobs(): IterableIterator<Job> {
    return this.#jobs.values();
  }

  saveJob(job: Job): void {
    this.#jobs.set(job.jobId, job);
    this.#indexJob(job);
    this.#changes.note({ kind: 'job', jobId: job.jobId });
  }

  deleteJob(jobId: string): void {
    this.#jobs.delete(jobId);
    this.#counts.delete(jobId);
    this.#deleting.delete(jobId);
    this.#changes.note({ kind: 'job', jobId }, 'last');
  }

  /** Jobs that are being deleted now. */
  get deletions(): number {
    return this.#deleting.size;
  }

  /** Active CONTINUOUS jobs that have the group as a target, oldest first. */
  continuousOf(group: string): Job[] {
    return [...(this.#continuous.get(group) ?? [])];
  }

  /** Jobs that have executions on the thing. */
  jobsOf(thing: string): Iterable<string> {
    return this.#byThing.get(thing)?.keys() ?? [];
  }

  /** Things that have executions of the job. */
  thingsOf(jobId: string): string[] {
    return [...(this.#byJob.get(jobId)?.keys() ?? [])];
  }

  /** Every attempt of one job on one thing, oldest first. */
  attempts(jobId: string, thing: string): readonly Execution[] {
    return this.#byThing.get(thing)?.get(jobId) ?? [];
  }

  latest(jobId: string, thing: string): Execution | undefined {
    return this.attempts(jobId, thing).at(-1);
  }

  ofJob(jobId: string): Execution[] {
    return [...(this.#byJob.get(jobId)?.values() ?? [])].flat();
  }

  ofThing(thing: string): Execution[] {
    return [...(this.#byThing.get(thing)?.values() ?? [])].flat();
  }

  all(): Execution[] {
    return [...this.#executions.values()];
  }

  /** Everything that has not ended on a thing, in no order. */
  open(thing: string): Iterable<Execution> {
    return this.#openOf.get(thing) ?? [];
  }

  add(execution: Omit<Execution, 'order'>): Execution {
    const added = { ...execution, order: this.#order + 1 };
    this.save(added);
    this.#index(added);
    return added;
  }

  save(execution: Execution): void {
    this.#executions.set(keyOf(execution), execution);
    this.#changes.note({ kind: 'execution', execution, deleted: false });
  }

  setStatus(execution: Execution, status: Status): void {
    if (this.latest(execution.jobId, execution.thing) === execution) {
      this.#count(execution, -1);
      execution.status = status;
      this.#count(execution, 1);
    } else {
      execution.status = status;
    }
    if (TERMINAL.includes(status)) this.#openOf.get(execution.thing)?.delete(execution);
    this.save(execution);
  }

  delete(execution: Execution): void {
    const { jobId, thing } = execution;
    const attempts = this.#byThing.get(thing)?.get(jobId) ?? [];
    const before = attempts.at(-1);
    attempts.splice(attempts.indexOf(execution), 1);
    const after = attempts.at(-1);
    if (before !== after) {
      this.#count(execution, -1);
      if (after) this.#count(after, 1);
    }
    if (attempts.length === 0) {
      this.#byThing.get(thing)?.delete(jobId);
      this.#byJob.get(jobId)?.delete(thing);
      if (this.#byThing.get(thing)?.size === 0) this.#byThing.delete(thing);
      if (this.#byJob.get(jobId)?.size === 0) this.#byJob.delete(jobId);
    }
    this.#openOf.get(thing)?.delete(execution);
    this.#executions.delete(keyOf(execution));
    this.#changes.note({ kind: 'execution', execution, deleted: true });
  }

  /** Things by the status of their latest execution. */
  counts(jobId: string): Readonly<Record<Status, number>> {
    return this.#counts.get(jobId) ?? none();
  }

  processDetails(jobId: string): Omit<JobProcessDetails, 'processingTargets'> {
    const counts = Object.entries(this.counts(jobId)) as [Status, number][];
    return Object.fromEntries(counts.map(([status, count]) => [COUNTERS[status], count])) as never;
  }

  #count({ jobId, status }: Execution, by: 1 | -1): void {
    const counts = this.#counts.get(jobId);
    if (counts) counts[status] += by;
  }

  #indexJob(job: Job): void {
    const { jobId, targetSelection, targets, status } = job;
    if (!this.#counts.has(jobId)) this.#counts.set(jobId, none());
    if (status === 'DELETION_IN_PROGRESS') this.#deleting.add(jobId);
    if (targetSelection !== 'CONTINUOUS') return;
    for (const arn of targets) {
      const target = targetOf(arn);
      if (target?.kind !== 'thinggroup') continue;
      const jobs = this.#continuous.get(target.name) ?? new Set<Job>();
      if (isActive(job)) jobs.add(job);
      else jobs.delete(job);
      if (jobs.size > 0) this.#continuous.set(target.name, jobs);
      else this.#continuous.delete(target.name);
    }
  }

  #index(execution: Execution): void {
    const { jobId, thing } = execution;
    this.#order = Math.max(this.#order, execution.order);
    const ofJob = this.#byJob.get(jobId) ?? new Map<string, Attempts>();
    const attempts = ofJob.get(thing) ?? [];
    const former = attempts.at(-1);
    if (former) this.#count(former, -1);
    attempts.push(execution);
    this.#count(execution, 1);
    this.#byJob.set(jobId, ofJob.set(thing, attempts));
    const ofThing = this.#byThing.get(thing) ?? new Map<string, Attempts>();
    this.#byThing.set(thing, ofThing.set(jobId, attempts));
    if (TERMINAL.includes(execution.status)) return;
    this.#openOf.set(thing, (this.#openOf.get(thing) ?? new Set<Execution>()).add(execution));
  }
}
