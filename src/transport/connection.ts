import type { TransportClock } from './clock.ts';
import type { Endpoint } from './endpoint.ts';
import type { TransportMessage, TransportOptions } from './port.ts';
import type { MqttVersion, VersionRefusal } from './protocol-version.ts';
import type { Acknowledged } from './publish-queue.ts';

/**
 * What an MQTT library is to this transport: one connection, from DNS to the closed socket, which never comes back.
 * All else (attempts and waits, the version, what waits for an answer) is `transport.ts`, the same over every library.
 */
export interface Connection {
  /** Puts one message on the wire at QoS 1, without RETAIN (T10). */
  send(topic: string, payload: Buffer, acknowledged: Acknowledged): void;
  /** Asks the broker something that changes nothing, and calls back when that very question is answered. */
  roundTrip(answered: () => void): void;
  /**
   * Sends DISCONNECT if there is anybody to send it to, and closes. No `up` and no `message` follows. With `forGood`
   * no connection comes after this one, so an attempt that cannot be stopped need not be waited for.
   */
  end(reason: string, forGood?: boolean): void;
}

/** Starts at once. Throws only when the options cannot be used at all, such as a key that is no PEM. */
export type OpenConnection = (settings: ConnectionSettings, events: ConnectionEvents) => Connection;

export interface ConnectionSettings {
  options: TransportOptions;
  endpoint: Endpoint;
  version: MqttVersion;
  clock: TransportClock;
}

export interface ConnectionUp {
  sessionPresent: boolean;
  /** Unacknowledged messages that the broker takes (MQTT 5 Receive Maximum). */
  inFlightMax: number;
}

/** Why a connection is over; `refusal` when that says something about the protocol version. */
export interface ConnectionEnd {
  reason: string;
  refusal: VersionRefusal | undefined;
}

export interface ConnectionEvents {
  /** CONNACK is there; the filters are not granted yet. */
  accepted(): void;
  /** All filters are granted. */
  up(facts: ConnectionUp): void;
  message(message: TransportMessage): void;
  /** Called once, last: the socket is closed and no timer is left. */
  over(end: ConnectionEnd): void;
}

export type Phase = 'connecting' | 'subscribing' | 'up' | 'ending';

/** L18: AWS takes payloads of 128 KiB; the rest is room for topic and properties. */
export const INBOUND_PACKET_BYTES_MAX = 256 * 1024;
/** How long a DISCONNECT may take to leave before the socket is closed over it. */
export const DISCONNECT_GRACE_MS = 500;
/** CONNACK codes for "not this protocol version": of 3.1.1, and of 5. */
export const VERSION_REFUSALS: ReadonlySet<number> = new Set([0x01, 0x84]);

/** MQTT 5 wants such a connection closed (MQTT-3.2.2-4), since each of ours asks for a clean session. */
export const FOREIGN_SESSION = 'the broker claims a session that this client never had';

/** A22: a policy that does not allow a filter shows as a hang-up, so the words name what was asked last. */
export function hangUpWords(options: TransportOptions, phase: Phase): string {
  if (phase === 'connecting') return `cannot connect to ${options.url}: the broker hung up before CONNACK`;
  if (phase === 'subscribing') return `cannot subscribe to ${options.filters.join(', ')}: the broker hung up`;
  return 'connection lost: the broker hung up';
}

export function timeoutWords(options: TransportOptions, phase: Phase): string {
  const missing = phase === 'subscribing' ? 'SUBACK' : 'CONNACK';
  return `cannot connect to ${options.url}: no ${missing} within ${options.connectTimeoutMs} ms`;
}
