import type { Plan } from '../document/plan.ts';
import type { Output } from '../steps/step.ts';
import type { Details } from './cloud.ts';
import type { Progress } from './progress.ts';
import type { Cause } from './records.ts';

/** What an operator reads in `statusDetails`. Ten pairs at most (L5); values are made legal where they are sent. */
export function progressDetails(plan: Plan, progress: Progress, phase: string, step?: number): Details {
  const planned = step === undefined ? undefined : plan.steps[step];
  return {
    phase,
    grade: planGrade(progress),
    ...(planned && { step: `${planned.index + 1}/${plan.steps.length} ${planned.name}` }),
  };
}

/** The `code` of an execution that a person on the device has cancelled. */
const LOCAL_CANCEL = 'localCancel';

/** The details of the vote, and of a report of failure. */
export function outcomeDetails(plan: Plan, progress: Progress, output: Output | undefined): Details {
  const { verdict, cause } = progress;
  const kept = progress.steps.flatMap((step) => step.kept);
  return {
    outcome: verdict?.outcome ?? 'committed',
    grade: planGrade(progress),
    ...(verdict && {
      deviceState: deviceState(progress),
      verified: String(verdict.verified),
      ...(verdict.items.length > 0 && { items: verdict.items.map(({ id }) => id).join(' ') }),
      ...(verdict.notUndone.length > 0 && {
        notUndone: verdict.notUndone.map((index) => plan.steps[index]?.name ?? String(index)).join(', '),
      }),
    }),
    ...(cause?.by === 'local' && { code: LOCAL_CANCEL }),
    ...(cause && { reason: causeText(cause, plan) }),
    ...(kept.length > 0 && { kept: kept.map(({ id, keptAs }) => `${id} ${keptAs}`).join(', ') }),
    ...(output && (plan.includeStdOut || cause) && output.stdout !== '' && { stdout: output.stdout }),
    ...(output && output.stderr !== '' && { stderr: output.stderr }),
  };
}

export type DeviceState = 'old' | 'new' | 'unknown' | 'inconsistent';

/** The device as a receipt names it. */
export function deviceState({ verdict, commit }: Progress): DeviceState {
  if (commit) return 'new';
  switch (verdict?.outcome) {
    case 'rolledBack':
      return 'old';
    case 'inconsistent':
      return 'inconsistent';
    case 'notReversed':
    case undefined:
      return 'unknown';
  }
}

/** The worst grade of the steps, after the survey. */
export function planGrade(progress: Progress): string {
  const grades = progress.steps.map(({ grade }) => grade);
  return grades.includes('none') ? 'none' : grades.includes('bestEffort') ? 'bestEffort' : 'full';
}

/** A cause in words. */
export function causeText(cause: Cause, plan: Plan): string {
  switch (cause.by) {
    case 'cloud':
      return `the cloud ended the execution: ${cause.status}`;
    case 'step':
      return `step ${cause.step + 1} (${plan.steps[cause.step]?.name ?? '?'}): ${cause.reason}`;
    case 'replaced':
      return 'another document stands under this job id now; nothing was done';
    case 'check':
    case 'local':
    case 'limit':
    case 'foreign':
      return cause.reason;
  }
}
