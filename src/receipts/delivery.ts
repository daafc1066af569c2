import type { Clock } from '../host/clock.ts';
import type { Transport } from '../transport/port.ts';
import type { Channel } from './channels.ts';
import type { Outbox } from './outbox.ts';
import type { Receipt } from './receipt.ts';
import type { ChannelName, Refusals } from './refusals.ts';

/** Takes receipts from the outbox to the cloud, one at a time, until each was accepted on every channel. */
export interface Delivery {
  /** There may be something to deliver; returns at once. */
  look(): void;
  close(): void;
}

export interface DeliveryDeps {
  outbox: Pick<Outbox, 'drain' | 'pending'>;
  channels: readonly Channel[];
  transport: Pick<Transport, 'up'>;
  clock: Pick<Clock, 'sleep' | 'random' | 'monotonicMs' | 'wallMs'>;
  log: { info(fields: object, message: string): void; warn(fields: object, message: string): void };
  /** As an earlier life has left them. */
  refused: Refusals;
  /** Makes them durable. */
  saveRefused(refused: Refusals): Promise<void>;
  onDelivered?(): void;
}

const RETRY_MS = 30_000;
const REFUSED_RETRY_MS = 86_400_000;
/** Once may be chance; what ends the link again on the next try is a refusal. */
const REFUSALS_MAX = 2;

/** One channel with what is known of it. */
interface Lane {
  channel: Channel;
  /** In a row. */
  refusals: number;
  /** Monotonic: when a refused channel is tried again. Absent: it is not refused. */
  retryAtMs?: number;
  /** Receipts that it has accepted and another channel has not. */
  accepted: Set<string>;
}

export function createDelivery(deps: DeliveryDeps): Delivery {
  const { outbox, transport, clock, log } = deps;
  const end = new AbortController();
  let refused = deps.refused;
  let busy = false;
  let again = false;
  let waiting = new AbortController();

  const lanes = deps.channels.map((channel): Lane => {
    const mark = refused[channel.name];
    const stands = mark?.topic === channel.topic;
    // The mark says nothing that this life can measure, so a first try falls anywhere within a day of running.
    const retryAtMs = clock.monotonicMs() + clock.random() * REFUSED_RETRY_MS;
    return { channel, refusals: 0, accepted: new Set(), ...(stands && { retryAtMs }) };
  });

  const mark = async (name: ChannelName, refusal: Refusals[ChannelName]): Promise<void> => {
    const { [name]: _, ...others } = refused;
    refused = refusal ? { ...others, [name]: refusal } : others;
    await deps.saveRefused(refused);
  };

  const wasAccepted = async (lane: Lane, id: string): Promise<void> => {
    lane.accepted.add(id);
    lane.refusals = 0;
    if (lane.retryAtMs === undefined) return;
    delete lane.retryAtMs;
    log.info({ channel: lane.channel.name }, 'the channel takes receipts again');
    await mark(lane.channel.name, undefined);
  };

  const wasRefused = async (lane: Lane, reason: string): Promise<void> => {
    const { name, topic } = lane.channel;
    const known = lane.retryAtMs !== undefined;
    lane.refusals += 1;
    if (!known && lane.refusals < REFUSALS_MAX) return;
    lane.retryAtMs = clock.monotonicMs() + REFUSED_RETRY_MS;
    log.warn({ channel: name, topic, reason }, 'the channel refuses receipts; tried again in a day');
    if (!known) await mark(name, { topic, since: clock.wallMs(), reason });
  };

  const isDue = ({ retryAtMs }: Lane): boolean => retryAtMs === undefined || clock.monotonicMs() >= retryAtMs;

  /** One pass over what waits. A channel that fails is left alone for the rest of it, the other goes on. */
  const pass = (): Promise<void> => {
    const open = new Set(lanes.filter(isDue));
    return outbox.drain(async (id, receipt) => {
      // The same id may come again with another content.
      const key = `${id} ${receipt.endedAt}`;
      for (const lane of lanes) {
        if (!transport.up || lane.accepted.has(key) || !open.has(lane)) continue;
        if (!(await sendOn(lane, key, receipt))) open.delete(lane);
      }
      const done = lanes.every(({ accepted }) => accepted.has(key));
      if (!done) return false;
      for (const { accepted } of lanes) accepted.delete(key);
      log.info({ jobId: receipt.jobId, outcome: receipt.outcome }, 'receipt delivered');
      deps.onDelivered?.();
      return true;
    }, end.signal);
  };

  const sendOn = async (lane: Lane, key: string, receipt: Receipt): Promise<boolean> => {
    const sent = await lane.channel.send(receipt);
    if (sent.kind === 'accepted') {
      await wasAccepted(lane, key);
      return true;
    }
    log.warn({ jobId: receipt.jobId, channel: lane.channel.name, ...sent }, 'a receipt was not accepted');
    if (sent.kind === 'refused') await wasRefused(lane, sent.reason);
    return false;
  };

  const run = async (): Promise<void> => {
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    try {
      do {
        again = false;
        await pass();
      } while (again && !end.signal.aborted);
      if ((await outbox.pending()).length > 0) lookLater();
    } finally {
      busy = false;
    }
  };

  const look = (): void => {
    if (end.signal.aborted) return;
    run().catch((error: unknown) => {
      log.warn({ error: String(error) }, 'cannot deliver receipts');
      lookLater();
    });
  };

  /** Soon, where a channel may take what waits; else when the first refused one is due. */
  const lookLater = (): void => {
    const soon = RETRY_MS * (1 + clock.random());
    const delays = lanes.map(({ retryAtMs }) =>
      retryAtMs === undefined ? soon : Math.max(soon, retryAtMs - clock.monotonicMs()),
    );
    waiting.abort();
    waiting = new AbortController();
    const stop = AbortSignal.any([waiting.signal, end.signal]);
    clock.sleep(Math.min(...delays), stop).then(look, () => undefined);
  };

  return { look, close: () => end.abort(new Error('closed')) };
}
