import { expect, test } from 'vitest';
import { systemClock } from '../../../src/host/clock.ts';
import { VirtualClock } from '../../../src/simulator/clock.ts';
import { Timers } from '../../../src/simulator/service/timers.ts';
import { type World, world } from './world.ts';

/** Both timers of an execution (section 3.4), and the clock that moves them. */

const MINUTE_S = 60;
const left = ({ service }: World): number | undefined => service.secondsLeft(service.execution('t', 'one'));
const status = ({ service }: World): string => service.execution('t', 'one').status;
const report = ({ service }: World, stepTimeoutInMinutes?: number): void =>
  void service.update('t', 'one', {
    status: 'IN_PROGRESS',
    ...(stepTimeoutInMinutes !== undefined && { stepTimeoutInMinutes }),
  });

function one(inProgressTimeoutInMinutes?: number, deps: Parameters<typeof world>[0] = {}): World {
  const w = world(deps);
  w.create(
    'one',
    inProgressTimeoutInMinutes === undefined ? {} : { timeoutConfig: { inProgressTimeoutInMinutes } },
  );
  return w;
}

test('S5 S21: QUEUED never times out; the timer starts with IN_PROGRESS, and no later update moves it', async () => {
  const w = one(10);
  await w.advance(10_000);
  expect(status(w)).toBe('QUEUED');
  expect(left(w)).toBeUndefined();
  report(w);
  expect(left(w)).toBe(10 * MINUTE_S);
  await w.advance(6);
  report(w);
  expect(left(w)).toBe(4 * MINUTE_S);
  w.service.updateJob('one', { timeoutConfig: { inProgressTimeoutInMinutes: 100 } });
  await w.advance(3.9);
  expect(status(w)).toBe('IN_PROGRESS');
  await w.advance(0.1);
  expect(status(w)).toBe('TIMED_OUT');
  expect(left(w)).toBeUndefined();
});

test('S21: seven days pass in a moment', async () => {
  const w = one(10_080);
  report(w);
  await w.advance(10_079);
  expect(status(w)).toBe('IN_PROGRESS');
  await w.advance(1);
  expect(status(w)).toBe('TIMED_OUT');
});

test('S22: a step timer is replaced by the next one, kept without one, dropped by -1', async () => {
  const w = one();
  report(w, 5);
  await w.advance(4);
  report(w, 5);
  await w.advance(4);
  report(w);
  expect(left(w)).toBe(MINUTE_S);
  report(w, -1);
  expect(left(w)).toBeUndefined();
  await w.advance(1000);
  expect(status(w)).toBe('IN_PROGRESS');
  report(w, 1);
  await w.advance(1);
  expect(status(w)).toBe('TIMED_OUT');
});

test('S22: it ends with the execution', async () => {
  const w = one();
  report(w, 5);
  w.service.update('t', 'one', { status: 'SUCCEEDED' });
  await w.advance(10);
  expect(status(w)).toBe('SUCCEEDED');
});

test('S23: the earlier deadline counts', async () => {
  const w = one(20);
  report(w, 30);
  expect(left(w)).toBe(20 * MINUTE_S);
  report(w, 10);
  expect(left(w)).toBe(10 * MINUTE_S);
  await w.advance(5);
  report(w, 30);
  expect(left(w)).toBe(15 * MINUTE_S);
  await w.advance(15);
  expect(status(w)).toBe('TIMED_OUT');
});

test('S24: lateTimersSeconds ends it later than announced, and is read when the time comes', async () => {
  const w = one(1);
  report(w);
  w.service.switches.lateTimersSeconds = 60;
  await w.clock.advance(119_999);
  expect(status(w)).toBe('IN_PROGRESS');
  expect(left(w)).toBe(0);
  await w.clock.advance(1);
  expect(status(w)).toBe('TIMED_OUT');
});

test('S25: the later update is refused with TIMED_OUT; S13: the version has moved', async () => {
  const w = one(1);
  report(w);
  await w.advance(1);
  expect(() => report(w)).toThrow('TIMED_OUT');
  expect(w.service.execution('t', 'one').versionNumber).toBe(3);
});

test.each([true, false])(
  'P13: start-next on what is in progress, startNextAppliesStepTimeout %s',
  (applies) => {
    const w = one(undefined, { switches: { startNextAppliesStepTimeout: applies } });
    w.service.startNext('t', {});
    w.service.startNext('t', { stepTimeoutInMinutes: 3 });
    expect(left(w)).toBe(applies ? 3 * MINUTE_S : undefined);
    expect(w.service.execution('t', 'one').versionNumber).toBe(2);
  },
);

test('the timers of one heap fire in order, each at its own time, however they were set and cleared', async () => {
  const clock = new VirtualClock();
  const timers = new Timers(clock, (act) => act());
  const startMs = timers.nowMs();
  const fired: number[] = [];
  const wanted: number[] = [];
  let state = 1;
  const next = (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const atOf = new Map<string, number>();
  for (let n = 0; n < 5000; n += 1) {
    const key = `k${next(800)}`;
    if (next(3) === 0) {
      timers.clear(key);
      atOf.delete(key);
      continue;
    }
    const at = next(100_000);
    atOf.set(key, at);
    timers.set(key, startMs + at, () => {
      expect(Math.max(at, 1)).toBe(Math.max(1, timers.nowMs() - startMs));
      fired.push(at);
    });
  }
  wanted.push(...[...atOf.values()].sort((a, b) => a - b));
  await clock.advance(100_000);
  expect(fired).toEqual(wanted);
});

test('timers that are due at once fire in the order in which they were set', async () => {
  const clock = new VirtualClock();
  const timers = new Timers(clock, (act) => act());
  const fired: number[] = [];
  for (let n = 0; n < 50; n += 1) timers.set(`k${n}`, timers.nowMs() + 10, () => void fired.push(n));
  await clock.advance(10);
  expect(fired).toEqual(Array.from({ length: 50 }, (_, n) => n));
});

test('a virtual clock wakes in order, what a sleeper starts in between included, and lets go who gives up', async () => {
  const clock = new VirtualClock();
  const log: string[] = [];
  const start = clock.monotonicMs();
  const nap = async (name: string, ms: number, again?: () => void): Promise<void> => {
    await clock.sleep(ms);
    log.push(`${name}@${clock.monotonicMs() - start}`);
    again?.();
  };
  void nap('c', 30);
  void nap('a', 10, () => void nap('b', 10));
  const gone = new AbortController();
  const given = clock.sleep(15, gone.signal).catch((error: unknown) => (error as Error).message);
  gone.abort(new Error('enough'));
  await clock.advance(25);
  expect(log).toEqual(['a@10', 'b@20']);
  expect(await given).toBe('enough');
  await clock.advance(5);
  expect(log.at(-1)).toBe('c@30');
});

test('on a real clock time runs by itself, and jumps when told', async () => {
  const clock = new VirtualClock({ base: systemClock });
  const before = clock.wallMs();
  let woken = false;
  void clock.sleep(86_400_000).then(() => {
    woken = true;
  });
  await clock.sleep(5);
  expect(woken).toBe(false);
  await clock.advance(86_400_000);
  expect(woken).toBe(true);
  expect(clock.wallMs() - before).toBeGreaterThanOrEqual(86_400_000);
});
