import { fc, test as property } from '@fast-check/vitest';
import { expect, test } from 'vitest';
import { transportOptions } from '../../src/cli/settings.ts';
import { defaultConfig } from '../../src/config/config.ts';
import { VirtualClock } from '../../src/simulator/clock.ts';
import type { TransportClock } from '../../src/transport/clock.ts';
import { createPublishQueue } from '../../src/transport/publish-queue.ts';

/** L21: AWS discards what exceeds 100 messages a second on a connection, both ways together; half of them are answers. */

const OUT_PER_SECOND_MAX = 50;
const asTransportClock = (clock: VirtualClock): TransportClock => ({
  monotonicMs: () => clock.monotonicMs(),
  sleep: (ms, signal) => clock.sleep(ms, signal),
  random: () => 0,
});
const { publishRate, publishQueueMax } = transportOptions(defaultConfig());

property.prop([fc.array(fc.tuple(fc.nat(120), fc.integer({ min: 1, max: 400 })), { maxLength: 12 })], {
  numRuns: 25,
})('L21: whatever the agent says at once, no second carries more than AWS takes', async (bursts) => {
  const clock = new VirtualClock();
  const sentAtMs: number[] = [];
  const limits = { queueMax: publishQueueMax, inFlightMax: 100, ...(publishRate && { rate: publishRate }) };
  const queue = createPublishQueue(
    (_topic, _payload, acknowledged) => {
      sentAtMs.push(clock.monotonicMs());
      acknowledged();
    },
    limits,
    asTransportClock(clock),
  );
  let asked = 0;
  let refused = 0;
  for (const [messages, pauseMs] of bursts) {
    asked += messages;
    for (let n = 0; n < messages; n += 1)
      queue.publish('t', Buffer.from('x'), 600_000).catch(() => {
        refused += 1;
      });
    await clock.advance(pauseMs);
  }
  await clock.advance(60_000);
  // Late is not lost: only what found the queue full was refused, and that was told.
  expect(sentAtMs.length + refused).toBe(asked);
  for (const from of sentAtMs) {
    const within = sentAtMs.filter((at) => at >= from && at < from + 1000).length;
    expect(within).toBeLessThanOrEqual(OUT_PER_SECOND_MAX);
  }
});

test('L21: a device that says little waits for nothing', async () => {
  const clock = new VirtualClock();
  const limits = { queueMax: publishQueueMax, inFlightMax: 100, ...(publishRate && { rate: publishRate }) };
  let sent = 0;
  const queue = createPublishQueue(
    (_topic, _payload, acknowledged) => {
      sent += 1;
      acknowledged();
    },
    limits,
    asTransportClock(clock),
  );
  for (let n = 0; n < 5; n += 1) await queue.publish('t', Buffer.from('x'), 1000);
  expect(sent).toBe(5);
  expect(clock.monotonicMs()).toBe(0);
});
