import { targetOf } from './arns.ts';
import type { Core } from './core.ts';
import type { Executions } from './executions.ts';
import type { Directory, Job } from './types.ts';

const MINUTE_MS = 60_000;
/** L12 */
const PER_MINUTE_MAX = 1000;

/** Makes the executions of a job, so many a minute (S29, L12). */
export class Rollouts {
  readonly #core: Core;
  readonly #executions: Executions;
  readonly #onDone: (jobId: string) => void;

  constructor(core: Core, executions: Executions, onDone: (jobId: string) => void) {
    this.#core = core;
    this.#executions = executions;
    this.#onDone = onDone;
  }

  /** S29: CreateJob has returned before the first execution exists, where the switch says so. */
  begin(job: Job): void {
    const { switches, timers } = this.#core;
    if (switches.rolloutDelayMs === 0) this.#open(job);
    else timers.set(timerOf(job), timers.nowMs() + switches.rolloutDelayMs, () => this.#open(job));
  }

  /** After a restart. */
  resume(job: Job): void {
    if (job.rollout.phase === 'new') this.begin(job);
    else this.#timeStep(job);
  }

  /** Things that the job now has as targets, too. */
  add(job: Job, target: string, things: readonly string[]): void {
    if (job.rollout.phase !== 'open') return;
    for (const thing of things) this.#add(job, target, thing);
    this.step(job);
  }

  /** No further executions. */
  end(job: Job): void {
    job.rollout.phase = 'ended';
    this.#core.waiting.clear(job.jobId);
    this.#core.timers.clear(timerOf(job));
    this.#core.state.saveJob(job);
  }

  /** Makes as many executions as this minute still allows. */
  step(job: Job): void {
    const { rollout } = job;
    const { state, timers, waiting } = this.#core;
    if (rollout.phase === 'open' && rollout.inWindow) {
      const nowMs = timers.nowMs();
      if (nowMs >= rollout.minuteStartMs + MINUTE_MS) {
        rollout.minuteStartMs = nowMs;
        rollout.minuteCount = 0;
      }
      const now = waiting.take(job.jobId, Math.max(0, this.#rate(job) - rollout.minuteCount));
      rollout.minuteCount += now.length;
      rollout.notified += now.length;
      for (const thing of now) this.#executions.queue(job.jobId, thing);
      state.saveJob(job);
    }
    if (waiting.count(job.jobId) === 0) this.#onDone(job.jobId);
    else this.#timeStep(job);
  }

  #open(job: Job): void {
    const { directory } = this.#core;
    job.rollout.phase = 'open';
    for (const arn of job.targets) {
      for (const thing of thingsOf(arn, directory)) if (directory.hasThing(thing)) this.#add(job, arn, thing);
    }
    this.step(job);
  }

  #timeStep(job: Job): void {
    const { rollout } = job;
    const { timers, waiting } = this.#core;
    if (rollout.phase !== 'open' || !rollout.inWindow || waiting.count(job.jobId) === 0) return;
    timers.set(timerOf(job), rollout.minuteStartMs + MINUTE_MS, () => this.step(job));
  }

  /** Unless it waits already, or has an open execution of this job. */
  #add({ jobId }: Job, target: string, thing: string): void {
    const { state, waiting } = this.#core;
    const latest = state.latest(jobId, thing);
    if (latest?.status === 'QUEUED' || latest?.status === 'IN_PROGRESS') return;
    if (!waiting.has(jobId, thing)) waiting.add(jobId, thing, target);
  }

  /** Constant, or growing each time that the criterion is met once more. */
  #rate({ jobId, jobExecutionsRolloutConfig, rollout }: Job): number {
    const { maximumPerMinute = PER_MINUTE_MAX, exponentialRate } = jobExecutionsRolloutConfig ?? {};
    if (!exponentialRate) return maximumPerMinute;
    const { baseRatePerMinute, incrementFactor, rateIncreaseCriteria } = exponentialRate;
    const { numberOfNotifiedThings, numberOfSucceededThings } = rateIncreaseCriteria;
    const met =
      numberOfNotifiedThings === undefined
        ? this.#core.state.counts(jobId).SUCCEEDED / (numberOfSucceededThings ?? Number.POSITIVE_INFINITY)
        : rollout.notified / numberOfNotifiedThings;
    const rate = Math.floor(baseRatePerMinute * incrementFactor ** Math.floor(met));
    return Math.max(1, Math.min(maximumPerMinute, rate));
  }
}

const timerOf = ({ jobId }: Job): string => `rollout/${jobId}`;

/** The things that a target stands for. */
export function thingsOf(arn: string, directory: Pick<Directory, 'thingsIn'>): readonly string[] {
  const target = targetOf(arn);
  if (!target) return [];
  return target.kind === 'thing' ? [target.name] : directory.thingsIn(target.name);
}

/** Whether any of the targets stands for the thing; `isIn` says whether it is in a group. */
export function isTarget(
  targets: readonly string[],
  thing: string,
  isIn: (group: string) => boolean,
): boolean {
  return targets.some((arn) => {
    const target = targetOf(arn);
    return target?.kind === 'thing' ? target.name === thing : target !== undefined && isIn(target.name);
  });
}
