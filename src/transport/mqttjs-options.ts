import { type IClientOptions, type Packet, Store } from 'mqtt';
import { every, type TransportClock } from './clock.ts';
import { INBOUND_PACKET_BYTES_MAX } from './connection.ts';
import type { TransportOptions } from './port.ts';
import type { MqttVersion } from './protocol-version.ts';

/** mqtt.js keeps a timer of its own for CONNACK. Ours covers DNS to SUBACK, so its own must never be first. */
const NO_CONNACK_TIMEOUT_MS = 2_147_483_647;

/**
 * The options under which mqtt.js is one connection and nothing more: it does not reconnect, does not resubscribe,
 * and keeps no message.
 */
export function clientOptions(
  options: TransportOptions,
  version: MqttVersion,
  clock: TransportClock,
): IClientOptions {
  return {
    manualConnect: true,
    reconnectPeriod: 0,
    resubscribe: false,
    queueQoSZero: false,
    outgoingStore: new ForgetfulStore(),
    clean: true,
    clientId: options.clientId,
    protocolVersion: version,
    keepalive: options.keepAliveSeconds,
    connectTimeout: NO_CONNACK_TIMEOUT_MS,
    timerVariant: clockTimer(clock),
    // The cache is 65,536 small buffers: several megabytes for an agent that sends a few messages an hour.
    writeCache: false,
    ...(version === 5 ? { properties: { maximumPacketSize: INBOUND_PACKET_BYTES_MAX } } : {}),
    ...(options.username === undefined ? {} : { username: options.username }),
    ...(options.password === undefined ? {} : { password: options.password }),
  };
}

/** Where mqtt.js would keep unacknowledged messages, to send them again. This one remembers nothing. */
class ForgetfulStore extends Store {
  override put(_packet: Packet, done: () => void): this {
    done();
    return this;
  }

  override del(packet: Pick<Packet, 'messageId'>, done: (error?: Error, packet?: Packet) => void): this {
    done(undefined, packet as Packet);
    return this;
  }
}

/** The interval timer of the keep-alive, on the injected clock. */
function clockTimer(clock: TransportClock): NonNullable<Exclude<IClientOptions['timerVariant'], string>> {
  const cancels = new Map<number, () => void>();
  let lastId = 0;
  return {
    set(callback: () => void, periodMs: number) {
      lastId += 1;
      cancels.set(lastId, every(clock, periodMs, callback));
      return lastId;
    },
    clear(id: number) {
      cancels.get(id)?.();
      cancels.delete(id);
    },
  };
}
