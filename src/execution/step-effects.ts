import { namesOf, type Plan, type PlanStep, type ResourceId } from '../document/plan.ts';
import { UnsafePath } from '../host/safe-paths.ts';
import { within } from '../host/within.ts';
import { NotCopyable } from '../steps/fingerprint.ts';
import { UNREADABLE } from '../steps/observe.ts';
import { outermostOf } from '../steps/own-directory.ts';
import type { After, Attempt, Before, DoOutcome, UndoOutcome } from '../steps/step.ts';
import { JournalFailed } from '../store/journal.ts';
import { progressDetails } from './details.ts';
import type { Effect, EffectTools } from './effects.ts';
import { discardAll } from './ending-effects.ts';
import type { EffectOutput } from './execution-machine.ts';
import { pivotPassed, type Situation } from './next-move.ts';
import { nextStep, nextUndo, type Progress, type StepProgress } from './progress.ts';
import type { ExecutionRecord } from './records.ts';
import { expectations, judge, lastAfterImages, notNew } from './verdict.ts';

/** The effects that touch the device. Forward and back stand in the same order. */

/** I5: whatever an earlier life left running is ended before anything else is decided. */
export const resuming: Effect = {
  obeys: () => [],
  async run({ plan, progress }, tools) {
    const found: ExecutionRecord[] = [];
    for (const [step, known] of progress.steps.entries()) {
      const { phase, process, undoProcess } = known;
      if (process && phase === 'attempting') await tools.processes.fence(process, tools.limits.graceMs);
      if (undoProcess && phase === 'undoing') await tools.processes.fence(undoProcess, tools.limits.graceMs);
      // On the way back it is undone, whether it came to its end or not.
      if (progress.direction === 'forward' && hasRestartedDevice(plan.steps[step], known, tools.bootId)) {
        found.push({ type: 'done', step, after: await tools.attachStep(`after-${step}`, { resources: [] }) });
      } else if (phase === 'attempting') {
        found.push({ type: 'interrupted', step, reason: 'the agent stopped while it ran' });
      }
    }
    const resumed: ExecutionRecord = {
      type: 'resumed',
      bootId: tools.bootId,
      ...(progress.tailLost && { tailLost: true }),
    };
    return { records: await tools.put(resumed, ...found), resumed: true };
  },
};

/** A10: another boot id is the proof; a shutdown that interrupted the step on its way is part of its success. */
function hasRestartedDevice(step: PlanStep | undefined, known: StepProgress, bootId: string): boolean {
  const begun = known.phase === 'attempting' || known.phase === 'interrupted';
  return step?.endsBoot === true && begun && known.bootId !== bootId;
}

/** After a new boot: a finished step whose effect is no longer there has failed a check. */
export const probing: Effect = {
  obeys: () => [],
  async run({ progress }, tools) {
    const lost = await changedResources(progress, tools);
    if (lost.length === 0) return { records: [], probed: true };
    return {
      records: [],
      probed: true,
      failure: { by: 'check', reason: `changed over a restart of the device: ${lost.join(' ')}` },
    };
  },
};

/** At the edge of a step, while a local application is busy; until it is not, or for as long as the cloud's timer allows. */
export const holding: Effect = {
  obeys: () => ['ended', 'cancel', 'release', 'drain', 'halt'],
  async run({ progress }, tools, signal) {
    const holdMs = (await tools.holdMs?.(signal)) ?? 0;
    tools.log.info({ step: nextStep(progress), holdMs }, 'held back');
    await tools.clock.sleep(holdMs, signal).catch(() => undefined);
    if (signal.aborted) return { records: [] };
    tools.log.warn(
      { step: nextStep(progress) },
      'held back for as long as the timer of the job allows; going on',
    );
    return { records: [], held: 'over' };
  },
};

export const preparing: Effect = {
  obeys: () => ['ended', 'cancel', 'halt'],
  async run({ plan, progress }, tools, signal) {
    const step = nextStep(progress);
    const planned = plan.steps[step]!;
    const prepared = await tools.stepTypeOf(planned).prepare(planned, tools.context, signal);
    // Whatever stopped it is decided upon next.
    if (!prepared.ok && signal.aborted) return { records: [] };
    if (!prepared.ok && planned.ignoreFailure && !planned.pivot)
      return { records: await leaveOut(step, prepared.reason, tools) };
    if (!prepared.ok) return { records: [], failure: { by: 'step', step, reason: prepared.reason } };
    const holders = await fingerprintsOf(holdersOf(plan, prepared.before), tools);
    const image: Before = { ...prepared.before, ...(holders.length > 0 && { holders }) };
    const before = await tools.attachStep(`before-${step}`, image as never);
    return { records: await tools.put({ type: 'ready', step, before }) };
  },
};

/** A step whose failure does not fail the job failed before it could touch anything. */
async function leaveOut(step: number, ignored: string, tools: EffectTools): Promise<EffectOutput['records']> {
  const image: Before = { resources: [], leftOut: true };
  const before = await tools.attachStep(`before-${step}`, image as never);
  const after = await tools.attachStep(`after-${step}`, { resources: [] });
  return await tools.put(
    { type: 'ready', step, before },
    { type: 'attempt', step, attempt: 1, bootId: tools.bootId },
    { type: 'done', step, after, ignored },
  );
}

/** I4: the intent is durable before the step may touch anything; `done` is written after its effects are durable. */
export const attempting: Effect = {
  obeys(situation) {
    const planned = situation.plan.steps[nextStep(situation.progress)];
    // The device is on its way down, and would wait for this.
    if (planned?.endsBoot) return ['ended', 'cancel', 'drain', 'halt'];
    const pivot = planned?.pivot === true;
    return pivot || pivotPassed(situation.plan, situation.progress) ? ['halt'] : ['ended', 'cancel', 'halt'];
  },
  async run(situation, tools, signal) {
    const { plan, progress } = situation;
    const step = nextStep(progress);
    const planned = plan.steps[step]!;
    const before = (await tools.images(progress)).before.get(step);
    if (!before) return { records: [], failure: { by: 'step', step, reason: 'its before-image is lost' } };
    const attempt = (progress.steps[step]?.attempts ?? 0) + 1;
    const records = [...(await tools.put({ type: 'attempt', step, attempt, bootId: tools.bootId }))];
    if (step > 0 || attempt > 1) {
      tools.cloud.progress(progressDetails(plan, progress, 'running', step));
    }
    const trying = attemptOf(attempt, step, 'do', tools, records);
    const type = tools.stepTypeOf(planned);
    const outcome: DoOutcome = await orFailed(type.do(planned, before, trying, tools.context, signal));
    if (outcome.output) tools.output.last = outcome.output;
    await tools.keepOutput({ step, direction: 'do', attempt }, outcome.output);
    records.push(...(await tools.put(await attemptRecord(situation, step, before, outcome, tools))));
    return { records };
  },
};

/** Outermost resources that hold some of this step's, where another step touches them. */
function holdersOf(plan: Plan, before: Before): ResourceId[] {
  const outermost = outermostOf(plan);
  const touched = before.resources.map(({ id }) => id);
  const holders = new Set(namesOf('path', touched).map((path): ResourceId => `path:${outermost(path)}`));
  return [...holders].filter((id) => !touched.includes(id));
}

async function fingerprintsOf(ids: readonly ResourceId[], tools: EffectTools): Promise<After['resources']> {
  const found = await seen(ids, tools);
  return [...found].map(([id, fingerprint]) => ({ id, fingerprint }));
}

/**
 * What the system refuses a step (a full disk, a directory in the way) is that step's failure. A journal that cannot be
 * written, and a bug, end the process.
 */
async function orFailed<T>(work: Promise<T>): Promise<T | { result: 'failed'; reason: string }> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof Error) || error instanceof JournalFailed) throw error;
    if (error instanceof UnsafePath || error instanceof NotCopyable)
      return { result: 'failed', reason: error.message };
    if (!('code' in error)) throw error;
    // The rest names descriptors of this process, which mean nothing to anybody.
    const [reason = error.message] = error.message.split(', ');
    return { result: 'failed', reason };
  }
}

async function attemptRecord(
  { plan }: Situation,
  step: number,
  before: Before,
  outcome: DoOutcome,
  tools: EffectTools,
): Promise<ExecutionRecord> {
  const planned = plan.steps[step]!;
  switch (outcome.result) {
    case 'ok': {
      const holders = await fingerprintsOf(holdersOf(plan, before), tools);
      const after: After = { ...outcome.after, resources: [...outcome.after.resources, ...holders] };
      return { type: 'done', step, after: await tools.attachStep(`after-${step}`, after as never) };
    }
    case 'interrupted':
      return { type: 'interrupted', step, reason: outcome.reason };
    case 'failed': {
      if (!planned.ignoreFailure) return { type: 'failed', step, reason: outcome.reason };
      const after: After = {
        resources: await fingerprintsOf(
          [...before.resources.map(({ id }) => id), ...holdersOf(plan, before)],
          tools,
        ),
      };
      return {
        type: 'done',
        step,
        after: await tools.attachStep(`after-${step}`, after as never),
        ignored: outcome.reason,
      };
    }
  }
}

function attemptOf(
  number: number,
  step: number,
  direction: 'do' | 'undo',
  tools: EffectTools,
  records: ExecutionRecord[],
): Attempt {
  return {
    number,
    async record(identity) {
      records.push(...(await tools.put({ type: 'process', step, direction, identity })));
    },
  };
}

export const verifying: Effect = {
  obeys: () => [],
  async run({ progress }, tools) {
    const changed = await changedResources(progress, tools);
    if (changed.length === 0) return { records: [], verified: true };
    const reason = `not as the job's steps left it: ${changed.join(' ')}`;
    return { records: [], failure: { by: 'check', reason } };
  },
};

async function changedResources(progress: Progress, tools: EffectTools): Promise<ResourceId[]> {
  const expected = expectations(progress, await tools.images(progress));
  return notNew(expected, await seen([...expected.keys()], tools));
}

/** Undoes one step: on the way back, or on the way forward before it is tried again (retry only from old). */
export const undoing: Effect = {
  obeys: () => ['halt'],
  async run(situation, tools, signal) {
    const { progress } = situation;
    const back = progress.direction === 'back';
    const step = back ? nextUndo(progress) : nextStep(progress);
    const { undoAttempts = 0, undoFailures = 0, process } = progress.steps[step] ?? {};
    if (undoFailures > 0) await tools.clock.sleep(tools.limits.undoRetryMs * undoFailures);
    const records = [...(await tools.put({ type: 'undo', step, attempt: undoAttempts + 1 }))];
    // I5: nothing of the step may be alive while it is undone.
    if (process) await tools.processes.fence(process, tools.limits.graceMs);
    const attempt = { ...attemptOf(undoAttempts + 1, step, 'undo', tools, records), triedAgain: !back };
    const outcome = await undoWithin(situation, step, attempt, tools, signal);
    await tools.keepOutput({ step, direction: 'undo', attempt: attempt.number }, outcome.output);
    if (outcome.result === 'ok') {
      records.push(...(await tools.put({ type: 'undone', step, kept: outcome.kept })));
    } else if (!signal.aborted) {
      const final = undoFailures + 1 >= tools.limits.undoAttemptsMax;
      tools.log.warn({ step: step + 1, reason: outcome.reason, final }, 'an undo failed');
      records.push(...(await tools.put({ type: 'undoFailed', step, reason: outcome.reason, final })));
    }
    return { records };
  },
};

async function undoWithin(
  { plan, progress }: Situation,
  step: number,
  attempt: Attempt,
  tools: EffectTools,
  signal: AbortSignal,
): Promise<UndoOutcome> {
  const planned = plan.steps[step]!;
  const images = await tools.images(progress);
  const before = images.before.get(step);
  if (!before) return { result: 'failed', reason: 'its before-image is lost' };
  if (before.leftOut) return { result: 'ok', kept: [] };
  if (progress.cause?.by === 'foreign') {
    const strange = await notAsLeft(planned, before, images.after.get(step), tools);
    if (strange !== undefined) return { result: 'failed', reason: strange };
  }
  return await within(tools.limits.undoTimeoutMs, tools.clock, signal, async (both) => {
    const after = images.after.get(step);
    const type = tools.stepTypeOf(planned);
    const outcome = await orFailed(type.undo(planned, before, after, attempt, tools.context, both));
    return progress.direction === 'back' ? outcome : await verifiedUndo(outcome, before, tools);
  });
}

/** The journal of another machine is undone only where this device looks as that journal says (design section 5). */
async function notAsLeft(
  planned: PlanStep,
  before: Before,
  after: After | undefined,
  tools: EffectTools,
): Promise<string | undefined> {
  if (before.resources.length === 0 && planned.grade !== 'full') {
    return 'nothing here shows that the step ran on this machine';
  }
  const left = new Map(after?.resources.map(({ id, fingerprint }) => [id, fingerprint]));
  const found = await tools.observe(
    before.resources.map(({ id }) => id),
    tools.context,
  );
  const strange = before.resources.filter(
    ({ id, fingerprint }) => found.get(id) !== fingerprint && found.get(id) !== left.get(id),
  );
  if (strange.length === 0) return undefined;
  return `not as the journal left it: ${strange.map(({ id }) => id).join(' ')}`;
}

/** A retry starts only from what was compared, not from what an undo claims. */
async function verifiedUndo(outcome: UndoOutcome, before: Before, tools: EffectTools): Promise<UndoOutcome> {
  if (outcome.result !== 'ok') return outcome;
  const ids = before.resources.map(({ id }) => id);
  const found = await tools.observe(ids, tools.context);
  const different = before.resources.filter(({ id, fingerprint }) => found.get(id) !== fingerprint);
  if (different.length === 0) return outcome;
  return {
    result: 'failed',
    reason: `still different after the undo: ${different.map(({ id }) => id).join(' ')}`,
  };
}

export const judging: Effect = {
  obeys: () => [],
  async run({ plan, progress }, tools) {
    const images = await tools.images(progress);
    const expected = expectations(progress, images);
    const found = await seen([...expected.keys()], tools);
    const verdict = judge(plan, progress, expected, lastAfterImages(images), found);
    return { records: await tools.put({ type: 'judged', verdict }) };
  },
};

/** A disk that fails one read is no device that has changed: what cannot be read is looked at again. */
async function seen(
  ids: readonly ResourceId[],
  tools: EffectTools,
): Promise<ReadonlyMap<ResourceId, string>> {
  for (let tried = 1; ; tried += 1) {
    const found = await tools.observe(ids, tools.context);
    const unreadable = [...found.values()].some((fingerprint) => fingerprint.startsWith(UNREADABLE));
    if (!unreadable || tried >= tools.limits.undoAttemptsMax) return found;
    await tools.clock.sleep(tools.limits.undoRetryMs * tried);
  }
}

/** The undo data of an INCONSISTENT device is kept: a person may still need it. */
export const closing: Effect = {
  obeys: () => [],
  async run(situation, tools): Promise<EffectOutput> {
    const { verdict } = situation.progress;
    if (verdict && verdict.outcome !== 'inconsistent') await discardAll(situation, tools);
    return { records: await tools.put({ type: 'closed' }) };
  },
};
