import type { Plan } from '../document/plan.ts';
import { causeText } from './details.ts';
import { type Move, pivotPassed } from './next-move.ts';
import { nextStep, type Progress } from './progress.ts';

/** What becomes of an execution when a person cancels it now (design section 4). */
export type Outlook =
  /** No vote is out: it is rolled back, and reported FAILED. */
  | { kind: 'rollsBack' }
  /** The cloud may have its SUCCEEDED: rolled back once that is taken back, kept where it was accepted before. */
  | { kind: 'withdraws' }
  | { kind: 'tooLate'; reason: string };

/** `progress` is as the journal stands; `move` is what is under way, and may be about to write the next record. */
export function cancelOutlook(plan: Plan, progress: Progress, move: string): Outlook {
  const { cause, direction, phase, commit } = progress;
  if (direction === 'back' || isMove(move, 'aborting')) {
    return tooLate(`it is being undone already${cause ? ` (${causeText(cause, plan)})` : ''}`);
  }
  if (commit || isMove(move, 'committing')) return tooLate('it has succeeded, and is only being finished');
  const next = plan.steps[nextStep(progress)];
  if (pivotPassed(plan, progress) || (isMove(move, 'attempting') && next?.pivot)) {
    return tooLate('it has passed its pivot, and must be finished');
  }
  if (phase === 'proposed' || isMove(move, 'proposing')) return { kind: 'withdraws' };
  return { kind: 'rollsBack' };
}

function isMove(move: string, wanted: Move): boolean {
  return move === wanted;
}

function tooLate(reason: string): Outlook {
  return { kind: 'tooLate', reason };
}
