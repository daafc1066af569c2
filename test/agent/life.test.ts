import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as settled } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { beginLife, connectWithinMs, type LifeFacts, watchLife } from '../../src/agent/life.ts';
import { nodeDisk } from '../../src/host/node-disk.ts';
import { VirtualClock } from '../../src/simulator/clock.ts';
import type { TransportListener } from '../../src/transport/port.ts';

/** When an agent connects at once, and when it lets others go first. */

const SPREAD_MS = 30_000;
const JUST_BOOTED = 20_000;
const LONG_UP = 86_400_000;
const now = (bootId: string, uptimeMs: number | undefined = LONG_UP): LifeFacts => ({ bootId, uptimeMs });

let directory: string;
const log = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn(), child: () => log };
beforeEach(async () => {
  directory = await mkdtemp('/var/tmp/evenkeel-life-');
});
afterEach(() => rm(directory, { recursive: true }));

const begin = (facts: LifeFacts) =>
  beginLife({ disk: nodeDisk, stateDirectory: directory, log }, facts, SPREAD_MS);

test('the first life on a device, and one that somebody restarts, connect at once', async () => {
  const first = await begin(now('a', JUST_BOOTED));
  expect(first.connectWithinMs).toBe(0);
  await first.proved();
  expect((await begin(now('a', JUST_BOOTED))).connectWithinMs).toBe(0);
  expect((await begin(now('a'))).connectWithinMs).toBe(0);
});

test('after a boot the whole fleet may be starting: the first connection is spread out', async () => {
  await (await begin(now('a'))).proved();
  expect((await begin(now('b', JUST_BOOTED))).connectWithinMs).toBe(SPREAD_MS);
  expect((await begin(now('b', JUST_BOOTED))).connectWithinMs).toBe(0);
});

test('a start by hand long after a boot is no start of a fleet', async () => {
  await (await begin(now('a'))).proved();
  expect((await begin(now('b'))).connectWithinMs).toBe(0);
  expect(connectWithinMs({ bootId: 'a', unproved: 0 }, { bootId: 'b', uptimeMs: undefined }, SPREAD_MS)).toBe(
    0,
  );
});

test('lives that crash before their link has lasted wait longer and longer, and a proved one ends that', async () => {
  const waits: number[] = [];
  for (let life = 0; life < 9; life += 1) waits.push((await begin(now('a'))).connectWithinMs);
  expect(waits).toEqual([0, 0, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
  await (await begin(now('a'))).proved();
  expect((await begin(now('a'))).connectWithinMs).toBe(0);
});

test.each(['', 'junk', '{"format":2}', '{"format":1,"bootId":"a","unproved":-1}'])(
  'I9: a file that holds %j only means that nothing is known',
  async (text) => {
    await writeFile(join(directory, 'life.json'), text);
    expect((await begin(now('a'))).connectWithinMs).toBe(0);
    expect(JSON.parse(await readFile(join(directory, 'life.json'), 'utf8'))).toMatchObject({ unproved: 1 });
  },
);

test('a disk that takes nothing does not keep the agent from living', async () => {
  const full = { ...nodeDisk, openFile: () => Promise.reject(new Error('ENOSPC')) };
  const life = await beginLife({ disk: full, stateDirectory: directory, log }, now('a'), SPREAD_MS);
  await life.proved();
  expect(log.warn).toHaveBeenCalledTimes(2);
});

test('a life is proved by a link that lasts, not by one that comes and goes', async () => {
  const clock = new VirtualClock();
  const proved = vi.fn(() => Promise.resolve());
  let listener: TransportListener = {};
  const subscribe = (one: TransportListener): (() => void) => {
    listener = one;
    return () => undefined;
  };
  watchLife({ connectWithinMs: 0, proved }, { subscribe }, clock, SPREAD_MS);
  for (let times = 0; times < 5; times += 1) {
    listener.onUp?.(false);
    await clock.advance(SPREAD_MS - 1);
    listener.onDown?.('gone');
  }
  await clock.advance(SPREAD_MS);
  expect(proved).not.toHaveBeenCalled();
  listener.onUp?.(false);
  await clock.advance(SPREAD_MS + 1);
  await settled();
  expect(proved).toHaveBeenCalledOnce();
});
