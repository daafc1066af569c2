import { constants } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { keepTelling, statusText, watchedDisk } from '../../src/cli/watchdog.ts';
import { nodeDisk } from '../../src/host/node-disk.ts';
import { createNotifier } from '../../src/host/notify.ts';

/** What systemd hears; that it acts on it is proved on booted machines (test/system/package.test.ts). */

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'watchdog-'));
});
afterEach(() => rm(directory, { recursive: true }));

const ENV = { NOTIFY_FD: '7', WATCHDOG_USEC: '40000000' };

/** A clock that stands, but for its sleeps. */
function bench(status: () => string, answers: () => Promise<unknown>, journalWaitMs: () => number) {
  const told: string[] = [];
  const notifier = createNotifier(ENV, 1, (_, text) => told.push(text));
  const slept: number[] = [];
  const end = new AbortController();
  const sleep = async (delayMs: number): Promise<void> => {
    slept.push(delayMs);
    if (slept.length === 3) end.abort();
  };
  const done = keepTelling({ notifier, clock: { sleep }, status, answers, journalWaitMs }, end.signal);
  return { told, slept, done };
}

test('the sign of life comes several times in the time of the watchdog, and a status only when it changes', async () => {
  const states = ['idle, connected', 'idle, connected', 'not connected'];
  const { told, slept, done } = bench(
    () => states.shift() ?? '',
    () => Promise.resolve(),
    () => 0,
  );
  await done;
  expect(told).toEqual([
    'STATUS=idle, connected\nWATCHDOG=1',
    'WATCHDOG=1',
    'STATUS=not connected\nWATCHDOG=1',
  ]);
  expect(slept.every((ms) => ms <= 10_000)).toBe(true);
});

test('no sign of life while a journal hangs, or the state directory does not answer', async () => {
  const hanging = bench(
    () => '',
    () => Promise.resolve(),
    () => 20_000,
  );
  await hanging.done;
  expect(hanging.told.join()).not.toContain('WATCHDOG');
  const broken = bench(
    () => '',
    () => Promise.reject(new Error('EIO')),
    () => 0,
  );
  await broken.done;
  expect(broken.told.join()).not.toContain('WATCHDOG');
});

test('a write that must be durable counts from its start to its end', async () => {
  let nowMs = 5;
  let finish = (): void => undefined;
  const { disk, waitMs } = watchedDisk(
    {
      ...nodeDisk,
      async openFile(...args) {
        const file = await nodeDisk.openFile(...args);
        const slow = (): Promise<void> =>
          new Promise((resolve) => {
            finish = resolve;
          });
        return { ...file, datasync: slow };
      },
    },
    { monotonicMs: () => nowMs },
  );
  const file = await disk.openFile(join(directory, 'journal'), constants.O_WRONLY | constants.O_CREAT, 0o600);
  expect(waitMs()).toBe(0);
  const synced = file.datasync();
  nowMs = 1005;
  expect(waitMs()).toBe(1000);
  finish();
  await synced;
  expect(waitMs()).toBe(0);
  await file.close();
});

test('the socket is the one of the launcher, or the one that systemd opens by name; nobody listens: nothing is said', () => {
  const fds: number[] = [];
  const write = (fd: number): void => void fds.push(fd);
  createNotifier({ NOTIFY_FD: '9' }, 1, write).tell('READY=1');
  createNotifier({ LISTEN_PID: '42', LISTEN_FDS: '2', LISTEN_FDNAMES: 'other:notify' }, 42, write).tell(
    'READY=1',
  );
  createNotifier({ LISTEN_PID: '41', LISTEN_FDS: '1', LISTEN_FDNAMES: 'notify' }, 42, write).tell('READY=1');
  createNotifier({}, 1, write).tell('READY=1');
  expect(fds).toEqual([9, 4]);
  expect(createNotifier({ WATCHDOG_USEC: '1000' }, 1, write).watchdogMs).toBeUndefined();
  expect(createNotifier({ ...ENV, WATCHDOG_PID: '2' }, 1, write).watchdogMs).toBeUndefined();
  expect(createNotifier({ ...ENV, WATCHDOG_PID: '1' }, 1, write).watchdogMs).toBe(40_000);
  const refused = createNotifier(ENV, 1, () => {
    throw new Error('EAGAIN');
  });
  expect(() => refused.tell('READY=1')).not.toThrow();
});

test('one line says what the agent does', () => {
  expect(statusText({ state: 'idle', linkUp: true })).toBe('idle, connected');
  expect(statusText({ state: 'offline', linkUp: false })).toBe('not connected');
  const job = { jobId: 'update-1', executionNumber: 2, move: 'do 3' };
  expect(statusText({ state: 'executing', linkUp: false, job })).toBe('update-1#2: do 3, not connected');
  expect(statusText({ state: 'stranded', linkUp: true, stranded: 'newer format' })).toContain(
    'stranded, connected: newer',
  );
});
