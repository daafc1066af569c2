import { setImmediate as settled } from 'node:timers/promises';
import { connectWithinMs } from '../../src/agent/life.ts';
import type { TransportClock } from '../../src/transport/clock.ts';
import type { Connection, ConnectionEvents, OpenConnection } from '../../src/transport/connection.ts';
import type { TransportOptions } from '../../src/transport/port.ts';
import { createTransport } from '../../src/transport/transport.ts';
import { randomFrom } from '../support/random.ts';

/**
 * A fleet of real transports against one account of AWS, in virtual time. Only the MQTT library below them is a fake:
 * it says what a broker with that account's quota would say.
 */

/** CONNECTs a second that AWS takes from one account in most regions; the rest is refused. Adjustable. */
export const ACCOUNT_CONNECTS_PER_SECOND = 500;
export const DEVICES = 10_000;

const ROUND_TRIP_MS = 100;
const TICK_MS = 10;
const SECOND_MS = 1000;
const WELL_MS = 3_600_000;
const HORIZON_MS = 4 * 3_600_000;
const BOOT_SPREAD_MS = 1000;

/** Draws in [0, 1) become the share of the ceiling that is waited. */
export const STRATEGIES = {
  'full jitter': (draw: number) => draw,
  'equal jitter': (draw: number) => 0.5 + draw / 2,
  'no jitter': () => 1,
} as const;
export type Strategy = keyof typeof STRATEGIES;

export const SCENARIOS = {
  'every link is cut, and the broker is there': { awayMs: 0 },
  'the broker is away for ten minutes': { awayMs: 600_000 },
  'power is back, every device boots in the same second': { awayMs: undefined },
} as const;
export type Scenario = keyof typeof SCENARIOS;

export interface Outcome {
  /** CONNECTs in each second since the broker, or the power, was back. */
  perSecond: number[];
  peak: number;
  allBackSeconds: number;
}

type Options = Pick<TransportOptions, 'backoff'> & { spreadMs: number };

/** Plays a scenario; the same seed, the same outcome. */
export async function playFleet(
  scenario: Scenario,
  strategy: Strategy,
  { backoff, spreadMs }: Options,
  seed: number,
): Promise<Outcome> {
  const clock = new FleetClock();
  const account = new Account(clock);
  const random = randomFrom(seed);
  const { awayMs } = SCENARIOS[scenario];
  const boot = { bootId: 'this', uptimeMs: 20_000 };
  const afterPowerCut = connectWithinMs({ bootId: 'before', unproved: 0 }, boot, spreadMs);
  for (let device = 0; device < DEVICES; device += 1) {
    const chance = random.fork();
    const share = STRATEGIES[strategy];
    const transport = createTransport(
      { ...OPTIONS, backoff, clientId: `device-${device}` },
      { clock: clock.of(() => share(chance.next())) },
      account.open,
    );
    if (awayMs !== undefined) transport.start();
    else void clock.sleep(chance.next() * BOOT_SPREAD_MS).then(() => transport.start(afterPowerCut));
  }
  if (awayMs !== undefined) {
    await clock.runUntil(WELL_MS);
    account.cutAll();
    account.away = true;
    await clock.runUntil(WELL_MS + awayMs);
    account.away = false;
  }
  account.count();
  const backAtMs = clock.monotonicMs();
  await clock.runUntil(HORIZON_MS, () => account.up === DEVICES);
  return {
    perSecond: account.perSecond,
    peak: Math.max(...account.perSecond),
    allBackSeconds: Math.ceil((clock.monotonicMs() - backAtMs) / SECOND_MS),
  };
}

const OPTIONS: Omit<TransportOptions, 'backoff' | 'clientId'> = {
  url: 'mqtt://broker:1883',
  filters: [],
  keepAliveSeconds: 60,
  connectTimeoutMs: 30_000,
  publishQueueMax: 1,
};

/** The account: who is connected, and how many CONNECTs it still takes in this second. */
class Account {
  away = false;
  up = 0;
  perSecond: number[] = [];
  readonly #clock: FleetClock;
  readonly #connected = new Set<ConnectionEvents>();
  /** No quota while the fleet is set up. */
  #countsFromMs: number | undefined;
  #tokens = ACCOUNT_CONNECTS_PER_SECOND;
  #filledAtMs = 0;

  constructor(clock: FleetClock) {
    this.#clock = clock;
  }

  count(): void {
    this.#countsFromMs = this.#clock.monotonicMs();
    this.#filledAtMs = this.#countsFromMs;
  }

  cutAll(): void {
    for (const events of this.#connected) events.over({ reason: 'cut', refusal: undefined });
    this.#connected.clear();
    this.up = 0;
  }

  readonly open: OpenConnection = (_settings, events): Connection => {
    const verdict = this.#connect();
    void this.#clock.sleep(ROUND_TRIP_MS).then(() => {
      if (verdict !== 'taken' || this.away) {
        events.over({ reason: verdict, refusal: undefined });
        return;
      }
      this.#connected.add(events);
      this.up += 1;
      events.accepted();
      events.up({ sessionPresent: false, inFlightMax: 100 });
    });
    return {
      send: () => undefined,
      roundTrip: () => undefined,
      end: () => undefined,
    };
  };

  #connect(): 'taken' | 'away' | 'throttled' {
    if (this.away) return 'away';
    if (this.#countsFromMs === undefined) return 'taken';
    const nowMs = this.#clock.monotonicMs();
    const second = Math.floor((nowMs - this.#countsFromMs) / SECOND_MS);
    while (this.perSecond.length <= second) this.perSecond.push(0);
    this.perSecond[second] = (this.perSecond[second] ?? 0) + 1;
    const refill = ((nowMs - this.#filledAtMs) / SECOND_MS) * ACCOUNT_CONNECTS_PER_SECOND;
    this.#tokens = Math.min(ACCOUNT_CONNECTS_PER_SECOND, this.#tokens + refill);
    this.#filledAtMs = nowMs;
    if (this.#tokens < 1) return 'throttled';
    this.#tokens -= 1;
    return 'taken';
  }
}

/** Time for ten thousand sleepers: it goes in ticks, and each tick wakes all who are due in it. */
class FleetClock {
  readonly #due = new Map<number, (() => void)[]>();
  /** The ticks that have sleepers; a binary heap. */
  readonly #ticks: number[] = [];
  #nowMs = 0;

  monotonicMs(): number {
    return this.#nowMs;
  }

  of(random: () => number): TransportClock {
    return {
      monotonicMs: () => this.#nowMs,
      sleep: (delayMs, signal) => this.sleep(delayMs, signal),
      random,
    };
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
      const tick = Math.ceil((this.#nowMs + delayMs) / TICK_MS) * TICK_MS;
      const there = this.#due.get(tick);
      if (there) there.push(resolve);
      else {
        this.#due.set(tick, [resolve]);
        push(this.#ticks, tick);
      }
    });
  }

  /** Until that moment, or until it is enough. */
  async runUntil(endMs: number, enough: () => boolean = () => false): Promise<void> {
    await settled();
    while (!enough()) {
      const tick = this.#ticks[0];
      if (tick === undefined || tick > endMs) {
        this.#nowMs = endMs;
        return;
      }
      pop(this.#ticks);
      this.#nowMs = Math.max(this.#nowMs, tick);
      const sleepers = this.#due.get(tick) ?? [];
      this.#due.delete(tick);
      for (const wake of sleepers) wake();
      await settled();
    }
  }
}

function push(heap: number[], value: number): void {
  let at = heap.length;
  heap.push(value);
  while (at > 0) {
    const above = (at - 1) >> 1;
    if ((heap[above] as number) <= value) break;
    heap[at] = heap[above] as number;
    at = above;
  }
  heap[at] = value;
}

function pop(heap: number[]): void {
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return;
  let at = 0;
  for (;;) {
    let below = 2 * at + 1;
    if (below >= heap.length) break;
    if (below + 1 < heap.length && (heap[below + 1] as number) < (heap[below] as number)) below += 1;
    if ((heap[below] as number) >= last) break;
    heap[at] = heap[below] as number;
    at = below;
  }
  heap[at] = last;
}
