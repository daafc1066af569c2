import type { Duplex } from 'node:stream';
import { type IConnackPacket, MqttClient, type Packet } from 'mqtt';
import { after, type TransportClock } from './clock.ts';
import {
  type Connection,
  type ConnectionEvents,
  type ConnectionSettings,
  DISCONNECT_GRACE_MS,
  FOREIGN_SESSION,
  hangUpWords,
  type Phase,
  timeoutWords,
  VERSION_REFUSALS,
} from './connection.ts';
import { openSocket } from './endpoint.ts';
import { clientOptions } from './mqttjs-options.ts';
import { createPings, type Pings } from './mqttjs-pings.ts';
import { subscribeAll } from './mqttjs-subscribe.ts';
import type { TransportOptions } from './port.ts';
import type { MqttVersion, VersionRefusal } from './protocol-version.ts';
import { type Acknowledged, IN_FLIGHT_MAX } from './publish-queue.ts';
import { errorWords, reasonWords } from './reasons.ts';

/** Bytes that may arrive without forming a packet; a broker that announces more is cut off. */
const UNPARSED_BYTES_MAX = 1024 * 1024;
/** What a socket says when the peer closed it without a word. */
const HANG_UP_CODES = new Set(['ECONNRESET', 'EPIPE']);

/** A connection of mqtt.js. */
export class MqttjsConnection implements Connection {
  readonly #options: TransportOptions;
  readonly #version: MqttVersion;
  readonly #clock: TransportClock;
  readonly #events: ConnectionEvents;
  readonly #socket: Duplex;
  /** A client for each connection: whatever mqtt.js remembers of it ends with it. */
  readonly #client: MqttClient;
  readonly #pings: Pings;
  readonly #cancelTimeout: () => void;
  #phase: Phase = 'connecting';
  #reason: string | undefined;
  #refusal: VersionRefusal | undefined;
  #established = false;

  constructor(settings: ConnectionSettings, events: ConnectionEvents) {
    const { options, endpoint, version, clock } = settings;
    this.#options = options;
    this.#version = version;
    this.#clock = clock;
    this.#events = events;
    this.#socket = openSocket(endpoint, options.tls, options.proxy);
    this.#socket.once(endpoint.secure ? 'secureConnect' : 'connect', () => {
      this.#established = true;
    });
    this.#client = new MqttClient(() => this.#socket, clientOptions(options, version, clock));
    this.#pings = createPings(this.#client);
    this.#listen();
    this.#cancelTimeout = after(clock, options.connectTimeoutMs, () => this.#timeOut());
    this.#client.connect();
  }

  send(topic: string, payload: Buffer, acknowledged: Acknowledged): void {
    this.#client.publish(topic, payload, { qos: 1, retain: false }, (error) =>
      acknowledged(error ? publishFailure(error) : undefined),
    );
  }

  roundTrip(answered: () => void): void {
    this.#pings.send(answered);
  }

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
    if (code === 0) {
      if (packet.sessionPresent && this.#version === 5)
        this.#fail(`cannot connect to ${this.#options.url}: ${FOREIGN_SESSION}`);
      return;
    }
    if (VERSION_REFUSALS.has(code)) this.#refusal = 'said';
    this.#fail(`cannot connect to ${this.#options.url}: the broker refuses: ${reasonWords(code)}`);
  }

  #subscribe(connack: IConnackPacket): void {
    if (this.#phase !== 'connecting' || this.#reason !== undefined) return;
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
    this.#fail(timeoutWords(this.#options, this.#phase));
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

function publishFailure(error: Error & { code?: unknown }): NonNullable<Parameters<Acknowledged>[0]> {
  if (typeof error.code === 'number') {
    return { failure: 'refused', cause: `the broker refuses: ${reasonWords(error.code)}` };
  }
  return { failure: 'linkDown', cause: errorWords(error) };
}
