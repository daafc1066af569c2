import { type Backoff, createBackoff } from './backoff.ts';
import type { TransportClock } from './clock.ts';
import type { Connection, ConnectionEnd, ConnectionUp, OpenConnection } from './connection.ts';
import { type Endpoint, parseEndpoint } from './endpoint.ts';
import { createListeners, type Listeners, type TransportLog } from './listeners.ts';
import { createPending, type Pending } from './pending.ts';
import {
  type Transport,
  TransportError,
  type TransportFailure,
  type TransportListener,
  type TransportOptions,
} from './port.ts';
import { createVersionChoice, type VersionChoice } from './protocol-version.ts';
import { createPublishQueue, type PublishQueue } from './publish-queue.ts';
import { errorWords } from './reasons.ts';

export interface TransportDeps {
  clock: TransportClock;
  log?: TransportLog;
}

/** L18 */
const PAYLOAD_BYTES_MAX = 128 * 1024;
/** What MQTT can carry; AWS takes 256 (L19). */
const TOPIC_BYTES_MAX = 65_535;

/** The transport over whatever opens connections. Throws when the URL is none; everything else shows in `lastFailure`. */
export function createTransport(
  options: TransportOptions,
  deps: TransportDeps,
  open: OpenConnection,
): Transport {
  return new LastingTransport(options, deps.clock, deps.log ?? (() => undefined), open);
}

/** The connection that is up, and what waits on it. All of it ends with the connection. */
interface Link {
  connection: Connection;
  upAtMs: number;
  publishes: PublishQueue;
  roundTrips: Pending;
}

class LastingTransport implements Transport {
  readonly #options: TransportOptions;
  readonly #clock: TransportClock;
  readonly #log: TransportLog;
  readonly #open: OpenConnection;
  readonly #endpoint: Endpoint;
  readonly #listeners: Listeners;
  #backoff: Backoff | undefined;
  readonly #versions: VersionChoice;
  readonly #renewals: Pending;
  #connection: Connection | undefined;
  #link: Link | undefined;
  #lastFailure: string | undefined;
  #loop: Promise<void> | undefined;
  #closing = false;
  /** The next attempt starts without a wait. */
  #hurry = false;
  #endPause: () => void = () => undefined;

  constructor(options: TransportOptions, clock: TransportClock, log: TransportLog, open: OpenConnection) {
    this.#options = options;
    this.#clock = clock;
    this.#log = log;
    this.#open = open;
    this.#versions = createVersionChoice(options.mqttVersion);
    this.#endpoint = parseEndpoint(options.url);
    this.#listeners = createListeners(log);
    this.#renewals = createPending(clock);
  }

  get up(): boolean {
    return this.#link !== undefined;
  }

  get lastFailure(): string | undefined {
    return this.#lastFailure;
  }

  start(withinMs = 0): void {
    if (this.#closing) throw new Error('cannot start the transport: it is closed');
    const { lostMs = this.#options.backoff.firstMs, ...limits } = this.#options.backoff;
    this.#backoff ??= createBackoff({ ...limits, lostMs, startMs: withinMs }, () => this.#clock.random());
    this.#loop ??= this.#stayConnected(this.#backoff);
  }

  subscribe(listener: TransportListener): () => void {
    return this.#listeners.add(listener);
  }

  publish(topic: string, payload: Uint8Array, timeoutMs: number): Promise<void> {
    const what = `publish on ${topic}`;
    const unsendable = unsendableWords(topic, payload);
    if (unsendable !== undefined) return Promise.reject(failure('refused', what, unsendable));
    if (this.#link === undefined) return Promise.reject(this.#notUp(what));
    // A copy: the message may wait, and the caller's bytes are the caller's.
    return this.#link.publishes.publish(topic, Buffer.from(payload), timeoutMs);
  }

  roundTrip(timeoutMs: number): Promise<void> {
    const what = 'reach the broker';
    if (this.#link === undefined) return Promise.reject(this.#notUp(what));
    const call = this.#link.roundTrips.add(what, timeoutMs);
    this.#link.connection.roundTrip(() => call.resolve());
    return call.promise;
  }

  renew(timeoutMs: number): Promise<void> {
    const what = 'renew the connection';
    if (this.#closing || this.#loop === undefined) return Promise.reject(this.#notUp(what));
    const { promise } = this.#renewals.add(what, timeoutMs);
    this.#hurry = true;
    this.#goDown('linkDown', 'the connection is being renewed');
    this.#connection?.end('renewed');
    this.#endPause();
    return promise;
  }

  async close(): Promise<void> {
    if (!this.#closing) {
      this.#closing = true;
      this.#goDown('closed', 'the transport is closed');
      this.#renewals.failAll('closed', 'the transport is closed');
      this.#connection?.end('closed', true);
      this.#endPause();
    }
    await this.#loop;
    this.#listeners.clear();
  }

  async #stayConnected(backoff: Backoff): Promise<void> {
    let waitMs = backoff.nextMs();
    if (waitMs > 0) this.#log('transport.waits', { waitMs });
    while (!this.#closing) {
      if (waitMs > 0) await this.#pause(waitMs);
      if (this.#closing) return;
      this.#hurry = false;
      const end = await this.#connectOnce();
      this.#connection = undefined;
      waitMs = this.#nextWaitMs(end, backoff);
    }
  }

  /** One connection, from its start to its end. */
  #connectOnce(): Promise<ConnectionEnd> {
    return new Promise((resolve) => {
      try {
        const { currentTls } = this.#options;
        const settings = {
          options: currentTls ? { ...this.#options, tls: currentTls() } : this.#options,
          endpoint: this.#endpoint,
          version: this.#versions.current,
          clock: this.#clock,
        };
        const connection = this.#open(settings, {
          accepted: () => this.#versions.accepted(),
          up: (facts) => this.#goUp(connection, facts),
          message: (message) => this.#listeners.message(message),
          over: (end) => {
            this.#goDown('linkDown', end.reason);
            resolve(end);
          },
        });
        this.#connection = connection;
      } catch (error) {
        const reason = `cannot connect to ${this.#options.url}: ${errorWords(error)}`;
        resolve({ reason, refusal: undefined });
      }
    });
  }

  /** Judges how a connection ended: what to remember, and how long to wait before the next. */
  #nextWaitMs(end: ConnectionEnd, backoff: Backoff): number {
    // Ended by `renew` or `close`: no failure, and nobody waits.
    if (this.#hurry || this.#closing) return 0;
    this.#lastFailure = end.reason;
    const version = this.#versions.current;
    const tryAtOnce = this.#versions.failed(end.refusal);
    const waitMs = tryAtOnce ? 0 : backoff.nextMs();
    this.#log('transport.failed', { reason: end.reason, mqttVersion: version, waitMs });
    return waitMs;
  }

  async #pause(waitMs: number): Promise<void> {
    const ended = new AbortController();
    this.#endPause = () => ended.abort();
    await this.#clock.sleep(waitMs, ended.signal).catch(() => undefined);
    this.#endPause = () => undefined;
  }

  #goUp(connection: Connection, facts: ConnectionUp): void {
    const { publishQueueMax: queueMax, publishRate: rate } = this.#options;
    const limits = { queueMax, inFlightMax: facts.inFlightMax, ...(rate === undefined ? {} : { rate }) };
    this.#link = {
      connection,
      upAtMs: this.#clock.monotonicMs(),
      publishes: createPublishQueue((...message) => connection.send(...message), limits, this.#clock),
      roundTrips: createPending(this.#clock),
    };
    this.#log('transport.up', { mqttVersion: this.#versions.current });
    this.#renewals.resolveAll();
    this.#listeners.up(facts.sessionPresent);
  }

  #goDown(why: TransportFailure, reason: string): void {
    const link = this.#link;
    if (link === undefined) return;
    this.#link = undefined;
    // Only a connection that lasted shows that the broker is well; one that comes and goes keeps the wait growing.
    if (this.#clock.monotonicMs() - link.upAtMs >= this.#options.backoff.healthyAfterMs) {
      if (this.#hurry) this.#backoff?.renewed();
      else this.#backoff?.lost();
    }
    link.publishes.end(why, reason);
    link.roundTrips.failAll(why, reason);
    this.#log('transport.down', { reason });
    this.#listeners.down(reason);
  }

  #notUp(what: string): TransportError {
    if (this.#closing) return failure('closed', what, 'the transport is closed');
    return failure('linkDown', what, this.#lastFailure ?? 'the link is not up yet');
  }
}

function failure(why: TransportFailure, what: string, cause: string): TransportError {
  return new TransportError(why, `cannot ${what}: ${cause}`);
}

/** Why a message cannot be sent at all: a broker would end the connection over it. */
function unsendableWords(topic: string, payload: Uint8Array): string | undefined {
  if (payload.length > PAYLOAD_BYTES_MAX) {
    return `the payload has ${payload.length} bytes, the limit is ${PAYLOAD_BYTES_MAX}`;
  }
  if (topic === '' || Buffer.byteLength(topic) > TOPIC_BYTES_MAX || /[+#\0]/.test(topic)) {
    return 'this is no topic name';
  }
  return undefined;
}
