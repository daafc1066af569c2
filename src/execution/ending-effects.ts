import type { Plan, PlanStep, ResourceId } from '../document/plan.ts';
import { askToEndBoot } from '../steps/reboot.ts';
import type { UndoOutcome } from '../steps/step.ts';
import type { Effect, EffectTools } from './effects.ts';
import type { EffectOutput } from './execution-machine.ts';
import type { Situation } from './next-move.ts';
import type { Progress } from './progress.ts';
import type { ExecutionRecord } from './records.ts';

/** The effects at the two ends of an execution: what follows all undos, and what follows the commit. */

/** How long a device may take to go down; longer, and it is asked again. */
const GOING_DOWN_MS = 600_000;

/** Restarts of all undone steps follow all undos, once each. */
export const settling: Effect = {
  obeys: () => ['drain', 'halt'],
  async run({ plan, progress }, tools, signal) {
    if (wantsReboot(plan, progress, tools)) return await rebootBack(progress, tools, signal);
    const { before } = await tools.images(progress);
    const settled = new Set<ResourceId>();
    for (const step of plan.steps) {
      const image = before.get(step.index);
      if (progress.steps[step.index]?.phase !== 'undone' || !image || image.leftOut) continue;
      const outcome = await tools.stepTypeOf(step).settle?.(step, image, tools.context, settled);
      if (outcome?.result === 'failed')
        tools.log.warn({ step: step.index + 1, reason: outcome.reason }, 'cannot settle');
    }
    return { records: await tools.put({ type: 'settled' }) };
  },
};

/**
 * A reboot of the job has taken place, so what runs has read what is undone by now: the device restarts once more.
 * Once: a boot id that differs from that of the request is the proof.
 */
function wantsReboot(plan: Plan, progress: Progress, { bootId, limits }: EffectTools): boolean {
  const { rollbackReboot, steps } = progress;
  if (rollbackReboot)
    return rollbackReboot.bootId === bootId && rollbackReboot.attempts < limits.undoAttemptsMax;
  const undone = plan.steps.filter(({ index }) => steps[index]?.phase === 'undone');
  const restarted = undone.filter((step) => step.endsBoot && steps[step.index]?.bootId !== bootId);
  return restarted.length > 0 && undone.some(({ touches, undo }) => touches.length > 0 || undo);
}

async function rebootBack(
  { rollbackReboot }: Progress,
  tools: EffectTools,
  signal: AbortSignal,
): Promise<EffectOutput> {
  if (signal.aborted) return { records: [] };
  const attempt = (rollbackReboot?.attempts ?? 0) + 1;
  const records = await tools.put({ type: 'rebooting', attempt, bootId: tools.bootId });
  const asked = await askToEndBoot('reboot', tools.context);
  await goingDown(asked, tools, signal);
  return { records };
}

/** Until the device goes down and this agent with it, or for so long that it has not. */
async function goingDown(asked: UndoOutcome, tools: EffectTools, signal: AbortSignal): Promise<void> {
  if (asked.result === 'failed') tools.log.warn({ reason: asked.reason }, 'cannot end this boot');
  const waitMs = asked.result === 'failed' ? tools.limits.undoRetryMs : GOING_DOWN_MS;
  await tools.clock.sleep(waitMs, signal).catch(() => undefined);
}

/** After the commit: deferred work, and the undo data goes. */
export const finishing: Effect = {
  obeys: () => ['drain', 'halt'],
  async run(situation, tools, signal) {
    const { plan, progress } = situation;
    const { before } = await tools.images(progress);
    const incomplete: string[] = [];
    for (const step of plan.steps) {
      const image = before.get(step.index);
      const type = tools.stepTypeOf(step);
      if (!image || image.leftOut || !type.finish || step.finishEndsBoot) continue;
      let outcome: UndoOutcome = { result: 'failed', reason: 'not tried' };
      for (let tried = 0; tried < tools.limits.finishAttemptsMax && outcome.result !== 'ok'; tried += 1) {
        outcome = await type.finish(step, image, tools.context);
      }
      if (outcome.result === 'failed') incomplete.push(`${step.name}: ${outcome.reason}`);
    }
    await discardAll(situation, tools);
    const last = plan.steps.findLast(({ finishEndsBoot }) => finishEndsBoot);
    const ending = last && (await endBootLast(last, progress, tools, signal));
    if (ending?.kind === 'asked') return { records: ending.records };
    if (ending?.kind === 'givenUp') incomplete.push(`${last?.name ?? ''}: ${ending.reason}`);
    return { records: await tools.put({ type: 'finished', incomplete }) };
  },
};

type Ending =
  | { kind: 'done' }
  | { kind: 'asked'; records: readonly ExecutionRecord[] }
  | { kind: 'givenUp'; reason: string };

/** Behind everything else: the next life sees by its boot id that it is done. */
async function endBootLast(
  step: PlanStep,
  progress: Progress,
  tools: EffectTools,
  signal: AbortSignal,
): Promise<Ending> {
  const { attempts, bootId } = progress.steps[step.index]?.finishing ?? { attempts: 0, bootId: tools.bootId };
  if (bootId !== tools.bootId) return { kind: 'done' };
  if (attempts >= tools.limits.finishAttemptsMax) {
    return { kind: 'givenUp', reason: `the device did not go down when it was asked ${attempts} times` };
  }
  if (signal.aborted) return { kind: 'asked', records: [] };
  const record: ExecutionRecord = { type: 'finishing', step: step.index, attempt: attempts + 1, bootId };
  const records = await tools.put(record);
  const image = { resources: [] };
  const asked = await tools.stepTypeOf(step).finish?.(step, image, tools.context);
  await goingDown(asked ?? { result: 'ok', kept: [] }, tools, signal);
  return { kind: 'asked', records };
}

/** Every step's before-images and staged files. */
export async function discardAll({ plan }: Situation, tools: EffectTools): Promise<void> {
  for (const step of plan.steps) await tools.stepTypeOf(step).discard(step, tools.context);
}
