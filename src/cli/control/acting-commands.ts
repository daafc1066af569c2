import type { Agent, Cancelled } from '../../agent/agent.ts';
import { type Request, wanted } from './protocol.ts';
import { type ControlCommands, ControlRefused } from './server.ts';

/** What changes something here: only for the owner of the state directory. */
export function actingCommands(agent: Pick<Agent, 'cancel'>): ControlCommands {
  return {
    cancel: (request: Request): Promise<Extract<Cancelled, { ok: true }>> => {
      const jobId = request['jobId'] === undefined ? undefined : wanted(request, 'jobId');
      const cancelled = agent.cancel(wanted(request, 'reason'), jobId);
      if (!cancelled.ok) throw new ControlRefused(cancelled.reason);
      return Promise.resolve(cancelled);
    },
  };
}
