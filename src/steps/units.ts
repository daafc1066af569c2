import { namesOf, type PlanStep, type ResourceId, type UnitsStep } from '../document/plan.ts';
import { SystemdFailed, type UnitState, type UnitVerb } from '../host/systemd.ts';
import { within } from '../host/within.ts';
import { syncTouched } from './command.ts';
import { afterOf, discardPaths, preparePaths, surveyPaths, undoPaths } from './paths.ts';
import type {
  After,
  Attempt,
  Before,
  DoOutcome,
  Fingerprint,
  Json,
  StepContext,
  StepSurvey,
  StepType,
  UndoOutcome,
} from './step.ts';

/**
 * What `startServices`, `stopServices` and `restartServices` share. Of a unit only whether it runs is its state: which
 * run it is, and whether it is enabled, stands in the before-image for people.
 */

const POLL_MIN_MS = 50;
const POLL_MAX_MS = 1000;
/** How long a unit that is just starting or stopping is waited for when it is only looked at. */
const LOOK_LIMIT_MS = 120_000;
/** On the way back, for one unit. */
const SETTLE_LIMIT_MS = 300_000;

interface UnitImage {
  up: boolean;
  active: string;
  sub: string;
  file: string;
  invocationId: string;
}

type UnitContext = Pick<StepContext, 'systemd' | 'clock'>;

export const idOf = (unit: string): ResourceId => `unit:${unit}`;

/** Active, or a oneshot that has done its work and rests (man 5 systemd.service). */
export function isUp({ active }: UnitState): boolean {
  return active === 'active' || active === 'reloading';
}

/** The state of a unit as it is compared, when it has come to rest. */
export async function unitFingerprint(unit: string, context: UnitContext): Promise<Fingerprint> {
  // Without systemd no unit runs.
  if (!(await context.systemd.booted())) return 'unit inactive';
  const never = new AbortController().signal;
  return fingerprintOf(
    await within(LOOK_LIMIT_MS, context.clock, never, (signal) => rested(unit, context, signal)),
  );
}

function fingerprintOf(state: UnitState): Fingerprint {
  if (isUp(state)) return 'unit active';
  // A failed unit runs no more than one that was stopped; one that does not come to rest is neither.
  return ['activating', 'deactivating'].includes(state.active) ? `unit ${state.active}` : 'unit inactive';
}

/** Looks until nothing is under way for the unit; the last look when `signal` aborts. */
async function rested(
  unit: string,
  { systemd, clock }: UnitContext,
  signal: AbortSignal,
): Promise<UnitState> {
  for (let pauseMs = POLL_MIN_MS; ; pauseMs = Math.min(pauseMs * 2, POLL_MAX_MS)) {
    const state = await systemd.show(unit);
    const moving = state.hasJob || ['activating', 'deactivating', 'reloading'].includes(state.active);
    if (!moving || signal.aborted) return state;
    await clock.sleep(pauseMs, signal).catch(() => undefined);
  }
}

async function surveyUnits(step: UnitsStep, context: StepContext): Promise<StepSurvey> {
  const survey = await surveyPaths(step, context);
  const problems: StepSurvey['problems'][number][] = [];
  if (!(await context.systemd.booted())) {
    problems.push({ kind: 'never', path: step.path, reason: 'systemd does not run here' });
  } else if (step.type === 'stopServices' && step.units.includes((await context.systemd.ownUnit()) ?? '')) {
    problems.push({ kind: 'never', path: step.path, reason: 'this would stop the agent itself' });
  }
  return { ...survey, problems: [...survey.problems, ...problems] };
}

async function prepareUnits(step: UnitsStep, context: StepContext): ReturnType<StepType['prepare']> {
  const prepared = await preparePaths(step, context);
  if (!prepared.ok) return prepared;
  const units: Before['resources'][number][] = [];
  try {
    for (const unit of step.units) {
      const never = new AbortController().signal;
      const state = await within(LOOK_LIMIT_MS, context.clock, never, (signal) =>
        rested(unit, context, signal),
      );
      const { active, sub, file, invocationId } = state;
      const image: UnitImage = { up: isUp(state), active, sub, file, invocationId };
      units.push({ id: idOf(unit), fingerprint: fingerprintOf(state), image: image as unknown as Json });
    }
  } catch (error) {
    if (error instanceof SystemdFailed) return { ok: false, reason: error.message };
    throw error;
  }
  return { ok: true, before: { resources: [...prepared.before.resources, ...units] } };
}

export function imageOf(before: Before, unit: string): UnitImage {
  const found = before.resources.find(({ id }) => id === idOf(unit));
  if (!found) throw new Error(`internal error: no before-image of ${unit}`);
  return found.image as unknown as UnitImage;
}

/** One unit brought where the step wants it; why it did not get there. */
export type BringUnit = (
  unit: string,
  before: Before,
  context: StepContext,
  signal: AbortSignal,
) => Promise<string | undefined>;

/** One unit after the other; then all of them have to stay as they are for a while. */
async function doUnits(
  step: UnitsStep,
  bring: BringUnit,
  before: Before,
  context: StepContext,
  signal: AbortSignal,
): Promise<DoOutcome> {
  try {
    return await within(step.timeoutSeconds * 1000, context.clock, signal, async (both) => {
      for (const unit of step.units) {
        const reason = await bring(unit, before, context, both);
        if (both.aborted) return stopped(signal, step);
        if (reason !== undefined) return await failed(unit, reason, context);
      }
      const unwell = await notSteady(step, context, both);
      if (both.aborted) return stopped(signal, step);
      if (unwell) return await failed(unwell.unit, unwell.reason, context);
      if (namesOf('path', step.touches).length > 0) await syncTouched(step.touches, context.disk);
      const paths = await afterOf(before, context);
      const units = await Promise.all(
        step.units.map(async (unit) => ({
          id: idOf(unit),
          fingerprint: await unitFingerprint(unit, context),
        })),
      );
      return { result: 'ok', after: { resources: [...paths.resources, ...units] } };
    });
  } catch (error) {
    if (error instanceof SystemdFailed) return { result: 'failed', reason: error.message };
    throw error;
  }
}

function stopped(signal: AbortSignal, { timeoutSeconds }: PlanStep): DoOutcome {
  if (!signal.aborted) return { result: 'failed', reason: `not finished within ${timeoutSeconds} s` };
  return { result: 'interrupted', reason: (signal.reason as Error | undefined)?.message ?? 'stopped' };
}

async function failed(unit: string, reason: string, { systemd }: StepContext): Promise<DoOutcome> {
  return { result: 'failed', reason, output: { stdout: '', stderr: await systemd.describe(unit) } };
}

/** The health window: what ends, starts again or comes back by itself meanwhile is no success. */
async function notSteady(
  { units, healthSeconds, type }: UnitsStep,
  context: StepContext,
  signal: AbortSignal,
): Promise<{ unit: string; reason: string } | undefined> {
  const { systemd, clock } = context;
  const first = new Map<string, UnitState>();
  for (const unit of units) first.set(unit, await systemd.show(unit));
  const endMs = clock.monotonicMs() + healthSeconds * 1000;
  while (clock.monotonicMs() < endMs && !signal.aborted) {
    await clock.sleep(Math.min(POLL_MAX_MS / 2, endMs - clock.monotonicMs()), signal).catch(() => undefined);
    for (const [unit, then] of first) {
      const now = await systemd.show(unit);
      if (now.active !== then.active) {
        const wrong = type === 'stopServices' ? 'did not stay stopped' : 'did not stay up';
        return { unit, reason: `${unit} ${wrong} for ${healthSeconds} s: it is ${stateWords(now)}` };
      }
      if (now.invocationId !== then.invocationId || now.restarts !== then.restarts)
        return { unit, reason: `${unit} was started again within ${healthSeconds} s` };
    }
  }
  return undefined;
}

function stateWords({ active, sub, result }: UnitState): string {
  return `${active} (${sub}${result === '' || result === 'success' ? '' : `, ${result}`})`;
}

/** Queues one job and waits until the unit rests; why the unit is not as wanted then. */
export async function bring(
  verb: UnitVerb,
  unit: string,
  context: UnitContext,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { systemd } = context;
  const known = await systemd.show(unit);
  if (verb === 'stop' && known.load === 'not-found') return undefined;
  // An earlier step, or its undo, has changed the file: what systemd holds is not what is meant.
  if (known.needsReload) await systemd.reload();
  await systemd.queue(verb, unit);
  const state = await rested(unit, context, signal);
  if (verb === 'stop') return isUp(state) ? `${unit} is still ${stateWords(state)}` : undefined;
  const worked = state.type === 'oneshot' && state.active === 'inactive' && state.result === 'success';
  return isUp(state) || worked ? undefined : `${unit} is ${stateWords(state)}`;
}

/**
 * Brings every unit back at once: the undos of earlier steps may need it. On the way back a start that fails is no
 * failure yet, since what it needs may come back only later; `settle` starts it again, and its state is compared then.
 */
async function undoUnits(
  step: UnitsStep,
  before: Before,
  after: After | undefined,
  attempt: Attempt,
  context: StepContext,
  signal: AbortSignal,
): Promise<UndoOutcome> {
  const failures: string[] = [];
  const back = async (wanted: 'up' | 'down'): Promise<void> => {
    for (const unit of [...step.units].reverse()) {
      const { up } = imageOf(before, unit);
      if (up !== (wanted === 'up')) continue;
      const reason = await bringBack(unit, wanted, context, signal);
      if (reason !== undefined && (wanted === 'down' || attempt.triedAgain === true)) failures.push(reason);
    }
  };
  await back('down');
  const paths = await undoPaths(step, before, after, attempt, context);
  await back('up');
  if (paths.result === 'failed') failures.push(paths.reason);
  return failures.length > 0 ? { result: 'failed', reason: failures.join('; ') } : paths;
}

/** Nothing is done to a unit that is as it was. */
async function bringBack(
  unit: string,
  wanted: 'up' | 'down',
  context: StepContext,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    const state = await rested(unit, context, signal);
    if (isUp(state) === (wanted === 'up')) return undefined;
    // The starts of the job itself must not have used up those of its undo.
    if (wanted === 'up') await context.systemd.resetFailed(unit);
    return await bring(wanted === 'up' ? 'start' : 'stop', unit, context, signal);
  } catch (error) {
    if (error instanceof SystemdFailed) return error.message;
    throw error;
  }
}

/**
 * After all undos: a unit that ran before runs on what is there now, so it is restarted, once, however many steps
 * were about it; one that did not run is stopped. The first step that knows it knows how it was before the job.
 */
async function settleUnits(
  step: UnitsStep,
  before: Before,
  context: StepContext,
  settled: Set<ResourceId>,
): Promise<UndoOutcome> {
  const failures: string[] = [];
  const own = await context.systemd.ownUnit();
  for (const unit of step.units) {
    if (settled.has(idOf(unit))) continue;
    settled.add(idOf(unit));
    const never = new AbortController().signal;
    const reason = await within(SETTLE_LIMIT_MS, context.clock, never, async (signal) => {
      if (!imageOf(before, unit).up) return await bringBack(unit, 'down', context, signal);
      // Behind the first step nothing was undone that it could have read meanwhile.
      if (step.index === 0) return await bringBack(unit, 'up', context, signal);
      return await restartOnce(unit, unit === own, context, signal);
    });
    if (reason !== undefined) failures.push(reason);
  }
  return failures.length > 0 ? { result: 'failed', reason: failures.join('; ') } : { result: 'ok', kept: [] };
}

async function restartOnce(
  unit: string,
  isOwn: boolean,
  context: StepContext,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    await context.systemd.resetFailed(unit);
    if (!isOwn) return await bring('restart', unit, context, signal);
    // The agent is asked to drain, ends this, and starts again.
    await context.systemd.queue('restart', unit);
    return undefined;
  } catch (error) {
    if (error instanceof SystemdFailed) return error.message;
    throw error;
  }
}

/** All of a step type but how it brings one unit forward. */
export function unitSteps<S extends UnitsStep>(forward: BringUnit): StepType<S> {
  return {
    survey: surveyUnits,
    prepare: prepareUnits,
    do: (step, before, _attempt, context, signal) => doUnits(step, forward, before, context, signal),
    undo: undoUnits,
    settle: settleUnits,
    discard: discardPaths,
  };
}
