import type { MqttVersion } from './protocol-version.ts';

/**
 * What the agent needs of MQTT. Two adapters implement it and pass one contract suite. A transport keeps itself
 * connected; it keeps no messages: what could not be sent in time is refused, never sent later (design section 4).
 */
export interface Transport {
  /**
   * Connects, and stays connected with full-jitter backoff until `close`. The first attempt is made at a moment drawn
   * from now to `withinMs` later; at once without it.
   */
  start(withinMs?: number): void;
  /** True from the moment all `filters` are acknowledged until the connection ends. */
  readonly up: boolean;
  /** The last reason for which the link was refused or lost, in words. */
  readonly lastFailure: string | undefined;
  /**
   * Publishes at QoS 1 and resolves when the broker has acknowledged. Rejects with `TransportError` when the link is
   * down, the queue is full, the broker refuses, or `timeoutMs` passes; after a rejection the message is not sent
   * again by anything below this call.
   */
  publish(topic: string, payload: Uint8Array, timeoutMs: number): Promise<void>;
  /** One round trip on the standing connection; rejects when it is not answered in time. */
  roundTrip(timeoutMs: number): Promise<void>;
  /** Drops the connection and makes a new one: DNS, TCP, TLS, CONNECT, SUBACK. Resolves when it is up again. */
  renew(timeoutMs: number): Promise<void>;
  /** Calls back on each change; returns the function that ends it. */
  subscribe(listener: TransportListener): () => void;
  /** Disconnects for good. Resolves when the socket is closed and no timer is left. */
  close(): Promise<void>;
}

export interface TransportListener {
  /** All filters are acknowledged (`sessionPresent` as in CONNACK). */
  onUp?(sessionPresent: boolean): void;
  onDown?(reason: string): void;
  /** Must return quickly: it is called inside the packet loop (A16). */
  onMessage?(message: TransportMessage): void;
}

export interface TransportMessage {
  topic: string;
  payload: Uint8Array;
}

export type TransportFailure = 'linkDown' | 'queueFull' | 'refused' | 'timeout' | 'closed';

/** A publish that did not reach the broker, or nobody can say whether it did (`timeout`, `linkDown`). */
export class TransportError extends Error {
  readonly failure: TransportFailure;
  constructor(failure: TransportFailure, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'TransportError';
    this.failure = failure;
  }
}

/** Options that every adapter takes. */
export interface TransportOptions {
  /** `mqtt://host:port` or `mqtts://host:port`. */
  url: string;
  clientId: string;
  /** Filters subscribed on every CONNACK, at most 8 to a packet (L20). */
  filters: readonly string[];
  keepAliveSeconds: number;
  connectTimeoutMs: number;
  /** Publishes waiting or unacknowledged at most; the next is refused. */
  publishQueueMax: number;
  /** AWS discards what exceeds 100 messages a second on a connection (L21). Absent: as fast as the link takes them. */
  publishRate?: { perSecond: number; burst: number };
  /** `lostMs`: from how long the wait is drawn after a link that had lasted; absent, as after any failure. */
  backoff: { firstMs: number; lostMs?: number; maxMs: number; healthyAfterMs: number };
  tls?: TransportTls;
  /** Asked before each connection, where a certificate may be replaced meanwhile; `tls` is what it says first. */
  currentTls?(): TransportTls;
  /** HTTP proxy to tunnel through, `http://[user:password@]host:port`. */
  proxy?: string;
  username?: string;
  password?: string;
  /** Absent: MQTT 5, and 3.1.1 where a broker does not want it. */
  mqttVersion?: MqttVersion;
}

export interface TransportTls {
  /** PEM texts. */
  ca?: string;
  certificate?: string;
  privateKey?: string;
  /** The private key is in a token, and never leaves it. Only aws-sdk can. */
  pkcs11?: Pkcs11Key;
  alpn?: readonly string[];
  serverName?: string;
}

/** Where a private key is; without a label or a slot there must be only one that it can be. */
export interface Pkcs11Key {
  /** The shared library of the token's maker. */
  library: string;
  /** Label of the token. */
  token?: string;
  slot?: number;
  /** Absent where the token asks for it by itself. */
  pin?: string;
  /** Label of the private key. */
  key?: string;
}
