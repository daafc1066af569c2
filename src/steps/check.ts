import type { CheckStep } from '../document/plan.ts';
import { CannotRunError } from '../host/processes.ts';
import { within } from '../host/within.ts';
import { commandSpec } from './command.ts';
import { fingerprintAt } from './fingerprint.ts';
import type { Attempt, StepContext, StepType } from './step.ts';

const HTTP_TIMEOUT_MS = 10_000;

/** Looks until what it looks for holds, or its time is over. Touches nothing, so there is nothing to undo. */
export const check: StepType<CheckStep> = {
  survey: async (step) => ({ grade: step.grade, diskNeed: [], problems: [] }),
  prepare: async () => ({ ok: true, before: { resources: [] } }),
  async do(step, _before, attempt, context, signal) {
    const startedMs = context.clock.monotonicMs();
    for (;;) {
      const reason = await holds(step, attempt, context, signal);
      if (reason === undefined) return { result: 'ok', after: { resources: [] } };
      if (signal.aborted) return { result: 'interrupted', reason: (signal.reason as Error).message };
      if (context.clock.monotonicMs() - startedMs >= step.timeoutSeconds * 1000) {
        return { result: 'failed', reason };
      }
      await context.clock.sleep(step.intervalSeconds * 1000, signal).catch(() => undefined);
    }
  },
  undo: async () => ({ result: 'ok', kept: [] }),
  discard: async () => undefined,
};

/** `undefined` when it holds, else why it does not. */
async function holds(
  step: CheckStep,
  attempt: Attempt,
  context: StepContext,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { check: what } = step;
  switch (what.kind) {
    case 'command': {
      try {
        const spec = commandSpec(step, what.argv, 'do', attempt, context);
        const { exitCode, signal: endedBy } = await context.processes.run(spec, attempt.record, signal);
        return exitCode === 0 ? undefined : `the command ended with ${endedBy ?? `exit status ${exitCode}`}`;
      } catch (error) {
        if (error instanceof CannotRunError) return error.message;
        throw error;
      }
    }
    case 'file': {
      const found = await fingerprintAt(context.disk, what.target);
      return found.endsWith(what.sha256) ? undefined : `${what.target} has another content`;
    }
    case 'http':
      return await answers(what, context, signal);
  }
}

async function answers(
  { url, status }: { url: string; status: number },
  { clock }: StepContext,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    const found = await within(HTTP_TIMEOUT_MS, clock, signal, async (both) => {
      const response = await fetch(url, { signal: both, redirect: 'manual' });
      await response.body?.cancel();
      return response.status;
    });
    return found === status ? undefined : `${url} answers ${found}, not ${status}`;
  } catch (error) {
    return `${url} does not answer: ${((error as Error).cause as Error | undefined)?.message ?? (error as Error).message}`;
  }
}
