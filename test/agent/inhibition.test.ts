import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type Inhibition, Inhibitor } from '../../src/agent/inhibition.ts';
import { nodeDisk } from '../../src/host/node-disk.ts';

/** An inhibition ends when its time is over, by what this machine can measure, and over a restart in any case. */

const MINUTE_MS = 60_000;

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp('/var/tmp/evenkeel-inhibit-');
});
afterEach(() => rm(directory, { recursive: true }));

/** Time that passes when it is told to; `wall` is what a clock on the wall makes of it. */
function world(boot: string, bootedMs = 0) {
  let now = 1000;
  let wall = 5_000_000;
  const sleepers = new Set<{ at: number; wake: () => void }>();
  const changes: (Inhibition | undefined)[] = [];
  const inhibitor = new Inhibitor({
    disk: nodeDisk,
    stateDirectory: directory,
    bootId: boot,
    log: { debug() {}, info() {}, warn() {}, error() {}, child: () => expect.fail() },
    clock: {
      monotonicMs: () => now,
      wallMs: () => wall,
      sleep: (ms, signal) =>
        new Promise((resolve, reject) => {
          sleepers.add({ at: now + ms, wake: resolve });
          signal?.addEventListener('abort', () => reject(signal.reason as Error));
        }),
    },
    uptimeMs: () => Promise.resolve(bootedMs + now),
    onChange: (inhibition) => void changes.push(inhibition),
  });
  return {
    inhibitor,
    changes,
    setWall: (ms: number) => {
      wall = ms;
    },
    async pass(ms: number): Promise<void> {
      for (const end = now + ms; now < end; ) {
        now = Math.min(end, ...[...sleepers].map(({ at }) => Math.max(at, now + 1)));
        for (const sleeper of sleepers) {
          if (sleeper.at > now) continue;
          sleepers.delete(sleeper);
          sleeper.wake();
        }
        // Notes are real files: on until it sleeps again, or has ended.
        do await new Promise((resolve) => setTimeout(resolve, 5));
        while (inhibitor.current && sleepers.size === 0);
      }
    },
  };
}

const DRIVING = { reason: 'driving', steps: false, forMs: 30 * MINUTE_MS };

test('it ends when its time is over, whatever the wall clock does', async () => {
  const { inhibitor, pass, changes, setWall } = world('b1');
  await inhibitor.set(DRIVING);
  setWall(9e12);
  await pass(29 * MINUTE_MS);
  expect(inhibitor.current).toMatchObject({ reason: 'driving', leftMs: MINUTE_MS });
  setWall(0);
  await pass(2 * MINUTE_MS);
  expect(inhibitor.current).toBeUndefined();
  expect(changes.at(-1)).toBeUndefined();
  const path = join(directory, 'inhibit.json');
  await vi.waitFor(() => expect(readFile(path)).rejects.toThrow('ENOENT'), 10_000);
});

test('a restart of the agent takes nothing from it, and adds nothing', async () => {
  const first = world('b1');
  await first.inhibitor.set(DRIVING);
  await first.pass(10 * MINUTE_MS);
  first.inhibitor.close();
  // A minute without an agent.
  const second = world('b1', 11 * MINUTE_MS);
  await second.inhibitor.load();
  expect(second.inhibitor.current?.leftMs).toBe(19 * MINUTE_MS);
  expect(second.changes.at(-1)).toMatchObject({ reason: 'driving' });
});

test('restarts of the device can neither end it at once nor keep it for ever', async () => {
  const first = world('b1');
  await first.inhibitor.set(DRIVING);
  await first.pass(10 * MINUTE_MS);
  first.inhibitor.close();
  let boots = 0;
  let left: number | undefined;
  do {
    boots += 1;
    const next = world(`b${boots + 1}`);
    await next.inhibitor.load();
    const before = left;
    left = next.inhibitor.current?.leftMs;
    // Noted at nine minutes, and a tenth for the restart.
    if (boots === 1) expect(left).toBe(18 * MINUTE_MS);
    if (before !== undefined) expect(left ?? 0).toBeLessThan(before);
    next.inhibitor.close();
  } while (left !== undefined && boots < 20);
  expect(boots).toBe(7);
});

test('allow ends it for good; a file that cannot be read is none', async () => {
  const first = world('b1');
  await first.inhibitor.set(DRIVING);
  expect(await first.inhibitor.lift()).toBe(true);
  expect(await first.inhibitor.lift()).toBe(false);
  const second = world('b1');
  await second.inhibitor.load();
  expect(second.inhibitor.current).toBeUndefined();
  await writeFile(join(directory, 'inhibit.json'), '{"format":1,"reason":7}');
  const third = world('b1');
  await third.inhibitor.load();
  expect(third.inhibitor.current).toBeUndefined();
});
