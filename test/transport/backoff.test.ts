import { expect, test } from 'vitest';
import { VirtualClock } from '../../src/simulator/clock.ts';
import type { Connection, ConnectionEvents } from '../../src/transport/connection.ts';
import type { Transport } from '../../src/transport/port.ts';
import { createTransport } from '../../src/transport/transport.ts';
import { endings } from './transports.ts';

/** When the transport connects again, with the largest draw that there is. */

const LIMITS = { firstMs: 1000, lostMs: 30_000, maxMs: 60_000, healthyAfterMs: 30_000 };
const ALMOST_ONE = 1 - 2 ** -32;
const atEnd = endings();

function device(): {
  link: Transport;
  clock: VirtualClock;
  attemptsMs: number[];
  /** What the last attempt comes to. */
  fail(): Promise<void>;
  succeed(): Promise<void>;
} {
  const clock = new VirtualClock();
  const attemptsMs: number[] = [];
  let events: ConnectionEvents | undefined;
  const connection: Connection = {
    send: () => undefined,
    roundTrip: () => undefined,
    end: (reason) => events?.over({ reason, refusal: undefined }),
  };
  const options = {
    url: 'mqtt://broker',
    clientId: 'device',
    filters: [],
    keepAliveSeconds: 60,
    connectTimeoutMs: 1000,
    publishQueueMax: 1,
    backoff: LIMITS,
  };
  const own = {
    monotonicMs: () => clock.monotonicMs(),
    sleep: (ms: number, signal?: AbortSignal) => clock.sleep(ms, signal),
    random: () => ALMOST_ONE,
  };
  const link = createTransport(options, { clock: own }, (_settings, on) => {
    attemptsMs.push(clock.monotonicMs());
    events = on;
    return connection;
  });
  atEnd(() => link.close());
  return {
    link,
    clock,
    attemptsMs,
    async fail() {
      events?.over({ reason: 'no', refusal: undefined });
      await clock.advance(0);
    },
    async succeed() {
      events?.up({ sessionPresent: false, inFlightMax: 1 });
      await clock.advance(0);
    },
  };
}

/** The wait until the next attempt, in whole seconds. */
async function nextWait({ clock, attemptsMs }: ReturnType<typeof device>): Promise<number> {
  const before = attemptsMs.length;
  const fromMs = clock.monotonicMs();
  while (attemptsMs.length === before) await clock.advance(500);
  return Math.round(((attemptsMs.at(-1) ?? 0) - fromMs) / 1000);
}

test('the first attempt is made at once, and the ceilings double up to the last', async () => {
  const one = device();
  one.link.start();
  await one.clock.advance(0);
  expect(one.attemptsMs).toEqual([0]);
  const waits: number[] = [];
  for (let failures = 0; failures < 8; failures += 1) {
    await one.fail();
    waits.push(await nextWait(one));
  }
  expect(waits).toEqual([1, 2, 4, 8, 16, 32, 60, 60]);
});

test('a first attempt that may wait does, and a failure after it waits no less', async () => {
  const one = device();
  one.link.start(20_000);
  expect(await nextWait(one)).toBe(20);
  await one.fail();
  expect(await nextWait(one)).toBe(40);
});

test('a link that had lasted and is lost waits as a fleet must; one that came and went goes on where it was', async () => {
  const one = device();
  one.link.start();
  await one.clock.advance(0);
  await one.succeed();
  await one.clock.advance(LIMITS.healthyAfterMs);
  await one.fail();
  expect(await nextWait(one)).toBe(30);
  await one.succeed();
  await one.clock.advance(LIMITS.healthyAfterMs - 1);
  await one.fail();
  expect(await nextWait(one)).toBe(60);
});

test('a link that is renewed is made at once, and its failure is nobody else’s', async () => {
  const one = device();
  one.link.start();
  await one.clock.advance(0);
  await one.succeed();
  await one.clock.advance(LIMITS.healthyAfterMs);
  const renewed = one.link.renew(600_000);
  await one.clock.advance(0);
  expect(one.attemptsMs.length).toBe(2);
  await one.fail();
  expect(await nextWait(one)).toBe(1);
  await one.succeed();
  await renewed;
});

test('whoever waits for the first attempt can be hurried, and closed', async () => {
  const one = device();
  one.link.start(60_000);
  await one.clock.advance(0);
  const renewed = one.link.renew(1000);
  await one.clock.advance(0);
  expect(one.attemptsMs.length).toBe(1);
  await one.succeed();
  await renewed;
  const other = device();
  other.link.start(60_000);
  await other.clock.advance(0);
  await other.link.close();
  expect(other.attemptsMs).toEqual([]);
});
