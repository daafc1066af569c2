import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { nodeDisk } from '../../src/host/node-disk.ts';
import type { Reply } from '../../src/jobs/client.ts';
import { type Channel, shadowChannel, topicChannel } from '../../src/receipts/channels.ts';
import { createDelivery } from '../../src/receipts/delivery.ts';
import { openOutbox } from '../../src/receipts/outbox.ts';
import type { Receipt } from '../../src/receipts/receipt.ts';
import { type Refusals, readRefusals, writeRefusals } from '../../src/receipts/refusals.ts';
import { TransportError, type TransportListener } from '../../src/transport/port.ts';
import { until } from '../support/until.ts';

/** Receipts and the channels that refuse them (design section 9, T7): a true outbox and files; link and time are fakes. */

const DAY_MS = 86_400_000;

/** A clock that a test moves; sleepers wake when their time has come. */
function fakeClock() {
  let nowMs = 1_000_000;
  const sleepers = new Set<{ atMs: number; wake(): void }>();
  return {
    wallMs: () => nowMs,
    monotonicMs: () => nowMs,
    random: () => 0.5,
    sleep: (delayMs: number, signal?: AbortSignal) =>
      new Promise<void>((resolve, reject) => {
        const sleeper = { atMs: nowMs + delayMs, wake: resolve };
        sleepers.add(sleeper);
        signal?.addEventListener('abort', () => {
          sleepers.delete(sleeper);
          reject(signal.reason as Error);
        });
      }),
    sleeping: () => sleepers.size,
    pass(delayMs: number) {
      nowMs += delayMs;
      for (const sleeper of [...sleepers]) {
        if (sleeper.atMs > nowMs) continue;
        sleepers.delete(sleeper);
        sleeper.wake();
      }
    },
  };
}

type Says = 'accepts' | 'hangs up' | 'hangs up late' | 'is silent' | 'refuses' | 'throttles';

async function scene(channels: ('shadow' | 'topic')[], known: { state?: string; refused?: Refusals } = {}) {
  const clock = fakeClock();
  const state = known.state ?? (await mkdtemp('/var/tmp/evenkeel-delivery-'));
  if (known.state === undefined) onTestFinished(() => rm(state, { recursive: true }));
  const outbox = await openOutbox(nodeDisk, join(state, 'outbox'), {
    warn: () => undefined,
    error: () => undefined,
  });
  const listeners = new Set<TransportListener>();
  const says: Record<'shadow' | 'topic', Says> = { shadow: 'accepts', topic: 'accepts' };
  const sent: string[] = [];
  const link = { up: true };
  const hangUp = (afterMs: number): void => {
    clock.pass(afterMs);
    link.up = false;
    for (const { onDown } of [...listeners]) onDown?.('the broker hung up');
  };
  const transport = {
    get up() {
      return link.up;
    },
    subscribe(listener: TransportListener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    publish(_topic: string, payload: Uint8Array) {
      const { jobId } = JSON.parse(Buffer.from(payload).toString()) as Receipt;
      sent.push(`topic ${jobId}`);
      if (says.topic === 'accepts') return Promise.resolve();
      if (says.topic === 'hangs up') hangUp(100);
      return Promise.reject(
        new TransportError(says.topic === 'refuses' ? 'refused' : 'linkDown', says.topic),
      );
    },
  };
  const jobs = {
    updateShadow(reported: object): Promise<Reply<unknown>> {
      const { receipt } = reported as { receipt: Receipt };
      sent.push(`shadow ${receipt.jobId}`);
      const rejected = (rawCode: string): Reply<unknown> => ({
        kind: 'rejected',
        code: 'unknown',
        rawCode,
        message: says.shadow,
      });
      switch (says.shadow) {
        case 'accepts':
          return Promise.resolve({ kind: 'accepted', value: {} });
        case 'refuses':
          return Promise.resolve(rejected('403'));
        case 'throttles':
          return Promise.resolve(rejected('429'));
        case 'hangs up':
        case 'hangs up late':
          hangUp(says.shadow === 'hangs up' ? 100 : 5001);
          return Promise.resolve({ kind: 'noAnswer', reason: 'the link ended' });
        case 'is silent':
          return Promise.resolve({ kind: 'noAnswer', reason: 'no answer within 10000 ms' });
      }
    },
  };
  const deps = { thing: 'd', jobs, transport, clock, requestTimeoutMs: 10_000 };
  const made: Record<'shadow' | 'topic', Channel> = {
    shadow: shadowChannel(deps),
    topic: topicChannel('receipts/d', deps),
  };
  const delivery = createDelivery({
    outbox,
    channels: channels.map((name) => made[name]),
    transport,
    clock,
    log: { info: () => undefined, warn: () => undefined },
    refused: known.refused ?? (await readRefusals(nodeDisk, state)),
    saveRefused: (refused) => writeRefusals(nodeDisk, state, refused),
  });
  onTestFinished(() => delivery.close());
  return {
    clock,
    state,
    says,
    sent,
    link,
    add: (jobId: string) => outbox.add(jobId, receipt(jobId)),
    pending: () => outbox.pending(),
    /** The link is up (again), as after a CONNACK; resolves when the pass that it starts is over. */
    async connected() {
      link.up = true;
      const before = clock.sleeping();
      delivery.look();
      await until('the pass to end', async () => {
        return (await outbox.pending()).length === 0 || clock.sleeping() > 0 || clock.sleeping() !== before;
      });
      // The pass ends a few reads of a directory after its last word.
      await new Promise((resolve) => setTimeout(resolve, 50));
    },
  };
}

function receipt(jobId: string): Receipt {
  return {
    format: 1,
    thing: 'd',
    jobId,
    executionNumber: 1,
    queuedAt: 1,
    cloudStatus: 'CANCELED',
    outcome: 'rolledBack',
    deviceState: 'old',
    verified: true,
    cause: { kind: 'cloud', reason: 'r' },
    undone: [],
    notUndone: [],
    items: [],
    kept: [],
    endedAt: 5,
    bootId: 'b',
    agentVersion: 'v',
  };
}

test.each(['hangs up', 'refuses'] as const)('a shadow that %s twice is refused', async (how) => {
  const one = await scene(['shadow']);
  one.says.shadow = how;
  await one.add('a');
  await one.connected();
  expect(await readRefusals(nodeDisk, one.state)).toEqual({});
  await one.connected();
  expect(one.sent).toEqual(['shadow a', 'shadow a']);
  const topic = '$aws/things/d/shadow/name/evenkeel/update';
  expect(await readRefusals(nodeDisk, one.state)).toMatchObject({
    shadow: { topic, since: expect.any(Number) as number },
  });

  // Whatever happens within a day: nothing more goes there, and the receipt stays.
  for (let hour = 1; hour < 24; hour += 1) {
    one.clock.pass(DAY_MS / 24);
    await one.connected();
  }
  expect(one.sent).toHaveLength(2);
  expect(await one.pending()).toEqual(['a']);
});

test('a refused channel is tried again after a day, and taken back when it accepts', async () => {
  const one = await scene(['shadow']);
  one.says.shadow = 'hangs up';
  await one.add('a');
  await one.connected();
  await one.connected();
  one.link.up = true;
  // By its own timer: nobody has to look.
  one.clock.pass(DAY_MS);
  await until('the daily try', () => one.sent.length === 3);
  await one.connected();
  one.clock.pass(DAY_MS - 10_000);
  await one.connected();
  expect(one.sent).toHaveLength(3);
  one.says.shadow = 'accepts';
  await one.add('b');
  one.clock.pass(60_000);
  await until('both to be delivered', async () => (await one.pending()).length === 0);
  expect(one.sent.slice(3)).toEqual(['shadow a', 'shadow b']);
  expect(await readRefusals(nodeDisk, one.state)).toEqual({});
});

test('the mark outlives a restart: no loop of disconnects begins', async () => {
  const one = await scene(['shadow']);
  one.says.shadow = 'hangs up';
  await one.add('a');
  await one.connected();
  await one.connected();
  const next = await scene(['shadow'], { state: one.state });
  await next.connected();
  next.clock.pass(DAY_MS / 2 - 1);
  await next.connected();
  expect(next.sent).toEqual([]);
  // The half of a day that chance has given is over, and the timer looks a little later.
  next.clock.pass(60_000);
  await until('the first try of the new life', () => next.sent.length === 1);
});

test('the mark of one topic says nothing about another', async () => {
  const refused = { topic: { topic: 'receipts/elsewhere', since: 1, reason: 'r' } };
  const one = await scene(['topic'], { refused });
  await one.add('a');
  await one.connected();
  expect(one.sent).toEqual(['topic a']);
});

test.each(['shadow', 'topic'] as const)('a refused %s holds up nothing but itself', async (name) => {
  const other = name === 'shadow' ? 'topic' : 'shadow';
  const one = await scene(['shadow', 'topic']);
  one.says[name] = 'hangs up';
  await one.add('a');
  await one.connected();
  await one.connected();
  expect(Object.keys(await readRefusals(nodeDisk, one.state))).toEqual([name]);
  await one.add('b');
  await one.connected();
  await one.connected();
  // Each receipt once on the channel that works, however often the other is tried.
  expect(one.sent.filter((text) => text.startsWith(other))).toEqual([`${other} a`, `${other} b`]);
  expect(one.sent.filter((text) => text.startsWith(name))).toHaveLength(2);
  expect(await one.pending()).toHaveLength(2);
});

test.each(['is silent', 'throttles', 'hangs up late'] as const)(
  'a shadow that %s is not refused',
  async (how) => {
    const one = await scene(['shadow']);
    one.says.shadow = how;
    await one.add('a');
    for (let tries = 0; tries < 4; tries += 1) await one.connected();
    expect(one.sent).toHaveLength(4);
    expect(await readRefusals(nodeDisk, one.state)).toEqual({});
    one.says.shadow = 'accepts';
    await one.connected();
    expect(await one.pending()).toEqual([]);
  },
);

test('a receipt that arrives between two ended links clears the first', async () => {
  const one = await scene(['shadow']);
  for (const how of ['hangs up', 'accepts', 'hangs up', 'accepts'] as const) {
    one.says.shadow = how;
    await one.add('a');
    await one.connected();
  }
  expect(await readRefusals(nodeDisk, one.state)).toEqual({});
});

test('however often somebody looks, one timer waits', async () => {
  const one = await scene(['shadow']);
  one.says.shadow = 'is silent';
  await one.add('a');
  for (let looks = 0; looks < 5; looks += 1) await one.connected();
  expect(one.clock.sleeping()).toBe(1);
});

test('a file of marks that cannot be read marks nothing', async () => {
  const one = await scene(['shadow']);
  await writeFile(join(one.state, 'refused-channels.json'), '{"format":1,"refused":{"shadow":7}}');
  expect(await readRefusals(nodeDisk, one.state)).toEqual({});
});
