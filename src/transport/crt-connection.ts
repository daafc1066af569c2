import { lookup } from 'node:dns/promises';
import { after } from './clock.ts';
import {
  type Connection,
  type ConnectionEvents,
  type ConnectionSettings,
  DISCONNECT_GRACE_MS,
  hangUpWords,
  type Phase,
  timeoutWords,
  VERSION_REFUSALS,
} from './connection.ts';
import type { CrtApi } from './crt-api.ts';
import { type CrtCause, type CrtClient, type CrtClientEvents, crtWords } from './crt-client.ts';
import { openCrtClient4 } from './crt-client4.ts';
import { openCrtClient5 } from './crt-client5.ts';
import { ADDRESS_ATTEMPT_TIMEOUT_MS } from './endpoint.ts';
import { filterBatches, refusedWords } from './filters.ts';
import type { VersionRefusal } from './protocol-version.ts';
import { type Acknowledged, IN_FLIGHT_MAX } from './publish-queue.ts';
import { errorWords, FAILURE_CODE_MIN, reasonWords } from './reasons.ts';
import { tryTunnel } from './tunnel.ts';

/** A message that the broker would not take by its own CONNACK. */
const UNSENDABLE = /PACKET_VALIDATION|MAXIMUM_PACKET_SIZE/;

/** A connection of the CRT. */
export class CrtConnection implements Connection {
  readonly #settings: ConnectionSettings;
  readonly #crt: CrtApi;
  readonly #tlsContext: unknown;
  readonly #events: ConnectionEvents;
  readonly #cancelTimeout: () => void;
  readonly #ended = new AbortController();
  #cancelDoubt: (() => void) | undefined;
  #client: CrtClient | undefined;
  #phase: Phase = 'connecting';
  #reason: string | undefined;
  #refusal: VersionRefusal | undefined;

  constructor(settings: ConnectionSettings, events: ConnectionEvents, crt: CrtApi, tlsContext: unknown) {
    this.#settings = settings;
    this.#events = events;
    this.#crt = crt;
    this.#tlsContext = tlsContext;
    const { clock, options } = settings;
    this.#cancelTimeout = after(clock, options.connectTimeoutMs, () => {
      const words = timeoutWords(options, this.#phase);
      // It holds back a failure of TLS for 10 to 30 s, against those who would measure it.
      const mayBeTls = settings.endpoint.secure && this.#phase === 'connecting';
      this.end(mayBeTls ? `${words}, or TLS failed: a certificate, a key or its authority` : words);
    });
    void this.#start();
  }

  send(topic: string, payload: Buffer, acknowledged: Acknowledged): void {
    this.#client?.publish(topic, payload).then(
      (code) =>
        acknowledged(
          code >= FAILURE_CODE_MIN
            ? { failure: 'refused', cause: `the broker refuses: ${reasonWords(code)}` }
            : undefined,
        ),
      (error: unknown) => {
        const cause = crtWords(error);
        if (UNSENDABLE.test(cause)) acknowledged({ failure: 'refused', cause });
        else this.#doubt(`connection lost: ${cause}`);
      },
    );
  }

  roundTrip(answered: () => void): void {
    this.#client
      ?.roundTrip()
      .then(answered, (error: unknown) => this.#doubt(`connection lost: ${crtWords(error)}`));
  }

  end(reason: string, forGood = false): void {
    if (this.#phase === 'ending') {
      if (forGood) this.#client?.end(true);
      return;
    }
    this.#phase = 'ending';
    this.#reason ??= reason;
    this.#ended.abort();
    if (this.#client === undefined) this.#over();
    else this.#client.end(forGood);
  }

  async #start(): Promise<void> {
    const { endpoint, options, clock, version } = this.#settings;
    try {
      await this.#tryWay();
      if (this.#phase === 'ending') return;
      const open = version === 5 ? openCrtClient5 : openCrtClient4;
      this.#client = open(
        { crt: this.#crt, endpoint, options, tlsContext: this.#tlsContext, clock },
        this.#clientEvents(),
      );
    } catch (error) {
      this.end(`cannot connect to ${options.url}: ${errorWords(error)}`);
    }
  }

  /**
   * The CRT keeps addresses for half a minute, so with it alone a new connection would not show that names are still
   * resolved here. Of a proxy it tells nothing but that there is no tunnel, and its client of MQTT 3.1.1 would wait for
   * ever for one that says nothing at all.
   */
  async #tryWay(): Promise<void> {
    const { endpoint, options } = this.#settings;
    const { host, port } = endpoint;
    if (options.proxy === undefined) await lookup(host);
    else await tryTunnel(options.proxy, host, port, ADDRESS_ATTEMPT_TIMEOUT_MS, this.#ended.signal);
  }

  #clientEvents(): CrtClientEvents {
    return {
      connack: (facts) => void this.#subscribe(facts),
      message: (message) => {
        if (this.#phase !== 'ending') this.#events.message(message);
      },
      failed: (cause) => {
        this.#refusal = this.#phase === 'connecting' ? refusalOf(cause) : undefined;
        this.#reason ??= this.#words(cause);
        this.#phase = 'ending';
      },
      closed: () => this.#over(),
    };
  }

  async #subscribe({ sessionPresent, inFlightMax }: { sessionPresent: boolean; inFlightMax: number }) {
    if (this.#phase !== 'connecting') return;
    const { options } = this.#settings;
    this.#phase = 'subscribing';
    this.#events.accepted();
    const refused = await Promise.all(
      filterBatches(options.filters).map((batch) => this.#subscribeBatch(batch)),
    ).catch((error: unknown) =>
      this.#doubt(`cannot subscribe to ${options.filters.join(', ')}: ${crtWords(error)}`),
    );
    if (refused === undefined) return;
    if (this.#phase !== 'subscribing') return;
    const [reason] = refused.filter((words) => words !== undefined);
    if (reason !== undefined) {
      this.end(reason);
      return;
    }
    this.#cancelTimeout();
    this.#phase = 'up';
    this.#events.up({ sessionPresent, inFlightMax: Math.min(inFlightMax, IN_FLIGHT_MAX) });
  }

  /** Words when a filter is refused. */
  async #subscribeBatch(batch: readonly string[]): Promise<string | undefined> {
    return refusedWords(batch, (await this.#client?.subscribe(batch)) ?? []);
  }

  /**
   * Something that was asked of the broker failed. The CRT says so before it says that the connection is lost, and
   * why; whatever the failure was, there is no connection behind it that may be trusted.
   */
  #doubt(reason: string): void {
    if (this.#phase !== 'ending')
      this.#cancelDoubt ??= after(this.#settings.clock, DISCONNECT_GRACE_MS, () => this.end(reason));
  }

  #words(cause: CrtCause): string {
    const { options } = this.#settings;
    const connecting = this.#phase === 'connecting';
    const failed = connecting ? `cannot connect to ${options.url}` : 'connection lost';
    switch (cause.kind) {
      case 'refused':
        return connecting
          ? `${failed}: the broker refuses: ${reasonWords(cause.code)}`
          : `the broker ended the connection: ${reasonWords(cause.code)}`;
      case 'otherVersion':
        return `${failed}: the broker refuses: it speaks another version of MQTT`;
      case 'unknownRefusal':
        return `${failed}: the broker refuses, with a code that this client does not tell`;
      case 'hungUp':
        return hangUpWords(options, this.#phase);
      case 'error':
        return `${failed}: ${cause.words}`;
    }
  }

  #over(): void {
    this.#cancelTimeout();
    this.#cancelDoubt?.();
    this.#phase = 'ending';
    this.#events.over({ reason: this.#reason ?? 'the connection ended', refusal: this.#refusal });
  }
}

function refusalOf(cause: CrtCause): VersionRefusal | undefined {
  if (cause.kind === 'otherVersion') return 'said';
  if (cause.kind === 'refused' && VERSION_REFUSALS.has(cause.code)) return 'said';
  return cause.kind === 'hungUp' || cause.kind === 'unknownRefusal' ? 'hungUp' : undefined;
}
