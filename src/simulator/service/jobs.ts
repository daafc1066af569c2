import { isAborted } from './abort.ts';
import { jobArn, targetOf } from './arns.ts';
import { type Core, nowSeconds } from './core.ts';
import { Executions } from './executions.ts';
import { isTarget, Rollouts, thingsOf } from './rollout.ts';
import { Schedules } from './schedule.ts';
import {
  type CancelJobRequest,
  type Execution,
  isActive,
  type Job,
  type JobChanges,
  type NewJob,
  Refusal,
} from './types.ts';

/** L11, L17 */
const TARGETS_MAX = 100;
const DELETIONS_MAX = 10;

/** L1 */
const JOB_ID = /^[a-zA-Z0-9_-]{1,64}$/;

/** The life of jobs, from CreateJob to DeleteJob (section 3.5, 4.3, 4.4). */
export class Jobs {
  readonly executions: Executions;
  readonly #core: Core;
  readonly #rollouts: Rollouts;
  readonly #schedules: Schedules;

  constructor(core: Core) {
    this.#core = core;
    this.executions = new Executions(core, (jobId) => this.#settle(jobId));
    this.#rollouts = new Rollouts(core, this.executions, (jobId) => this.#settle(jobId));
    this.#schedules = new Schedules(core, {
      start: (job) => this.#start(job),
      end: (job) => this.#endOfSchedule(job),
      window: (job, inWindow) => this.#window(job, inWindow),
    });
  }

  /** Goes on with what was read back. */
  restore(): void {
    this.executions.restore();
    for (const job of [...this.#core.state.jobs()]) {
      if (job.status === 'DELETION_IN_PROGRESS') this.#remove(job);
      if (!isActive(job)) continue;
      this.#schedules.arm(job);
      if (this.#schedules.isStarted(job)) this.#rollouts.resume(job);
      this.#settle(job.jobId);
    }
  }

  /** C20: an id is free again once its job has disappeared. */
  create(wanted: NewJob): Job {
    const { state } = this.#core;
    // Whoever creates jobs in code is not checked by the HTTP plane, and no topic can name such a job.
    if (!JOB_ID.test(wanted.jobId))
      throw new Refusal('InvalidRequest', `jobId: "${wanted.jobId}" must match [a-zA-Z0-9_-]{1,64}`);
    if (state.hasJob(wanted.jobId)) throw new Refusal('ResourceAlreadyExists', `job ${wanted.jobId} exists`);
    this.#checkTargets(wanted.targets);
    const now = nowSeconds(this.#core);
    const inWindow = this.#schedules.isInWindow(wanted);
    const isStarted = this.#schedules.isStarted(wanted);
    const job: Job = {
      ...wanted,
      arn: jobArn(wanted.jobId),
      targets: [...new Set(wanted.targets)],
      targetSelection: wanted.targetSelection ?? 'SNAPSHOT',
      status: isStarted && inWindow ? 'IN_PROGRESS' : 'SCHEDULED',
      createdAt: now,
      lastUpdatedAt: now,
      rollout: {
        phase: 'new',
        inWindow,
        notified: 0,
        minuteStartMs: Number.MIN_SAFE_INTEGER,
        minuteCount: 0,
      },
    };
    state.saveJob(job);
    this.#schedules.arm(job);
    if (isStarted) this.#rollouts.begin(job);
    return job;
  }

  /** S19, S21: a new time-out is for executions that start later; retries can only be given up. */
  update(jobId: string, changes: JobChanges): Job {
    const job = this.#core.state.job(jobId);
    if (!isActive(job)) throw new Refusal('InvalidRequest', `the job is ${job.status}`);
    const retries = changes.jobExecutionsRetryConfig?.criteriaList ?? [];
    if (retries.some(({ numberOfRetries }) => numberOfRetries > 0))
      throw new Refusal('InvalidRequest', 'jobExecutionsRetryConfig: numberOfRetries can only become 0');
    Object.assign(job, changes);
    this.#touch(job);
    return job;
  }

  /** C19 */
  cancel(jobId: string, { force, reasonCode, comment }: CancelJobRequest): Job {
    const job = this.#core.state.job(jobId);
    if (job.status === 'COMPLETED' || job.status === 'DELETION_IN_PROGRESS')
      throw new Refusal('InvalidRequest', `the job is ${job.status}`);
    this.#core.events.job(job, 'cancellation_in_progress');
    this.#schedules.disarm(job);
    this.#rollouts.end(job);
    job.status = 'CANCELED';
    if (force) job.forceCanceled = true;
    if (reasonCode !== undefined) job.reasonCode = reasonCode;
    if (comment !== undefined) job.comment = comment;
    for (const execution of this.#openOf(jobId)) {
      if (force || execution.status === 'QUEUED') this.executions.endByService(execution, 'CANCELED', force);
    }
    this.#touch(job);
    this.#core.events.job(job, 'canceled');
    return job;
  }

  /** C20, L17 */
  delete(jobId: string, force: boolean): void {
    const { state, switches, timers, events } = this.#core;
    const job = state.job(jobId);
    const hasEnded = job.status === 'COMPLETED' || job.status === 'CANCELED';
    if (job.status === 'DELETION_IN_PROGRESS' || (!force && !hasEnded))
      throw new Refusal('InvalidStateTransition', `the job is ${job.status}`);
    if (state.deletions >= DELETIONS_MAX)
      throw new Refusal('LimitExceeded', `${DELETIONS_MAX} jobs are being deleted`);
    this.#schedules.disarm(job);
    this.#rollouts.end(job);
    job.status = 'DELETION_IN_PROGRESS';
    this.#touch(job);
    events.job(job, 'deletion_in_progress');
    if (switches.rolloutDelayMs === 0) this.#remove(job);
    else timers.set(`deletion/${jobId}`, timers.nowMs() + switches.rolloutDelayMs, () => this.#remove(job));
  }

  /** Every job is gone at once, also those that are being deleted. */
  clear(): void {
    const { state, timers } = this.#core;
    for (const job of [...state.jobs()]) {
      timers.clear(`deletion/${job.jobId}`);
      this.#schedules.disarm(job);
      this.#rollouts.end(job);
      this.#remove(job);
    }
  }

  /** CONTINUOUS jobs in progress only (section 4.5). */
  associate(jobId: string, targets: readonly string[], comment?: string): Job {
    const { state, directory } = this.#core;
    const job = state.job(jobId);
    if (job.targetSelection !== 'CONTINUOUS')
      throw new Refusal('InvalidRequest', 'the job is not CONTINUOUS');
    if (job.status !== 'IN_PROGRESS') throw new Refusal('InvalidRequest', `the job is ${job.status}`);
    this.#checkTargets(targets);
    const added = [...new Set(targets)].filter((arn) => !job.targets.includes(arn));
    if (job.targets.length + added.length > TARGETS_MAX)
      throw new Refusal('LimitExceeded', `a job has at most ${TARGETS_MAX} targets`);
    job.targets.push(...added);
    if (comment !== undefined) job.comment = comment;
    this.#touch(job);
    for (const arn of added) this.#rollouts.add(job, arn, thingsOf(arn, directory));
    return job;
  }

  /** A CONTINUOUS job comes to whoever joins its group; one that comes back starts anew (S18). */
  thingJoined(group: string, thing: string): void {
    for (const [job, arn] of this.#continuous(group)) this.#rollouts.add(job, arn, [thing]);
  }

  /** S5: REMOVED, unless another target of the job still stands for the thing. */
  thingLeft(group: string, thing: string): void {
    const isIn = (name: string): boolean => name !== group && this.#core.directory.isIn(thing, name);
    for (const [job] of this.#continuous(group)) {
      if (!isTarget(job.targets, thing, isIn)) this.#withdraw(job, thing);
    }
  }

  /** S5: what was open becomes REMOVED. */
  thingDeleted(thing: string): void {
    const { state, waiting, notifications } = this.#core;
    const jobIds = new Set([...state.jobsOf(thing), ...waiting.jobsOf(thing)]);
    notifications.change(thing, () => {
      for (const jobId of jobIds) this.#withdraw(state.job(jobId), thing);
    });
  }

  processingTargets({ jobId }: Job): string[] {
    return this.#core.waiting.targets(jobId);
  }

  /** S29 */
  isConcurrent({ jobId, status, rollout }: Job): boolean {
    return status === 'IN_PROGRESS' && (rollout.phase === 'new' || this.#core.waiting.count(jobId) > 0);
  }

  #checkTargets(targets: readonly string[]): void {
    const { directory } = this.#core;
    for (const arn of targets) {
      const target = targetOf(arn);
      if (!target) throw new Refusal('InvalidRequest', `targets: "${arn}" is no thing and no thing group`);
      const exists =
        target.kind === 'thing' ? directory.hasThing(target.name) : directory.hasGroup(target.name);
      if (!exists) throw new Refusal('ResourceNotFound', `no ${target.kind} "${target.name}"`);
    }
  }

  /** Active CONTINUOUS jobs that have the group as a target. */
  #continuous(group: string): [Job, arn: string][] {
    return this.#core.state.continuousOf(group).flatMap((job): [Job, string][] => {
      const arn = job.targets.find((one) => {
        const target = targetOf(one);
        return target?.kind === 'thinggroup' && target.name === group;
      });
      return arn === undefined ? [] : [[job, arn]];
    });
  }

  #withdraw(job: Job, thing: string): void {
    this.#core.waiting.drop(job.jobId, thing);
    const latest = this.#core.state.latest(job.jobId, thing);
    if (latest?.status === 'QUEUED' || latest?.status === 'IN_PROGRESS')
      this.executions.endByService(latest, 'REMOVED');
    this.#settle(job.jobId);
  }

  #start(job: Job): void {
    if (job.rollout.inWindow) job.status = 'IN_PROGRESS';
    this.#touch(job);
    this.#rollouts.begin(job);
  }

  /** The three end behaviours (section 4.4). */
  #endOfSchedule(job: Job): void {
    const behavior = job.schedulingConfig?.endBehavior ?? 'STOP_ROLLOUT';
    if (behavior !== 'STOP_ROLLOUT') {
      this.cancel(job.jobId, { force: behavior === 'FORCE_CANCEL' });
      return;
    }
    this.#rollouts.end(job);
    this.#settle(job.jobId);
  }

  /** N18d: what waits for the window comes and goes with it. */
  #window(job: Job, inWindow: boolean): void {
    const { state, notifications } = this.#core;
    notifications.changeAll(state.thingsOf(job.jobId), () => {
      job.rollout.inWindow = inWindow;
    });
    job.status = inWindow && this.#schedules.isStarted(job) ? 'IN_PROGRESS' : 'SCHEDULED';
    this.#touch(job);
    this.#rollouts.step(job);
  }

  /** Abort criteria, then the end of the job: S27. */
  #settle(jobId: string): void {
    const { state, waiting, events } = this.#core;
    if (!state.hasJob(jobId)) return;
    const job = state.job(jobId);
    if (!isActive(job)) return;
    const counts = state.counts(jobId);
    if (isAborted(job.abortConfig, counts)) {
      this.cancel(jobId, {
        force: false,
        reasonCode: 'ABORT_CRITERIA_MET',
        comment: 'abort criteria were met',
      });
      return;
    }
    const { phase } = job.rollout;
    const isMade = phase === 'ended' || (phase === 'open' && job.targetSelection === 'SNAPSHOT');
    if (!isMade || waiting.count(jobId) > 0 || counts.QUEUED > 0 || counts.IN_PROGRESS > 0) return;
    this.#schedules.disarm(job);
    job.status = 'COMPLETED';
    job.completedAt = nowSeconds(this.#core);
    this.#touch(job);
    events.job(job, 'completed');
  }

  #remove(job: Job): void {
    const { state, events } = this.#core;
    for (const execution of state.ofJob(job.jobId)) this.executions.forget(execution);
    state.deleteJob(job.jobId);
    events.job({ ...job, lastUpdatedAt: nowSeconds(this.#core) }, 'deleted');
  }

  #openOf(jobId: string): Execution[] {
    return this.#core.state
      .ofJob(jobId)
      .filter(({ status }) => status === 'QUEUED' || status === 'IN_PROGRESS');
  }

  #touch(job: Job): void {
    job.lastUpdatedAt = nowSeconds(this.#core);
    this.#core.state.saveJob(job);
  }
}
