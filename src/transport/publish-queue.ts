import { after, type TransportClock } from './clock.ts';
import { createPending, type PendingCall } from './pending.ts';
import type { TransportFailure } from './port.ts';
import { createSendRate } from './send-rate.ts';

/** L24: AWS takes 100 unacknowledged QoS 1 messages from a connection. */
export const IN_FLIGHT_MAX = 100;

/** Puts one message on the wire and calls back when the broker has acknowledged or refused it. */
export type SendMessage = (topic: string, payload: Buffer, acknowledged: Acknowledged) => void;
export type Acknowledged = (refusal?: { failure: TransportFailure; cause: string }) => void;

export interface PublishQueueLimits {
  /** Messages waiting or unacknowledged. */
  queueMax: number;
  /** Unacknowledged messages on the wire: what the broker takes, at most `IN_FLIGHT_MAX`. */
  inFlightMax: number;
  rate?: { perSecond: number; burst: number };
}

/**
 * The messages of one connection. It ends with its connection, so nothing in it can reach another one: what was not
 * acknowledged by then is refused to the caller, who alone decides whether to say it again (design section 4).
 */
export interface PublishQueue {
  publish(topic: string, payload: Buffer, timeoutMs: number): Promise<void>;
  end(failure: TransportFailure, cause: string): void;
}

interface Message {
  topic: string;
  payload: Buffer;
  call: PendingCall;
}

export function createPublishQueue(
  send: SendMessage,
  limits: PublishQueueLimits,
  clock: TransportClock,
): PublishQueue {
  const pending = createPending(clock);
  const rate = createSendRate(limits.rate, clock);
  const inFlightMax = Math.min(limits.inFlightMax, IN_FLIGHT_MAX);
  const waiting = new Set<Message>();
  let inFlight = 0;
  let cancelPace: (() => void) | undefined;

  function sendNext(): void {
    for (const message of waiting) {
      if (cancelPace !== undefined || inFlight >= inFlightMax) return;
      const waitMs = rate.take();
      if (waitMs > 0) {
        cancelPace = after(clock, waitMs, () => {
          cancelPace = undefined;
          sendNext();
        });
        return;
      }
      waiting.delete(message);
      put(message);
    }
  }

  function put({ topic, payload, call }: Message): void {
    // A message that times out on the wire keeps its place here: the broker counts it until it acknowledges it.
    inFlight += 1;
    send(topic, payload, (refusal) => {
      inFlight -= 1;
      if (refusal === undefined) call.resolve();
      else call.fail(refusal.failure, refusal.cause);
      sendNext();
    });
  }

  return {
    publish(topic, payload, timeoutMs) {
      const what = `publish on ${topic}`;
      const full = pending.size >= limits.queueMax;
      const call = pending.add(what, timeoutMs, () => waiting.delete(message));
      const message: Message = { topic, payload, call };
      if (full) {
        call.fail('queueFull', `${limits.queueMax} messages are waiting already`);
      } else {
        waiting.add(message);
        sendNext();
      }
      return call.promise;
    },
    end(failure, cause) {
      cancelPace?.();
      pending.failAll(failure, cause);
    },
  };
}
