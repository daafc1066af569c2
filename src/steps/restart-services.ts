import type { RestartServicesStep } from '../document/plan.ts';
import type { Before, StepContext, StepType } from './step.ts';
import { bring, imageOf, unitSteps } from './units.ts';

/** Restarts units of systemd: another invocation is the proof. Also that of the agent itself. */
export const restartServices: StepType<RestartServicesStep> = unitSteps(
  async (unit, before, context, signal) => {
    const old = imageOf(before, unit).invocationId;
    if (unit === (await context.systemd.ownUnit())) return await restartSelf(unit, before, context, signal);
    const reason = await bring('restart', unit, context, signal);
    if (reason !== undefined || signal.aborted) return reason;
    const { invocationId } = await context.systemd.show(unit);
    return invocationId === old && old !== '' ? `${unit} still runs as before` : undefined;
  },
);

/** The step is interrupted by it, and found done by the agent that comes after. */
async function restartSelf(
  unit: string,
  before: Before,
  { systemd, clock }: StepContext,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { invocationId } = await systemd.show(unit);
  if (invocationId !== imageOf(before, unit).invocationId) return undefined;
  await systemd.queue('restart', unit);
  while (!signal.aborted) await clock.sleep(60_000, signal).catch(() => undefined);
  return undefined;
}
