import type { Agent, AgentStatus } from '../../agent/agent.ts';
import type { Summary } from '../../agent/summary.ts';
import type { Clock } from '../../host/clock.ts';
import type { JobsClient, Reply } from '../../jobs/client.ts';
import type { Refusals } from '../../receipts/refusals.ts';
import type { Transport } from '../../transport/port.ts';
import type { Library } from '../story/library.ts';
import { actingCommands } from './acting-commands.ts';
import type { LinkStatus } from './link-watch.ts';
import { type Request, wanted } from './protocol.ts';
import { type ControlCommands, ControlRefused } from './server.ts';

/** Answer to `status`. */
export interface LiveStatus {
  version: string;
  pid: number;
  thing: string;
  mode: string;
  startedAt: string;
  agent: AgentStatus;
  link: LinkStatus;
  refusedChannels: Refusals;
  /** Receipts that the cloud has not taken yet. */
  receiptsWaiting: number;
}

/** Answer to `check`: what `doctor` can learn from an agent whose session it must not take over (L26). */
export interface LiveCheck extends LiveStatus {
  /** Absent while the link is down. */
  roundTrip?: { ok: true; ms: number } | { ok: false; reason: string };
  describe?: { kind: 'accepted' } | { kind: 'rejected' | 'noAnswer'; reason: string };
}

export interface CommandDeps {
  facts: Pick<LiveStatus, 'version' | 'pid' | 'thing' | 'mode' | 'startedAt'>;
  agent: Pick<Agent, 'status' | 'summary' | 'cancel' | 'inhibit' | 'allow' | 'resolve' | 'runLocal'>;
  jobs: Pick<JobsClient, 'describe'>;
  transport: Pick<Transport, 'up' | 'roundTrip'>;
  clock: Pick<Clock, 'monotonicMs'>;
  link(): LinkStatus;
  refusedChannels(): Promise<Refusals>;
  receiptsWaiting(): Promise<number>;
  /** For those who may ask, and may not read the state directory. */
  library: Library;
  requestTimeoutMs: number;
}

/** What the agent can be asked by those who may only read: it changes nothing, here or in the cloud, and costs nothing. */
export function readCommands(
  deps: Pick<CommandDeps, 'facts' | 'agent' | 'link' | 'refusedChannels' | 'receiptsWaiting' | 'library'>,
) {
  const status = async (): Promise<LiveStatus> => ({
    ...deps.facts,
    agent: deps.agent.status(),
    link: deps.link(),
    refusedChannels: await deps.refusedChannels(),
    receiptsWaiting: await deps.receiptsWaiting(),
  });
  const summary = async (request: Request): Promise<Summary> => {
    const key = wanted(request, 'key');
    const found = await deps.agent.summary(key);
    if (!found) throw new ControlRefused(`no execution ${key} is known here`);
    return found;
  };
  return {
    status,
    summary,
    history: () => deps.library.summaries(),
    show: (request: Request) => deps.library.stories(wanted(request, 'jobId')),
    logs: (request: Request) => deps.library.outputs(wanted(request, 'jobId')),
  };
}

/** What only the owner may ask of it. */
export function ownerCommands(deps: CommandDeps): ControlCommands {
  const { status } = readCommands(deps);
  return {
    ...actingCommands(deps.agent),
    check: async (): Promise<LiveCheck> => {
      if (!deps.transport.up) return await status();
      const roundTrip = await pinged(deps);
      // Describing `$next` changes nothing and starts nothing (P19).
      const describe = said(await deps.jobs.describe('$next', { includeJobDocument: false }));
      return { ...(await status()), roundTrip, describe };
    },
  };
}

async function pinged({
  transport,
  clock,
  requestTimeoutMs,
}: CommandDeps): Promise<NonNullable<LiveCheck['roundTrip']>> {
  const beganMs = clock.monotonicMs();
  try {
    await transport.roundTrip(requestTimeoutMs);
    return { ok: true, ms: Math.round(clock.monotonicMs() - beganMs) };
  } catch (error) {
    return { ok: false, reason: (error as Error).message };
  }
}

function said(reply: Reply<unknown>): NonNullable<LiveCheck['describe']> {
  switch (reply.kind) {
    case 'accepted':
      return { kind: 'accepted' };
    case 'rejected':
      return { kind: 'rejected', reason: `${reply.rawCode}: ${reply.message}` };
    case 'noAnswer':
      return reply;
  }
}
