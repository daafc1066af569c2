import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectAsync } from 'mqtt';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { until } from '../support/until.ts';

/** `evenkeel simulate` as a process: what it is told by options and files, and what outlives it. */

const MAIN = new URL('../../dist/cli/main.js', import.meta.url).pathname;
let directory: string;
const children: ChildProcess[] = [];
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'simulate-'));
});
afterEach(async () => {
  for (const child of children.splice(0)) await ended(child, 'SIGKILL');
  await rm(directory, { recursive: true });
});

interface Running {
  mqttUrl: string;
  httpUrl: string;
  mqttsUrl?: string;
  caFile?: string;
  child: ChildProcess;
  output(): string;
}

function spawned(options: readonly string[]): { child: ChildProcess; output(): string } {
  const ports = ['--mqtt-port', '0', '--http-port', '0', '--mqtts-port', '0', '--https-port', '0'];
  const child = spawn(process.execPath, [MAIN, 'simulate', ...ports, ...options], {
    env: { ...process.env, XDG_STATE_HOME: join(directory, 'state') },
  });
  children.push(child);
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
  return { child, output: () => text };
}

// Each start is a process of its own, on a machine that may be busy.
vi.setConfig({ testTimeout: 120_000 });

let starts = 0;
async function start(...options: string[]): Promise<Running> {
  starts += 1;
  const ready = join(directory, `ready-${starts}.json`);
  const { child, output } = spawned(['--ready-file', ready, ...options]);
  const text = await until('the ready file', () => {
    if (child.exitCode !== null) throw new Error(output());
    return readFile(ready, 'utf8').catch(() => undefined);
  });
  return { ...(JSON.parse(text) as Running), child, output };
}

async function ended(child: ChildProcess, signal?: NodeJS.Signals): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) {
    const exit = once(child, 'exit');
    if (signal) child.kill(signal);
    await exit;
  }
  return child.exitCode;
}

const admin = async ({ httpUrl }: Running, method: string, path: string, body?: object) => {
  const answer = await fetch(`${httpUrl}/_simulator/${path}`, {
    method,
    ...(body && { body: JSON.stringify(body) }),
  });
  return (await answer.json()) as Record<string, unknown>;
};

test('the ready file has the addresses once they answer; SIGTERM is a clean end', async () => {
  const running = await start();
  const health = await admin(running, 'GET', 'health');
  expect(health).toMatchObject({ status: 'ok', mqttUrl: running.mqttUrl, httpUrl: running.httpUrl });
  const client = await connectAsync(running.mqttUrl, { protocolVersion: 4 });
  await client.endAsync(true);
  expect(running.output()).toContain(`export AWS_ENDPOINT_URL_IOT=${running.httpUrl}`);
  expect(await ended(running.child, 'SIGTERM')).toBe(0);
});

test('there is no ready file where a port is taken, and the error says which', async () => {
  const { mqttUrl } = await start();
  const ready = join(directory, 'never.json');
  const { port } = new URL(mqttUrl);
  const { child, output } = spawned(['--ready-file', ready, '--mqtt-port', port]);
  expect(await ended(child)).not.toBe(0);
  expect(output()).toContain(`cannot listen for MQTT on 127.0.0.1:${port}`);
  await expect(access(ready)).rejects.toThrow('ENOENT');
});

test('--faults takes YAML and JSON; a rule that is wrong is named by its place, and nothing starts', async () => {
  const file = join(directory, 'faults.yaml');
  await writeFile(
    file,
    'faults:\n  - { on: call, action: reject, operation: ListThings, code: Throttling, count: 1 }\n',
  );
  const running = await start('--faults', file);
  const list = () => fetch(`${running.httpUrl}/things`);
  const refused = await list();
  expect([refused.status, refused.headers.get('x-amzn-errortype')]).toEqual([400, 'ThrottlingException']);
  expect((await list()).status).toBe(200);
  await writeFile(file, '[{"on":"call","action":"reject"},{"on":"call","action":"drop"}]');
  const wrong = spawned(['--faults', file]);
  expect(await ended(wrong.child)).not.toBe(0);
  expect(wrong.output()).toContain('faults[1].action: must be one of delay, reject where on is call');
  const missing = spawned(['--faults', join(directory, 'none.yaml')]);
  expect(await ended(missing.child)).not.toBe(0);
  expect(missing.output()).toContain('cannot read the faults in');
});

test('with --data a switch that is set live outlasts SIGKILL, and faults end with their run', async () => {
  const data = join(directory, 'data');
  const first = await start('--data', data, '--switch', 'notifyQos=0');
  await admin(first, 'PATCH', 'switches', { lateTimersSeconds: 60, messagesPerSecond: 100 });
  await admin(first, 'POST', 'faults', { on: 'answer', action: 'drop' });
  await ended(first.child, 'SIGKILL');

  // --switch was for that run alone, and is stronger than what was set.
  const second = await start('--data', data, '--switch', 'lateTimersSeconds=5');
  expect(await admin(second, 'GET', 'switches')).toMatchObject({
    lateTimersSeconds: 5,
    messagesPerSecond: 100,
    notifyQos: 1,
  });
  expect(await admin(second, 'GET', 'faults')).toEqual({ faults: [] });
  await ended(second.child, 'SIGKILL');

  const third = await start('--data', data);
  expect(await admin(third, 'GET', 'switches')).toMatchObject({
    lateTimersSeconds: 60,
    messagesPerSecond: 100,
  });
  await admin(third, 'PUT', 'switches', { messagesPerSecond: 7 });
  await ended(third.child, 'SIGKILL');

  const fourth = await start('--data', data);
  expect(await admin(fourth, 'GET', 'switches')).toMatchObject({
    lateTimersSeconds: 0,
    messagesPerSecond: 7,
  });
  await admin(fourth, 'POST', 'reset');
  await ended(fourth.child, 'SIGKILL');
  const fifth = await start('--data', data);
  expect(await admin(fifth, 'GET', 'switches')).toMatchObject({ messagesPerSecond: 0 });
});

test('without --data nothing outlasts it', async () => {
  const first = await start();
  await admin(first, 'PATCH', 'switches', { messagesPerSecond: 100 });
  await ended(first.child, 'SIGTERM');
  expect(await admin(await start(), 'GET', 'switches')).toMatchObject({ messagesPerSecond: 0 });
});

test('--tls makes certificates where it says, --require-certificate insists on them, and a restart keeps them', async () => {
  const options = ['--tls', '--require-certificate'];
  const first = await start(...options);
  expect(first.caFile).toBe(join(directory, 'state/evenkeel-simulator/ca.crt'));
  const issued = await admin(first, 'POST', 'certificates/boat');
  const pair = {
    cert: String(issued['certificatePem']),
    key: (issued['keyPair'] as { PrivateKey: string }).PrivateKey,
  };
  await ended(first.child, 'SIGKILL');

  const second = await start(...options);
  const ca = await readFile(second.caFile ?? '', 'utf8');
  const connect = (more: object): Promise<{ connected: boolean; endAsync(force: boolean): Promise<void> }> =>
    connectAsync(second.mqttsUrl ?? '', { ca, protocolVersion: 4, reconnectPeriod: 0, ...more }, false);
  await expect(connect({ clientId: 'none' })).rejects.toThrow();
  const boat = await connect({ clientId: 'boat', ...pair });
  expect(boat.connected).toBe(true);
  await boat.endAsync(true);

  const withData = await start(...options, '--data', join(directory, 'data'));
  expect(withData.caFile).toBe(join(directory, 'data/tls/ca.crt'));
});
