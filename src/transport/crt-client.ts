import { after, type TransportClock } from './clock.ts';
import { DISCONNECT_GRACE_MS } from './connection.ts';
import type { CrtApi, CrtError } from './crt-api.ts';
import type { Endpoint } from './endpoint.ts';
import type { TransportMessage, TransportOptions } from './port.ts';
import { parseProxy } from './tunnel.ts';

/** One of the CRT's two clients (MQTT 5, MQTT 3.1.1), for one connection, under one face. */
export interface CrtClient {
  /** Resolves to the reason code of PUBACK: 0 where MQTT 3.1.1 has none. */
  publish(topic: string, payload: Buffer): Promise<number>;
  /** Resolves to one reason code for each filter. */
  subscribe(filters: readonly string[]): Promise<number[]>;
  /**
   * The CRT sends PINGREQ for its keep-alive alone and reports none, so the question is an UNSUBSCRIBE from a filter
   * that nobody has: every broker must answer it, it changes nothing, needs no permission, and AWS does not meter it,
   * as it does SUBSCRIBE and PUBLISH.
   */
  roundTrip(): Promise<void>;
  /** DISCONNECT, and the end of the connection; `closed` follows, soon at least where it is `forGood`. */
  end(forGood: boolean): void;
}

export interface CrtClientEvents {
  connack(facts: { sessionPresent: boolean; inFlightMax: number }): void;
  /** PUBACK goes out when it has returned (MQTT 5). */
  message(message: TransportMessage): void;
  /** Why the connection failed or was lost; `closed` follows. Not called for one that we ended. */
  failed(cause: CrtCause): void;
  closed(): void;
}

export type CrtCause =
  /** The code in CONNACK, or in DISCONNECT once there was a CONNACK. */
  | { kind: 'refused'; code: number }
  | { kind: 'otherVersion' }
  /** Refused in a CONNACK whose code the CRT does not tell (MQTT 3.1.1). */
  | { kind: 'unknownRefusal' }
  | { kind: 'hungUp' }
  | { kind: 'error'; words: string };

export interface CrtClientSettings {
  crt: CrtApi;
  endpoint: Endpoint;
  options: Pick<
    TransportOptions,
    'clientId' | 'keepAliveSeconds' | 'connectTimeoutMs' | 'username' | 'password' | 'proxy'
  >;
  tlsContext: unknown;
  clock: TransportClock;
}

export const ROUND_TRIP_FILTER = 'evenkeel/round-trip';
const PING_TIMEOUT_MAX_MS = 10_000;

/** What both clients are told alike, whatever each calls it. */
export interface CrtLink {
  keepAliveSeconds: number;
  /** How long PINGRESP may take: less than the keep-alive, or the CRT refuses the settings. */
  pingTimeoutMs: number;
  socketOptions: unknown;
  proxyOptions: unknown;
}

export function linkOf({ crt, options }: Pick<CrtClientSettings, 'crt' | 'options'>): CrtLink {
  const keepAliveSeconds = Math.round(options.keepAliveSeconds);
  // IPv4, since an address of the other kind is seen by the CRT itself.
  const [stream, ipv4] = [0, 0];
  return {
    keepAliveSeconds,
    pingTimeoutMs: Math.min(PING_TIMEOUT_MAX_MS, Math.round(options.keepAliveSeconds * 500)),
    socketOptions: new crt.io.SocketOptions(stream, ipv4, options.connectTimeoutMs),
    proxyOptions: options.proxy === undefined ? undefined : proxyOptions(crt, options.proxy),
  };
}

function proxyOptions(crt: CrtApi, url: string): unknown {
  const { host, port, user } = parseProxy(url);
  const [none, basic, tunneling] = [0, 1, 2];
  const authentication = user === undefined ? none : basic;
  return new crt.http.HttpProxyOptions(
    host,
    port,
    authentication,
    user?.name,
    user?.password,
    undefined,
    tunneling,
  );
}

/** The end of a client, which is told once: when it is there, or a little after it was asked for. */
export interface Closing {
  readonly isClosed: boolean;
  now(): void;
  soon(graceMs?: number): void;
}

export function createClosing(clock: TransportClock, closed: () => void): Closing {
  let isClosed = false;
  let cancelGrace = (): void => undefined;
  const now = (): void => {
    if (isClosed) return;
    isClosed = true;
    cancelGrace();
    closed();
  };
  return {
    get isClosed() {
      return isClosed;
    },
    now,
    soon(graceMs = DISCONNECT_GRACE_MS) {
      cancelGrace();
      cancelGrace = after(clock, graceMs, now);
    },
  };
}

const HANG_UPS = new Set(['AWS_IO_SOCKET_CLOSED', 'AWS_ERROR_MQTT_UNEXPECTED_HANGUP']);

export function causeOf(error: CrtError): CrtCause {
  // The package names an error in its text alone where it makes it from one.
  const name = error.error_name ?? /AWS_[A-Z0-9_]+/.exec(error.message)?.[0] ?? '';
  if (HANG_UPS.has(name)) return { kind: 'hungUp' };
  return { kind: 'error', words: crtWords(error) };
}

/** "socket connection refused (AWS_IO_SOCKET_CONNECTION_REFUSED)" for "aws-c-io: AWS_…_REFUSED, socket connection refused." */
export function crtWords(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const [, name, words] = /(AWS_[A-Z0-9_]+), (.*?)\.?$/.exec(text) ?? [];
  return name === undefined ? text : `${words} (${name})`;
}

/**
 * A payload. An empty one is nothing with MQTT 5, and with 3.1.1 a buffer that cannot be looked into: what a listener
 * throws there ends the process (the CRT aborts).
 */
export function crtBytes(payload: ArrayBuffer | undefined): Uint8Array {
  return payload === undefined || payload.byteLength === 0 ? new Uint8Array() : new Uint8Array(payload);
}
