import type { Clock } from '../host/clock.ts';
import type { JobsClient } from '../jobs/client.ts';
import { requestTopics } from '../jobs/topics.ts';
import { type Transport, TransportError } from '../transport/port.ts';
import { type Receipt, reportedOf } from './receipt.ts';
import type { ChannelName } from './refusals.ts';

/** What became of one receipt on one channel. */
export type Sent =
  | { kind: 'accepted' }
  /** Not now: says nothing about the channel. */
  | { kind: 'failed'; reason: string }
  /** The channel may be forbidden to this device. */
  | { kind: 'refused'; reason: string };

export interface Channel {
  name: ChannelName;
  topic: string;
  send(receipt: Receipt): Promise<Sent>;
}

export interface ChannelDeps {
  thing: string;
  jobs: Pick<JobsClient, 'updateShadow'>;
  transport: Pick<Transport, 'publish' | 'subscribe'>;
  clock: Pick<Clock, 'monotonicMs'>;
  requestTimeoutMs: number;
}

/** A link that ends so soon after a receipt, unanswered, was ended because of it. */
const BECAUSE_OF_IT_MS = 5000;
/** Of the shadow service; on the wire it is a number. */
const FORBIDDEN = ['401', '403'];

export function shadowChannel(deps: ChannelDeps): Channel {
  return {
    name: 'shadow',
    topic: requestTopics(deps.thing).receiptShadow,
    send: (receipt) =>
      watchingLink(deps, async () => {
        const reply = await deps.jobs.updateShadow(reportedOf(receipt));
        if (reply.kind === 'accepted') return reply;
        if (reply.kind === 'noAnswer') return { kind: 'failed', reason: reply.reason };
        const reason = `${reply.rawCode}: ${reply.message}`;
        return { kind: FORBIDDEN.includes(reply.rawCode) ? 'refused' : 'failed', reason };
      }),
  };
}

export function topicChannel(topic: string, deps: ChannelDeps): Channel {
  return {
    name: 'topic',
    topic,
    send: (receipt) =>
      watchingLink(deps, async () => {
        try {
          await deps.transport.publish(topic, Buffer.from(JSON.stringify(receipt)), deps.requestTimeoutMs);
          return { kind: 'accepted' };
        } catch (error) {
          if (!(error instanceof TransportError)) throw error;
          // MQTT 5 says it in the PUBACK; 3.1.1 can only hang up.
          return { kind: error.failure === 'refused' ? 'refused' : 'failed', reason: error.message };
        }
      }),
  };
}

/** T7: where the broker has no word for a refusal, it ends the link. */
async function watchingLink({ transport, clock }: ChannelDeps, send: () => Promise<Sent>): Promise<Sent> {
  const beganMs = clock.monotonicMs();
  let endedAfterMs = Number.POSITIVE_INFINITY;
  const unsubscribe = transport.subscribe({
    onDown() {
      endedAfterMs = Math.min(endedAfterMs, clock.monotonicMs() - beganMs);
    },
  });
  try {
    const sent = await send();
    if (sent.kind !== 'failed' || endedAfterMs > BECAUSE_OF_IT_MS) return sent;
    return { kind: 'refused', reason: `the link ended ${Math.round(endedAfterMs)} ms after a receipt` };
  } finally {
    unsubscribe();
  }
}
