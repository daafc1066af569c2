import type { Plan, ResourceId } from '../document/plan.ts';
import { holds } from '../steps/own-directory.ts';
import type { After, Before, Fingerprint } from '../steps/step.ts';
import type { Progress, StepProgress } from './progress.ts';
import type { Verdict } from './records.ts';

/** What the journal says a resource was before the job and is after its last finished step. */
export interface Expectation {
  old: Fingerprint;
  /** Absent while no step has finished with it. */
  new?: Fingerprint;
  /** A step that has begun and not finished may have left it anyhow. */
  unsettled: boolean;
}

/** The images of the steps that have them, by step index. */
export interface Images {
  before: ReadonlyMap<number, Before>;
  after: ReadonlyMap<number, After>;
}

/**
 * For a resource that several steps touch, old is the first before-image and new the last after-image (section 7). Of
 * resources that lie in one another the outermost tells for all: a later step may well have changed what is in it.
 */
export function expectations(progress: Progress, images: Images): Map<ResourceId, Expectation> {
  const expected = new Map<ResourceId, Expectation>();
  for (const [index, step] of progress.steps.entries()) {
    const after = new Map(images.after.get(index)?.resources.map(({ id, fingerprint }) => [id, fingerprint]));
    const { resources = [], holders = [] } = images.before.get(index) ?? {};
    for (const { id, fingerprint } of [...resources, ...holders]) {
      const known = expected.get(id) ?? { old: fingerprint, unsettled: false };
      const finished = step.phase === 'done' ? after.get(id) : undefined;
      expected.set(id, {
        ...known,
        ...(finished !== undefined && { new: finished }),
        unsettled: known.unsettled || (step.attempts > 0 && step.phase !== 'done'),
      });
    }
  }
  const ids = [...expected.keys()];
  const isInner = (id: ResourceId): boolean => ids.some((other) => holds(other, id));
  return new Map([...expected].filter(([id]) => !isInner(id)));
}

/** Resources of finished steps that are not as their last step left them. */
export function notNew(
  expected: ReadonlyMap<ResourceId, Expectation>,
  found: ReadonlyMap<ResourceId, Fingerprint>,
): ResourceId[] {
  return [...expected]
    .filter(
      ([id, { new: wanted, unsettled }]) => !unsettled && wanted !== undefined && found.get(id) !== wanted,
    )
    .map(([id]) => id);
}

/** The device after a rollback. `lastAfter` are the last after-images of steps that had finished before it. */
export function judge(
  plan: Plan,
  progress: Progress,
  expected: ReadonlyMap<ResourceId, Expectation>,
  lastAfter: ReadonlyMap<ResourceId, Fingerprint>,
  found: ReadonlyMap<ResourceId, Fingerprint>,
): Verdict {
  const items = [...expected]
    .filter(([id, { old }]) => found.get(id) !== old)
    // What no step changed is not ours: somebody else's doing is not the job's verdict.
    .filter(([id, { old }]) => lastAfter.get(id) !== old)
    .map(([id]) => ({
      id,
      found: found.get(id) === lastAfter.get(id) ? ('new' as const) : ('neither' as const),
    }));
  const begun = plan.steps.flatMap(({ index }) => {
    const step = progress.steps[index];
    return step && step.attempts > 0 ? [{ index, step }] : [];
  });
  // What runs has still read the new state: the restart behind the undos never came.
  const stillRuns = progress.rollbackReboot?.bootId === progress.bootId;
  const notUndone = begun
    .filter(({ index, step }) => isNotUndone(step) || (stillRuns && plan.steps[index]?.endsBoot === true))
    .map(({ index }) => index);
  const verified =
    items.length === 0 && begun.every(({ step }) => step.grade === 'full') && notUndone.length === 0;
  return { outcome: outcomeOf(progress, items, notUndone), verified, items, notUndone };
}

/** I1: what is neither old nor new makes the device inconsistent; what is still new was not reversed. */
function outcomeOf(
  { cause }: Progress,
  items: Verdict['items'],
  notUndone: readonly number[],
): Verdict['outcome'] {
  // The journal of another machine says nothing about what is right on this one.
  if (cause?.by !== 'foreign' && items.some(({ found }) => found === 'neither')) return 'inconsistent';
  return items.length > 0 || notUndone.length > 0 ? 'notReversed' : 'rolledBack';
}

function isNotUndone(step: StepProgress): boolean {
  return step.grade === 'none' || step.phase === 'notUndone';
}

/** The last known after-image of every resource, whatever became of its step since. */
export function lastAfterImages(images: Images): Map<ResourceId, Fingerprint> {
  const last = new Map<ResourceId, Fingerprint>();
  for (const [, after] of [...images.after].sort(([a], [b]) => a - b)) {
    for (const { id, fingerprint } of after.resources) last.set(id, fingerprint);
  }
  return last;
}
