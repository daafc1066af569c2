import type { Plan } from '../document/plan.ts';
import type { Answer, NoLink, Stopped } from '../execution/cloud.ts';
import type { Clock } from '../host/clock.ts';
import { within } from '../host/within.ts';
import type { Transport } from '../transport/port.ts';
import type { Conversation } from './conversation.ts';

/**
 * What stands in the cloud's place for a job of a person at the device: everything is still ours, and the judge is the
 * device itself, so a job that has verified commits. It needs no link. But a job must not cut off a device that had
 * one: where the link was up when the job was taken in, and what it depends on may have changed, it is proved anew.
 */
export interface LocalCloudDeps {
  plan: Plan;
  linkWasUp: boolean;
  transport: Pick<Transport, 'renew'>;
  clock: Pick<Clock, 'sleep'>;
  requestTimeoutMs: number;
}

const OURS: Answer = { kind: 'ours', versionNumber: 0 };
const RENEW_REQUESTS = 3;
const RETRY_MS = 1000;

export function createLocalCloud(deps: LocalCloudDeps): Conversation {
  const ours = (): Promise<Answer> => Promise.resolve(OURS);
  return {
    versionNumber: 0,
    start: ours,
    progress: () => undefined,
    ask: ours,
    fence: ours,
    report: ours,
    reconcile: ours,
    heartbeat: ours,
    timeLeftMs: () => Promise.resolve(Number.POSITIVE_INFINITY),
    proveLink: ({ fresh, waitMs }, signal) =>
      fresh && deps.linkWasUp ? provedAnew(waitMs, deps, signal) : ours(),
    async propose(_details, beforeSend) {
      await beforeSend(0);
      return OURS;
    },
    freshUrl(step) {
      const planned = deps.plan.steps[step];
      if (!planned || !('url' in planned) || planned.url === undefined) {
        throw new Error(`internal error: step ${step} has no URL`);
      }
      return Promise.resolve(planned.url);
    },
    close: () => undefined,
  };
}

async function provedAnew(
  waitMs: number,
  { transport, clock, requestTimeoutMs }: LocalCloudDeps,
  signal: AbortSignal,
): Promise<Answer | NoLink | Stopped> {
  let reason = 'not tried';
  const proved = await within(waitMs, clock, signal, async (both) => {
    while (!both.aborted) {
      try {
        await transport.renew(requestTimeoutMs * RENEW_REQUESTS);
        return true;
      } catch (error) {
        reason = (error as Error).message;
        await clock.sleep(RETRY_MS, both).catch(() => undefined);
      }
    }
    return false;
  });
  if (proved) return OURS;
  return signal.aborted ? { kind: 'stopped' } : { kind: 'noLink', reason };
}
