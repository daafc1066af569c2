import type { RebootStep, ShutdownStep } from '../document/plan.ts';
import { SystemdFailed } from '../host/systemd.ts';
import type { StepContext, StepSurvey, StepType, UndoOutcome } from './step.ts';

/**
 * What ends the boot that it is done in. Neither changes anything that could be put back; that a restart has taken
 * place is proved by another boot id, which only the next life of the agent can see (design section 4).
 */

async function survey(step: RebootStep | ShutdownStep, { systemd }: StepContext): Promise<StepSurvey> {
  const problems: StepSurvey['problems'] = (await systemd.booted())
    ? []
    : [{ kind: 'never', path: step.path, reason: 'systemd does not run here' }];
  return { grade: step.grade, diskNeed: [], problems };
}

const nothingToUndo = {
  prepare: () => Promise.resolve({ ok: true as const, before: { resources: [] } }),
  undo: () => Promise.resolve({ result: 'ok' as const, kept: [] }),
  discard: () => Promise.resolve(),
};

/** Asks for it; why it was refused. */
export async function askToEndBoot(
  how: 'reboot' | 'poweroff',
  { disk, systemd }: Pick<StepContext, 'disk' | 'systemd'>,
): Promise<UndoOutcome> {
  try {
    await disk.syncAll();
    await systemd.endBoot(how);
    return { result: 'ok', kept: [] };
  } catch (error) {
    if (error instanceof SystemdFailed) return { result: 'failed', reason: error.message };
    throw error;
  }
}

/** Restarts the device, and is interrupted by that: the agent that comes after finds it done. */
export const reboot: StepType<RebootStep> = {
  survey,
  ...nothingToUndo,
  async do(step, _before, _attempt, context, signal) {
    const asked = signal.aborted ? undefined : await askToEndBoot('reboot', context);
    if (asked?.result === 'failed') return asked;
    await context.clock.sleep(step.timeoutSeconds * 1000, signal).catch(() => undefined);
    return signal.aborted
      ? { result: 'interrupted', reason: (signal.reason as Error | undefined)?.message ?? 'stopped' }
      : { result: 'failed', reason: `the device has not restarted within ${step.timeoutSeconds} s` };
  },
};

/** Switches the device off when the job has succeeded, and only then. */
export const shutdown: StepType<ShutdownStep> = {
  survey,
  ...nothingToUndo,
  do: () => Promise.resolve({ result: 'ok', after: { resources: [] } }),
  finish: (_step, _before, context) => askToEndBoot('poweroff', context),
};
