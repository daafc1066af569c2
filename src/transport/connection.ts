import type { Socket } from 'node:net';
import { type IConnackPacket, MqttClient, type Packet } from 'mqtt';
import { after, type TransportClock } from './clock.ts';
import { type Endpoint, openSocket } from './endpoint.ts';
import { clientOptions } from './mqttjs-options.ts';
import { createPings, type Pings } from './pings.ts';
import type { TransportMessage, TransportOptions } from './port.ts';
import type { MqttVersion, VersionRefusal } from './protocol-version.ts';
import { type Acknowledged, IN_FLIGHT_MAX } from './publish-queue.ts';
import { errorWords, reasonWords } from './reasons.ts';
import { subscribeAll } from './subscribe.ts';

/** How long a DISCONNECT may take to leave before the socket is destroyed over it. */
const DISCONNECT_GRACE_MS = 500;
/** Bytes that may arrive without forming a packet; a broker that announces more is cut off. */
const UNPARSED_BYTES_MAX = 1024 * 1024;
/** CONNACK codes for "not this protocol version": of 3.1.1, and of 5. */
const VERSION_REFUSALS = new Set([0x01, 0x84]);
/** What a socket says when the peer closed it without a word. */
const HANG_UP_CODES = new Set(['ECONNRESET', 'EPIPE']);

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

type Phase = 'connecting' | 'subscribing' | 'up' | 'ending';

/** One connection, from DNS to the closed socket. It never comes back: the next one is a new object. */
export class Connection {
  readonly #options: TransportOptions;
  readonly #clock: TransportClock;
  readonly #events: ConnectionEvents;
  readonly #socket: Socket;
  /** A client for each connection: whatever mqtt.js remembers of it ends with it. */
  readonly #client: MqttClient;
  readonly #pings: Pings;
  readonly #cancelTimeout: () => void;
  #phase: Phase = 'connecting';
  #reason: string | undefined;
  #refusal: VersionRefusal | undefined;
  #established = false;

  /** Starts at once. Throws only when the options cannot be used at all, such as a key that is no PEM. */
  constructor(settings: ConnectionSettings, events: ConnectionEvents) {
    const { options, endpoint, version, clock } = settings;
    this.#options = options;
    this.#clock = clock;
    this.#events = events;
    this.#socket = openSocket(endpoint, options.tls);
    this.#socket.once(endpoint.secure ? 'secureConnect' : 'connect', () => {
      this.#established = true;
    });
    this.#client = new MqttClient(() => this.#socket, clientOptions(options, version, clock));
    this.#pings = createPings(this.#client);
    this.#listen();
    this.#cancelTimeout = after(clock, options.connectTimeoutMs, () => this.#timeOut());
    this.#client.connect();
  }

  /** Puts one message on the wire at QoS 1, without RETAIN (T10). */
  send(topic: string, payload: Buffer, acknowledged: Acknowledged): void {
    this.#client.publish(topic, payload, { qos: 1, retain: false }, (error) =>
      acknowledged(error ? publishFailure(error) : undefined),
    );
  }

  /** Sends PINGREQ and calls back when that very one is answered. */
  ping(answered: () => void): void {
    this.#pings.send(answered);
  }

  /** Sends DISCONNECT if there is anybody to send it to, and closes. No `up` and no `message` follows. */
  end(reason: string): void {
    if (this.#phase === 'ending') return;
    this.#phase = 'ending';
    this.#reason ??= reason;
    if (!this.#client.connected) {
      this.#socket.destroy();
      return;
    }
    // mqtt.js would wait for their acknowledgements before it says goodbye.
    for (const id of Object.keys(this.#client.outgoing)) this.#client.removeOutgoingMessage(Number(id));
    const cancelGrace = after(this.#clock, DISCONNECT_GRACE_MS, () => this.#socket.destroy());
    this.#client.once('close', cancelGrace);
    this.#socket.once('finish', () => this.#socket.destroy());
    this.#client.end();
  }

  #listen(): void {
    this.#client.on('error', (error) => this.#failed(error));
    this.#socket.on('error', (error) => this.#failed(error));
    this.#client.on('packetreceive', (packet) => this.#received(packet));
    this.#client.on('connect', (connack) => this.#subscribe(connack));
    this.#client.on('disconnect', (packet) =>
      this.#fail(`the broker ended the connection: ${reasonWords(packet.reasonCode ?? 0)}`),
    );
    this.#client.on('message', (topic, payload) => {
      if (this.#phase !== 'ending') this.#events.message({ topic, payload });
    });
    // mqtt.js registered its own listener before this one, so its timers are cleared by now.
    this.#client.once('close', () => this.#closed());
    this.#limitUnparsed();
  }

  #received(packet: Packet): void {
    if (packet.cmd !== 'connack') return;
    const code = packet.reasonCode ?? packet.returnCode ?? 0;
    if (code === 0) return;
    if (VERSION_REFUSALS.has(code)) this.#refusal = 'said';
    this.#fail(`cannot connect to ${this.#options.url}: the broker refuses: ${reasonWords(code)}`);
  }

  #subscribe(connack: IConnackPacket): void {
    if (this.#phase !== 'connecting') return;
    this.#phase = 'subscribing';
    this.#events.accepted();
    subscribeAll(this.#client, this.#options.filters, (refused) => {
      if (this.#phase !== 'subscribing') return;
      if (refused !== undefined) {
        this.end(refused);
        return;
      }
      this.#cancelTimeout();
      this.#phase = 'up';
      this.#events.up({
        sessionPresent: connack.sessionPresent,
        inFlightMax: connack.properties?.receiveMaximum ?? IN_FLIGHT_MAX,
      });
    });
  }

  #limitUnparsed(): void {
    let unparsedBytes = 0;
    this.#socket.on('data', (chunk: Buffer) => {
      unparsedBytes += chunk.length;
      if (unparsedBytes > UNPARSED_BYTES_MAX)
        this.#fail('connection lost: the broker sent too long a packet');
    });
    this.#client.on('packetreceive', () => {
      unparsedBytes = 0;
    });
  }

  #timeOut(): void {
    const missing = this.#phase === 'subscribing' ? 'SUBACK' : 'CONNACK';
    this.#fail(
      `cannot connect to ${this.#options.url}: no ${missing} within ${this.#options.connectTimeoutMs} ms`,
    );
  }

  #failed(error: Error & { code?: unknown }): void {
    if (this.#established && HANG_UP_CODES.has(String(error.code))) this.#socket.destroy();
    else if (this.#phase === 'connecting') {
      this.#fail(`cannot connect to ${this.#options.url}: ${errorWords(error)}`);
    } else this.#fail(`connection lost: ${errorWords(error)}`);
  }

  #fail(reason: string): void {
    this.#reason ??= reason;
    this.#socket.destroy();
  }

  #closed(): void {
    this.#cancelTimeout();
    if (this.#reason === undefined) {
      if (this.#phase === 'connecting') this.#refusal = 'hungUp';
      this.#reason = hangUpWords(this.#options, this.#phase);
    }
    this.#phase = 'ending';
    this.#events.over({ reason: this.#reason, refusal: this.#refusal });
  }
}

/** A22: a policy that does not allow a filter shows as a hang-up, so the words name what was asked last. */
function hangUpWords(options: TransportOptions, phase: Phase): string {
  if (phase === 'connecting') return `cannot connect to ${options.url}: the broker hung up before CONNACK`;
  if (phase === 'subscribing') return `cannot subscribe to ${options.filters.join(', ')}: the broker hung up`;
  return 'connection lost: the broker hung up';
}

function publishFailure(error: Error & { code?: unknown }): NonNullable<Parameters<Acknowledged>[0]> {
  if (typeof error.code === 'number') {
    return { failure: 'refused', cause: `the broker refuses: ${reasonWords(error.code)}` };
  }
  return { failure: 'linkDown', cause: errorWords(error) };
}
