import type { Plan, ResourceId } from '../../document/plan.ts';
import type { StepProgress } from '../../execution/progress.ts';
import type { Change } from './changes.ts';
import type { RunOutcome } from './one-run.ts';
import type { Point } from './points.ts';

/** What one interrupted run has shown. */
export interface Judgement {
  kind: Point['kind'];
  title: string;
  /** `announced`: something stayed behind, of steps that say they have no undo. */
  result: 'kept' | 'announced' | 'broken';
  ended: 'old' | 'new' | 'nothing';
  /** What stayed behind, or is not as after an undisturbed run, and whose it is. */
  behind: readonly Behind[];
  /** Why it is broken, in words. */
  reasons: readonly string[];
  steps: readonly StepProgress[];
  /** Declared resources that were compared, and are not old. */
  notOld: readonly ResourceId[];
}

export interface Behind extends Change {
  /** Index of the step that the first run saw change it; absent: none. */
  step?: number;
}

/** Compares a run with the undisturbed one: at its end the device has to be old, or new. */
export function judgeRun(point: Point, outcome: RunOutcome, first: RunOutcome, plan: Plan): Judgement {
  const { progress } = outcome;
  const verdict = progress?.verdict;
  const told = {
    kind: point.kind,
    title: point.title,
    steps: progress?.steps ?? [],
    notOld: verdict?.items.map(({ id }) => id) ?? [],
  };
  if (!progress) {
    return {
      ...told,
      result: 'broken',
      ended: 'nothing',
      behind: [],
      reasons: [outcome.failed ?? 'it did not end'],
    };
  }
  const whose = ownersOf(first);
  const owned = (change: Change): Behind => {
    const step = whose.get(change.path);
    return { ...change, ...(step !== undefined && { step }) };
  };
  if (progress.commit) {
    const behind = differences(outcome.changes, first.changes).map(owned);
    const reasons = behind.length === 0 ? [] : ['the device is not as after an undisturbed run'];
    return { ...told, result: behind.length === 0 ? 'kept' : 'broken', ended: 'new', behind, reasons };
  }
  const behind = outcome.changes.map(owned);
  const announced = behind.every(({ step }) => step !== undefined && progress.steps[step]?.grade === 'none');
  const reasons = [
    ...(verdict?.outcome === 'inconsistent'
      ? [`inconsistent: ${verdict.items.map(({ id }) => id).join(' ')}`]
      : []),
    ...progress.steps.flatMap(({ phase, reason, grade }, index) =>
      phase === 'notUndone' && grade !== 'none'
        ? [`${plan.steps[index]?.name ?? index} could not be undone: ${reason ?? 'no reason known'}`]
        : [],
    ),
    ...(announced ? [] : ['something stayed behind that an undo claims to put back']),
  ];
  const result = reasons.length > 0 ? 'broken' : behind.length > 0 ? 'announced' : 'kept';
  return { ...told, result, ended: 'old', behind, reasons };
}

/** Which step was seen to change a path first. */
function ownersOf({ changesAfter }: RunOutcome): Map<string, number> {
  const owners = new Map<string, number>();
  for (const { step, changes } of changesAfter) {
    for (const { path } of changes) if (!owners.has(path)) owners.set(path, step);
  }
  return owners;
}

function differences(here: readonly Change[], there: readonly Change[]): Change[] {
  const known = new Map(there.map((change) => [change.path, change]));
  const more = here.filter(({ path, kind }) => known.get(path)?.kind !== kind);
  const paths = new Set(here.map(({ path }) => path));
  const less = there
    .filter(({ path }) => !paths.has(path))
    .map((change) => ({ ...change, kind: 'removed' as const }));
  return [...more, ...less];
}
