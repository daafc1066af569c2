import { mkdtemp, rm, stat } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { askAgent } from '../../src/cli/control/client.ts';
import { REQUEST_BYTES_MAX } from '../../src/cli/control/protocol.ts';
import { type ControlCommands, ControlRefused, serveControl } from '../../src/cli/control/server.ts';
import { systemClock } from '../../src/host/clock.ts';
import { nodeDisk } from '../../src/host/node-disk.ts';
import { acquireStateLock, type StateLock } from '../../src/store/state-lock.ts';
import { until } from '../support/until.ts';

/** The agent's socket: still the lock of the state directory, and one question with one answer for whoever may ask. */

const HERE = { disk: nodeDisk, clock: systemClock };
const HURRIED = { sleep: (ms: number, signal?: AbortSignal) => systemClock.sleep(ms / 50, signal) };

/** No limit ever passes. */
const ENDLESS: Pick<typeof systemClock, 'sleep'> = {
  sleep: (_, signal) =>
    new Promise((_resolve, reject) => {
      signal?.addEventListener('abort', () => reject(signal.reason as Error));
    }),
};

let directory: string;
let lock: StateLock | undefined;
const warnings: unknown[] = [];

beforeEach(async () => {
  directory = await mkdtemp('/var/tmp/evenkeel-control-');
  warnings.length = 0;
});
afterEach(async () => {
  await lock?.release();
  lock = undefined;
  await rm(directory, { recursive: true });
});

async function serve(
  commands: ControlCommands,
  clock: Pick<typeof systemClock, 'sleep'> = systemClock,
): Promise<void> {
  const log = { warn: (fields: object) => void warnings.push(fields) };
  lock = await acquireStateLock(nodeDisk, directory, serveControl(commands, { clock, log }));
}

const COMMANDS: ControlCommands = {
  status: () => Promise.resolve({ state: 'idle' }),
  echo: (request) => Promise.resolve(request),
  never: () => Promise.reject(new ControlRefused('not while a job runs')),
  broken: () => Promise.reject(new Error('a bug')),
};

function raw(): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(join(directory, 'agent.sock'), () => resolve(socket));
    socket.once('error', reject);
  });
}

/** All that comes back until the agent closes. */
async function said(socket: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

test('one question, one answer; refusals are values', async () => {
  await serve(COMMANDS);
  const ask = (command: string, more: object = {}) => askAgent(directory, { command, ...more }, HERE);
  expect(await ask('status')).toEqual({ ok: true, value: { state: 'idle' } });
  expect(await ask('echo', { a: [1] })).toEqual({ ok: true, value: { command: 'echo', a: [1] } });
  expect(await ask('never')).toEqual({
    ok: false,
    error: { code: 'refused', message: 'not while a job runs' },
  });
  expect(warnings).toEqual([]);
  expect(await ask('broken')).toEqual({ ok: false, error: { code: 'failed', message: 'a bug' } });
  expect(warnings).toHaveLength(1);
  expect(await ask('toString')).toMatchObject({ ok: false, error: { code: 'unknownCommand' } });
});

test('no agent: no answer; the socket is the owner’s alone', async () => {
  expect(await askAgent(directory, { command: 'status' }, HERE)).toBeUndefined();
  expect(await askAgent(join(directory, 'nowhere'), { command: 'status' }, HERE)).toBeUndefined();
  await serve(COMMANDS);
  expect((await stat(join(directory, 'agent.sock'))).mode & 0o777).toBe(0o600);
});

test('it is the lock of the directory: a second owner is refused, and gets it after the release', async () => {
  await serve(COMMANDS);
  await expect(acquireStateLock(nodeDisk, directory)).rejects.toThrow('another agent is running on it');
  expect(await askAgent(directory, { command: 'status' }, HERE)).toMatchObject({ ok: true });
  await lock?.release();
  await serve(COMMANDS);
});

test('I9: whatever is said on it, the agent goes on', async () => {
  await serve(COMMANDS);
  for (const line of ['', '{', 'null', '[]', '{"command":7}', '{"command":"status"', '\u0000'.repeat(100)]) {
    const socket = await raw();
    socket.write(`${line}\n`);
    expect(JSON.parse(await said(socket))).toMatchObject({ ok: false, error: { code: 'badRequest' } });
  }
  const long = await raw();
  long.on('error', () => undefined);
  long.write('x'.repeat(REQUEST_BYTES_MAX + 1));
  expect(await said(long)).toMatch(/badRequest.*longer than/);
  const gone = await raw();
  gone.destroy();
  expect(await askAgent(directory, { command: 'status' }, HERE)).toMatchObject({ ok: true });
});

test('who says nothing is put out, and never in the way of others for long', async () => {
  await serve(COMMANDS, HURRIED);
  const silent = await Promise.all(Array.from({ length: 16 }, raw));
  const ends = silent.map((socket) => said(socket).catch(() => ''));
  await Promise.all(ends);
  await until(
    'an answer',
    async () => (await askAgent(directory, { command: 'status' }, HERE).catch(() => undefined))?.ok,
  );
});

test('an agent that is still starting puts its callers out, and they hear of it at once', async () => {
  lock = await acquireStateLock(nodeDisk, directory, (socket) => void socket.destroy());
  // The directory is slow to close, so the connection has ended before its answer is waited for.
  const slow = {
    ...nodeDisk,
    openDirectory: async (path: string) => {
      const opened = await nodeDisk.openDirectory(path);
      const close = async (): Promise<void> => {
        await sleep(100);
        await opened.close();
      };
      return Object.assign(Object.create(opened) as typeof opened, { path: opened.path, close });
    },
  };
  const asking = askAgent(directory, { command: 'status' }, { disk: slow, clock: ENDLESS });
  await expect(asking).rejects.toThrow('does not answer');
});

test('an agent that hangs is no agent that is not there', async () => {
  await serve({ status: () => new Promise(() => undefined) });
  await expect(askAgent(directory, { command: 'status' }, { ...HERE, clock: HURRIED })).rejects.toThrow(
    /cannot ask the agent of .*does not answer/,
  );
});
