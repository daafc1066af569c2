import type { Agent, Cancelled } from '../../agent/agent.ts';
import { INHIBIT_MS_MAX, INHIBIT_REASON_CHARS_MAX } from '../../agent/inhibition.ts';
import { Refused } from '../../agent/refused.ts';
import { BadRequest, type Request, wanted } from './protocol.ts';
import { type ControlCommands, ControlRefused } from './server.ts';

/** What changes something here: only for the owner of the state directory. */
export function actingCommands(
  agent: Pick<Agent, 'cancel' | 'inhibit' | 'allow' | 'resolve' | 'runLocal'>,
): ControlCommands {
  return {
    cancel: (request: Request): Promise<Extract<Cancelled, { ok: true }>> => {
      const jobId = request['jobId'] === undefined ? undefined : wanted(request, 'jobId');
      const cancelled = agent.cancel(wanted(request, 'reason'), jobId);
      if (!cancelled.ok) throw new ControlRefused(cancelled.reason);
      return Promise.resolve(cancelled);
    },
    inhibit: (request: Request) => {
      const { forMs, steps } = request;
      if (typeof forMs !== 'number' || !(forMs > 0 && forMs <= INHIBIT_MS_MAX)) {
        throw new BadRequest(`"forMs" must be a number from 1 to ${INHIBIT_MS_MAX}`);
      }
      const reason = wanted(request, 'reason').slice(0, INHIBIT_REASON_CHARS_MAX);
      return agent.inhibit({ reason, steps: steps === true, forMs });
    },
    allow: () => agent.allow(),
    runLocal: ({ document }: Request) => orRefused(() => agent.runLocal(document)),
    resolve: (request: Request) =>
      orRefused(() =>
        agent.resolve({
          lookOnly: request['lookOnly'] === true,
          ...(request['accept'] !== undefined && { accept: wanted(request, 'accept') }),
        }),
      ),
  };
}

async function orRefused<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof Refused ? new ControlRefused(error.message) : error;
  }
}
