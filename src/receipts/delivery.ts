import type { Clock } from '../host/clock.ts';
import type { JobsClient } from '../jobs/client.ts';
import type { Transport } from '../transport/port.ts';
import type { Outbox } from './outbox.ts';
import { type Receipt, reportedOf } from './receipt.ts';

/** Takes receipts from the outbox to the cloud, one at a time, until each was accepted. */
export interface Delivery {
  /** There may be something to deliver; returns at once. */
  look(): void;
  close(): void;
}

export interface DeliveryDeps {
  outbox: Outbox;
  jobs: Pick<JobsClient, 'updateShadow'>;
  transport: Pick<Transport, 'up' | 'publish'>;
  clock: Pick<Clock, 'sleep' | 'random'>;
  log: { info(fields: object, message: string): void; warn(fields: object, message: string): void };
  shadow: boolean;
  /** Also published there, where configured. */
  topic: string | undefined;
  requestTimeoutMs: number;
}

const RETRY_MS = 30_000;

export function createDelivery(deps: DeliveryDeps): Delivery {
  const { outbox, jobs, transport, clock, log } = deps;
  const end = new AbortController();
  let busy = false;
  let again = false;

  const deliver = async (receipt: Receipt): Promise<boolean> => {
    if (!transport.up) return false;
    if (deps.shadow) {
      const reply = await jobs.updateShadow(reportedOf(receipt));
      if (reply.kind !== 'accepted') {
        log.warn({ jobId: receipt.jobId, reply }, 'a receipt was not accepted');
        return false;
      }
    }
    if (deps.topic !== undefined) {
      const payload = Buffer.from(JSON.stringify(receipt));
      const sent = await transport.publish(deps.topic, payload, deps.requestTimeoutMs).then(
        () => true,
        () => false,
      );
      if (!sent) return false;
    }
    log.info({ jobId: receipt.jobId, outcome: receipt.outcome }, 'receipt delivered');
    return true;
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
        await outbox.drain(deliver, end.signal);
      } while (again && !end.signal.aborted);
      if (transport.up && (await outbox.pending()).length > 0) retryLater();
    } finally {
      busy = false;
    }
  };

  const look = (): void => {
    if (end.signal.aborted) return;
    run().catch((error: unknown) => log.warn({ error: String(error) }, 'cannot deliver receipts'));
  };

  const retryLater = (): void => {
    clock.sleep(RETRY_MS * (1 + clock.random()), end.signal).then(look, () => undefined);
  };

  return { look, close: () => end.abort(new Error('closed')) };
}
