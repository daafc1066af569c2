import type { Plan, PlanStep } from '../document/plan.ts';
import type { CloudEnd } from './cloud.ts';
import { nextStep, nextUndo, type Progress, type StepProgress } from './progress.ts';
import type { Cause } from './records.ts';

/** What local policy decides where the design leaves a choice. */
export interface CommitPolicy {
  /** Nobody can say any more whether our SUCCEEDED was accepted. */
  inDoubt: 'keep' | 'rollBack';
  /** The cloud ended it by a timer or by removal, after the vote. */
  timedOutAfterVote: 'rollBack' | 'keep';
  /** Without a link before a pivot: roll back after the wait for a link, or wait on (the default). */
  offlinePivot?: 'wait' | 'rollBack';
  stepAttemptsMax: number;
}

/** All that the next move depends on. */
export interface Situation {
  plan: Plan;
  policy: CommitPolicy;
  progress: Progress;
  /** Evidence that the cloud has ended it; from wherever it came. */
  ended?: CloudEnd;
  /** A person or a limit on this device wants it undone. */
  cancel?: Cause;
  /** Something that was checked did not hold. */
  failure?: Cause;
  /** A local application is busy, so the next step waits; `over`: it has waited as long as it may. */
  held: 'no' | 'yes' | 'over';
  /** The agent is shutting down: nothing new is begun, nothing is decided. */
  draining: boolean;
  /** What has been established in this life of the process; none of it outlives a restart. */
  resumed: boolean;
  asked: boolean;
  probed: boolean;
  verified: boolean;
}

/** Each move is a state of the execution machine. */
export const MOVES = [
  'closed',
  'drained',
  'resuming',
  'asking',
  'probing',
  'starting',
  'holding',
  'preparing',
  'fencing',
  'attempting',
  'verifying',
  'linking',
  'proposing',
  'withdrawing',
  'committing',
  'noting',
  'aborting',
  'undoing',
  'settling',
  'judging',
  'finishing',
  'reporting',
  'closing',
] as const;

export type Move = (typeof MOVES)[number];

/** The one place that says what follows from what is known. Pure; the machine calls it at every rest. */
export function nextMove(situation: Situation): Move {
  const { progress } = situation;
  if (progress.phase === 'closed') return 'closed';
  if (situation.draining) return 'drained';
  if (!situation.resumed) return 'resuming';
  switch (progress.phase) {
    case 'aborted':
      return nextUndo(progress) >= 0 ? 'undoing' : 'settling';
    case 'settled':
      return 'judging';
    case 'judged':
    case 'finished':
      return 'reporting';
    case 'committed':
      return 'finishing';
    case 'reported':
      return 'closing';
    case 'proposed':
      return afterVote(situation);
    case 'received':
    case 'started':
    case 'prepared':
      return beforeVote(situation);
  }
}

/** From PROPOSED only the cloud's answer leads on (design section 4). */
function afterVote({ plan, progress, ended, cancel, failure, policy }: Situation): Move {
  const noReturn = pivotPassed(plan, progress);
  // Its cloud is not ours to ask, so nobody can say any more what became of the vote.
  if (failure?.by === 'foreign') return policy.inDoubt === 'keep' ? 'committing' : 'aborting';
  if (!ended) return cancel && !noReturn ? 'withdrawing' : 'proposing';
  if (noReturn) return 'committing';
  switch (ended.status) {
    case 'SUCCEEDED':
      return 'committing';
    case 'unknown':
    case 'deleted':
      return policy.inDoubt === 'keep' ? 'committing' : 'aborting';
    case 'TIMED_OUT':
    case 'REMOVED':
      return policy.timedOutAfterVote === 'keep' ? 'committing' : 'aborting';
    case 'CANCELED':
    case 'FAILED':
    case 'REJECTED':
      return 'aborting';
  }
}

function beforeVote(situation: Situation): Move {
  const { plan, progress, ended, cancel, failure } = situation;
  const noReturn = pivotPassed(plan, progress);
  if (failure) return 'aborting';
  if (!noReturn && (ended || cancel)) return 'aborting';
  if (ended && !progress.cause) return 'noting';
  if (!situation.asked && !progress.cause) return 'asking';
  if (!situation.probed) return 'probing';
  if (progress.phase === 'received') return 'starting';
  const next = nextStep(progress);
  if (next >= 0) return aroundStep(situation, next);
  if (!situation.verified) return 'verifying';
  // What the cloud ended past the pivot has nobody to vote to.
  if (progress.cause) return 'committing';
  return progress.phase === 'prepared' ? 'proposing' : 'linking';
}

function aroundStep(situation: Situation, index: number): Move {
  const { plan, progress, policy } = situation;
  const step = progress.steps[index];
  const planned = plan.steps[index];
  if (!step || !planned) throw new Error(`internal error: no step ${index} in the plan`);
  switch (step.phase) {
    case 'pending':
      // Not behind its before-image: what the application changes meanwhile would be undone with the step.
      return situation.held === 'yes' && !pivotPassed(plan, progress) ? 'holding' : 'preparing';
    case 'ready':
      if (step.attempts >= policy.stepAttemptsMax) return 'aborting';
      return wantsFence(planned, step) && !progress.cause ? 'fencing' : 'attempting';
    case 'interrupted':
      if (step.attempts >= policy.stepAttemptsMax) return 'aborting';
      if (planned.idempotent && !planned.endsBoot) return 'attempting';
      return step.grade === 'none' ? 'aborting' : 'undoing';
    case 'undoing':
      return 'undoing';
    case 'failed':
    case 'notUndone':
      return 'aborting';
    case 'attempting':
    case 'done':
    case 'undone':
      throw new Error(`internal error: step ${index} is ${step.phase} at rest`);
  }
}

/** A7: a pivot is fenced once, since it is finished whatever happens; a restart of the device each time. */
function wantsFence({ pivot, endsBoot }: PlanStep, { fenced, attempts }: StepProgress): boolean {
  return !fenced && ((pivot && attempts === 0) || endsBoot === true);
}

/** A pivot that may have begun: from here on the job is finished forward. */
export function pivotPassed(plan: Plan, progress: Progress): boolean {
  return plan.steps.some((step) => step.pivot && (progress.steps[step.index]?.attempts ?? 0) > 0);
}

/** The cause that an `aborted` record gets, the most certain first. */
export function abortCause(situation: Situation): Cause {
  const { progress, ended, cancel, failure } = situation;
  if (ended) return { by: 'cloud', status: ended.status };
  if (failure) return failure;
  if (cancel) return cancel;
  const index = nextStep(progress);
  const step = progress.steps[index];
  return { by: 'step', step: index, reason: stepReason(step) };
}

function stepReason(step: StepProgress | undefined): string {
  if (step?.phase === 'interrupted')
    return `interrupted ${step.attempts} times: ${step.reason ?? 'no reason known'}`;
  return step?.reason ?? 'no reason known';
}
