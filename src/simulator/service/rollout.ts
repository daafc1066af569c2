import { targetOf, thingArn } from './arns.ts';
import type { Core } from './core.ts';
import type { Executions } from './executions.ts';
import type { Job } from './types.ts';

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
    const { rollout } = job;
    if (rollout.phase !== 'open') return;
    const waiting = new Set(rollout.waiting.map(([thing]) => thing));
    const added = things.filter((thing) => !waiting.has(thing) && this.#isFree(job, thing));
    for (const thing of added) rollout.waiting.push([thing, target]);
    this.#core.state.saveJob(job);
    this.step(job);
  }

  /** Takes things that no longer belong to the job out of those that wait. */
  drop(job: Job, isDropped: (thing: string) => boolean): void {
    const kept = job.rollout.waiting.filter(([thing]) => !isDropped(thing));
    if (kept.length === job.rollout.waiting.length) return;
    job.rollout.waiting = kept;
    this.#core.state.saveJob(job);
  }

  /** No further executions. */
  end(job: Job): void {
    job.rollout.phase = 'ended';
    job.rollout.waiting = [];
    this.#core.timers.clear(timerOf(job));
    this.#core.state.saveJob(job);
  }

  /** Makes as many executions as this minute still allows. */
  step(job: Job): void {
    const { rollout } = job;
    const { state, timers } = this.#core;
    if (rollout.phase === 'open' && rollout.inWindow) {
      const nowMs = timers.nowMs();
      if (nowMs >= rollout.minuteStartMs + MINUTE_MS) {
        rollout.minuteStartMs = nowMs;
        rollout.minuteCount = 0;
      }
      const now = rollout.waiting.splice(0, Math.max(0, this.#rate(job) - rollout.minuteCount));
      rollout.minuteCount += now.length;
      rollout.notified += now.length;
      for (const [thing] of now) this.#executions.queue(job.jobId, thing);
      state.saveJob(job);
    }
    if (rollout.waiting.length === 0) this.#onDone(job.jobId);
    else this.#timeStep(job);
  }

  /** Targets whose things still wait. */
  processingTargets({ rollout }: Job): string[] {
    return [...new Set(rollout.waiting.map(([, target]) => target))];
  }

  #open(job: Job): void {
    const { directory } = this.#core;
    const targetOfThing = new Map<string, string>();
    for (const arn of job.targets) {
      for (const thing of thingsOf(arn, directory.thingsIn.bind(directory))) {
        if (!targetOfThing.has(thing) && directory.hasThing(thing)) targetOfThing.set(thing, arn);
      }
    }
    job.rollout.phase = 'open';
    job.rollout.waiting = [...targetOfThing].filter(([thing]) => this.#isFree(job, thing));
    this.step(job);
  }

  #timeStep(job: Job): void {
    const { rollout } = job;
    if (rollout.phase !== 'open' || !rollout.inWindow || rollout.waiting.length === 0) return;
    this.#core.timers.set(timerOf(job), rollout.minuteStartMs + MINUTE_MS, () => this.step(job));
  }

  /** No execution of this job is open there. */
  #isFree({ jobId }: Job, thing: string): boolean {
    const latest = this.#core.state.latest(jobId, thing);
    return latest?.status !== 'QUEUED' && latest?.status !== 'IN_PROGRESS';
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
export function thingsOf(arn: string, thingsIn: (group: string) => readonly string[]): readonly string[] {
  const target = targetOf(arn);
  if (!target) return [];
  return target.kind === 'thing' ? [target.name] : thingsIn(target.name);
}

/** Whether any of the targets stands for the thing. */
export function isTarget(
  targets: readonly string[],
  thing: string,
  thingsIn: (group: string) => readonly string[],
): boolean {
  return targets.some((arn) => arn === thingArn(thing) || thingsOf(arn, thingsIn).includes(thing));
}
