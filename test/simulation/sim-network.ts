import { type Transport, TransportError, type TransportListener } from '../../src/transport/port.ts';
import type { Random } from '../support/random.ts';
import type { Mortal, SimTime } from './sim-time.ts';

/** How bad the road is; chances are per message. */
export interface Mood {
  delayMs: number;
  /** The connection ends with the message on it. */
  cut: number;
  /** A message of the broker comes twice (QoS 1). */
  duplicate: number;
  /** A message of the broker waits long, and others overtake it. */
  overtaken: number;
  /** An attempt to connect fails. */
  refuse: number;
  /** The broker has forgotten the session. */
  forget: number;
}

export const CALM: Mood = { delayMs: 20, cut: 0, duplicate: 0, overtaken: 0, refuse: 0, forget: 0 };

/** Half of all roads are good. */
export function moodFrom(random: Random): Mood {
  const bad = random.chance(0.5);
  return {
    delayMs: random.pick([2, 20, 200, 2000]),
    cut: bad ? random.pick([0, 0.02, 0.1]) : 0,
    duplicate: random.pick([0, 0.1, 0.5]),
    overtaken: bad ? random.pick([0, 0.1]) : 0,
    refuse: bad ? 0.3 : 0,
    forget: random.pick([0, 0.5, 1]),
  };
}

/** Who looks on: called before each message arrives, at either end. */
export type OnArrival = () => void;

/** The far end of the road. */
export interface Broker {
  /** Something was published by the connection `from`. */
  received(topic: string, payload: Buffer, from: Connection): void;
}

/** One connection, as the broker knows it. */
export interface Connection {
  readonly open: boolean;
  deliver(topic: string, payload: Buffer): void;
  end(reason: string): void;
}

const KEEP_ALIVE_MS = 45_000;
const RECONNECT_MS = 20_000;
const OVERTAKEN_MS = 3000;
const STORED_MAX = 50;

/** One road from one thing to its broker. A connection keeps the order of messages unless the mood says otherwise. */
export class SimNetwork {
  readonly time: SimTime;
  readonly random: Random;
  readonly say: (text: string) => void;
  mood: Mood;
  broker: Broker = { received: () => undefined };
  onArrival: OnArrival = () => undefined;
  /** Until then nobody connects. */
  #outageUntilMs = 0;
  /** Of the persistent session. */
  #stored: [string, Buffer][] = [];
  #current: SimConnection | undefined;

  constructor(time: SimTime, random: Random, mood: Mood, say: (text: string) => void) {
    this.time = time;
    this.random = random;
    this.mood = mood;
    this.say = say;
  }

  get isOut(): boolean {
    return this.time.nowMs < this.#outageUntilMs;
  }

  delayMs(): number {
    return this.mood.delayMs * (0.5 + this.random.next());
  }

  cut(reason: string): void {
    this.#current?.end(reason);
  }

  outage(forMs: number): void {
    this.#outageUntilMs = Math.max(this.#outageUntilMs, this.time.nowMs + forMs);
    this.cut('the network is out');
  }

  /** From now on nothing passes, and only the keep-alive will find out. */
  blackhole(): void {
    this.#current?.fallSilent();
  }

  calm(): void {
    this.mood = CALM;
    this.#outageUntilMs = 0;
  }

  /** What the broker has for the thing: now, or with the next connection where the session is kept. */
  publish(topic: string, payload: Buffer): void {
    if (this.#current?.open) this.#current.deliver(topic, payload);
    else if (this.#stored.length < STORED_MAX) this.#stored.push([topic, payload]);
  }

  /** The broker has let somebody in: whoever was there before is put out. */
  connected(connection: SimConnection): boolean {
    const before = this.#current;
    this.#current = connection;
    before?.end('another client has taken the session over');
    const kept = !this.random.chance(this.mood.forget);
    const stored = this.#stored.splice(0);
    if (kept) for (const [topic, payload] of stored) connection.deliver(topic, payload);
    return kept;
  }

  transport(owner: Mortal): Transport & { die(): void } {
    return new SimTransport(this, owner);
  }
}

interface DeviceEnd {
  message(topic: string, payload: Buffer): void;
  lost(reason: string): void;
}

class SimConnection implements Connection {
  open = true;
  #silent = false;
  readonly #network: SimNetwork;
  readonly #to: DeviceEnd;
  #lastMs = 0;

  constructor(network: SimNetwork, to: DeviceEnd) {
    this.#network = network;
    this.#to = to;
  }

  get passes(): boolean {
    return this.open && !this.#silent;
  }

  deliver(topic: string, payload: Buffer): void {
    const { time, random, mood } = this.#network;
    for (let copies = random.chance(mood.duplicate) ? 2 : 1; copies > 0; copies -= 1) {
      const overtaken = random.chance(mood.overtaken);
      const atMs = time.nowMs + this.#network.delayMs() + (overtaken ? random.below(OVERTAKEN_MS) : 0);
      // In order, but for those that are overtaken.
      const dueMs = overtaken ? atMs : Math.max(atMs, this.#lastMs);
      if (!overtaken) this.#lastMs = dueMs;
      time.after(dueMs - time.nowMs, () => {
        this.#network.onArrival();
        if (this.passes) this.#to.message(topic, payload);
      });
    }
  }

  fallSilent(): void {
    if (!this.passes) return;
    this.#network.say('=== nothing passes any more');
    this.#silent = true;
    this.#network.time.after(KEEP_ALIVE_MS, () => this.end('no answer to a ping'));
  }

  end(reason: string): void {
    if (!this.open) return;
    this.open = false;
    this.#network.say(`    the connection ends: ${reason}`);
    this.#to.lost(reason);
  }
}

/** The port of the transport, with this road under it. */
class SimTransport implements Transport {
  lastFailure: string | undefined;
  readonly #network: SimNetwork;
  readonly #owner: Mortal;
  readonly #listeners = new Set<TransportListener>();
  readonly #unsettled = new Set<(failure: TransportError) => void>();
  #connection: SimConnection | undefined;
  #isClosed = false;
  #cancelConnect: () => void = () => undefined;

  constructor(network: SimNetwork, owner: Mortal) {
    this.#network = network;
    this.#owner = owner;
  }

  get up(): boolean {
    return this.#connection?.open ?? false;
  }

  start(withinMs = 0): void {
    this.#connectAfter(this.#network.random.below(withinMs + 1));
  }

  publish(topic: string, payload: Uint8Array, timeoutMs: number): Promise<void> {
    const connection = this.#connection;
    if (!connection?.open) return Promise.reject(new TransportError('linkDown', 'the link is down'));
    const { time, random, mood, broker } = this.#network;
    return this.#answered(timeoutMs, (acknowledged) => {
      const cut = random.chance(mood.cut);
      // Of the message that the connection ends with, nobody can say whether it arrived.
      const arrives = !cut || random.chance(0.5);
      time.after(this.#network.delayMs(), () => {
        this.#network.onArrival();
        if (arrives && connection.passes) broker.received(topic, Buffer.from(payload), connection);
        if (cut) connection.end('the connection was reset');
        time.after(this.#network.delayMs(), () => {
          if (connection.passes) acknowledged();
        });
      });
    });
  }

  roundTrip(timeoutMs: number): Promise<void> {
    const connection = this.#connection;
    if (!connection?.open) return Promise.reject(new TransportError('linkDown', 'the link is down'));
    return this.#answered(timeoutMs, (acknowledged) => {
      this.#network.time.after(2 * this.#network.delayMs(), () => {
        if (connection.passes) acknowledged();
      });
    });
  }

  async renew(timeoutMs: number): Promise<void> {
    this.#connection?.end('renewed');
    this.#connectAfter(0);
    await this.#answered(timeoutMs, (acknowledged) => {
      const unsubscribe = this.subscribe({
        onUp() {
          unsubscribe();
          acknowledged();
        },
      });
    });
  }

  subscribe(listener: TransportListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelConnect();
    this.#connection?.end('closed');
    return Promise.resolve();
  }

  /** With the process that it belongs to: the broker sees a connection that ends. */
  die(): void {
    this.#listeners.clear();
    this.#unsettled.clear();
    void this.close();
  }

  #answered(timeoutMs: number, ask: (acknowledged: () => void) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const settled = (act: () => void): void => {
        this.#unsettled.delete(fail);
        takeBack();
        if (!this.#owner.ended) act();
      };
      const fail = (failure: TransportError): void => settled(() => reject(failure));
      const takeBack = this.#network.time.after(timeoutMs, () =>
        fail(new TransportError('timeout', `not acknowledged within ${timeoutMs} ms`)),
      );
      this.#unsettled.add(fail);
      ask(() => settled(resolve));
    });
  }

  #connectAfter(delayMs: number): void {
    this.#cancelConnect();
    if (this.#isClosed) return;
    this.#cancelConnect = this.#network.time.after(delayMs + 3 * this.#network.delayMs(), () =>
      this.#connect(),
    );
  }

  #connect(): void {
    const { random, mood } = this.#network;
    if (this.#isClosed || this.up) return;
    if (this.#network.isOut || random.chance(mood.refuse)) {
      this.lastFailure = 'nobody answers';
      this.#connectAfter(random.below(RECONNECT_MS));
      return;
    }
    const connection = new SimConnection(this.#network, {
      message: (topic, payload) => {
        for (const { onMessage } of [...this.#listeners]) onMessage?.({ topic, payload });
      },
      lost: (reason) => this.#lost(connection, reason),
    });
    this.#connection = connection;
    const sessionPresent = this.#network.connected(connection);
    this.#network.say('    connected');
    for (const { onUp } of [...this.#listeners]) onUp?.(sessionPresent);
  }

  #lost(connection: SimConnection, reason: string): void {
    if (connection !== this.#connection) return;
    this.lastFailure = reason;
    for (const fail of [...this.#unsettled]) fail(new TransportError('linkDown', reason));
    for (const { onDown } of [...this.#listeners]) onDown?.(reason);
    this.#connectAfter(this.#network.random.below(RECONNECT_MS));
  }
}
