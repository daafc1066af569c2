import { type ChildProcess, spawn } from 'node:child_process';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { findRivals, inTheWay } from '../../src/cli/device-client/rival.ts';
import { loadConfig } from '../../src/config/load.ts';
import type { Simulator } from '../../src/simulator/index.ts';
import { thingArn } from '../../src/simulator/service/jobs-service.ts';
import { startTestCloud } from '../support/cloud.ts';
import { typed } from '../support/command.ts';
import { createDevice, type Device } from '../support/device.ts';
import { until } from '../support/until.ts';

/** Coming from AWS IoT Device Client: its configuration, its process, and the job that it was in the middle of. */

vi.setConfig({ testTimeout: 90_000 });

const THING = 'moved';
let place: string;
let simulator: Simulator;
let device: Device;
let client: ChildProcess | undefined;

beforeEach(async () => {
  place = await mkdtemp('/var/tmp/evenkeel-client-');
  simulator = await startTestCloud();
  simulator.service.createThing(THING);
  device = await createDevice(THING, simulator.mqttUrl);
});
afterEach(async () => {
  client?.kill('SIGKILL');
  client = undefined;
  await device.stop('SIGKILL');
  await device.remove();
  await simulator.close();
  await rm(place, { recursive: true });
});

async function imported(config: unknown): Promise<{ code: number | null; text: string }> {
  const file = join(place, 'client.json');
  await writeFile(file, typeof config === 'string' ? config : JSON.stringify(config));
  const { code, stdout, stderr } = await typedPlain('import-config', file);
  return { code, text: stdout + stderr };
}

/** A command that takes no --config. */
async function typedPlain(...args: string[]) {
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, stdout, stderr };
}
const MAIN = new URL('../../dist/cli/main.js', import.meta.url).pathname;

const CLIENT = {
  endpoint: 'abc-ats.iot.eu-west-1.amazonaws.com',
  cert: '/etc/client/cert.pem',
  key: '/etc/client/key.pem',
  'root-ca': '/etc/client/root.pem',
  'thing-name': THING,
  logging: { level: 'DEBUG', type: 'FILE', file: '/var/log/client.log' },
  jobs: { enabled: true, 'handler-directory': '/etc/client/handlers' },
  tunneling: { enabled: true },
  'device-defender': { enabled: false, interval: 300 },
  samples: { 'pub-sub': { enabled: true } },
  surprise: 1,
};

test('what has an equal is translated into a configuration that loads; the rest is said', async () => {
  const { code, text } = await imported(CLIENT);
  expect(code).toBe(0);
  const read = loadConfig(text);
  expect(read).toMatchObject({
    ok: true,
    config: {
      thing: THING,
      connection: {
        url: 'mqtts://abc-ats.iot.eu-west-1.amazonaws.com:8883',
        certificate: '/etc/client/cert.pem',
        privateKey: '/etc/client/key.pem',
        ca: '/etc/client/root.pem',
      },
      steps: { handlerDirectory: '/etc/client/handlers' },
      logLevel: 'debug',
    },
  });
  const notes = text.split('\n').filter((line) => line.startsWith('#'));
  for (const words of ['tunneling', 'samples', '"surprise"', 'journalctl', 'disable --now']) {
    expect(notes.join('\n')).toContain(words);
  }
  expect(notes.join('\n')).not.toContain('Defender');
});

test('a claim and a token; a PIN is not printed', async () => {
  const { code, text } = await imported({
    ...CLIENT,
    'fleet-provisioning': {
      enabled: true,
      'template-name': 'boats',
      'template-parameters': '{"SerialNumber": "7"}',
      'csr-file': '/etc/client/x.csr',
    },
  });
  expect(code).toBe(0);
  expect(loadConfig(text)).toMatchObject({
    ok: true,
    config: {
      provisioning: {
        template: 'boats',
        claimCertificate: '/etc/client/cert.pem',
        claimPrivateKey: '/etc/client/key.pem',
        parameters: { SerialNumber: '7' },
      },
    },
  });
  expect(text).not.toMatch(/^ +certificate:/m);
  const token = await imported({
    ...CLIENT,
    'secure-element': {
      enabled: true,
      'pkcs11-lib': '/usr/lib/softhsm/libsofthsm2.so',
      'secure-element-pin': 'PLANTED',
      'secure-element-key-label': 'k',
      'secure-element-slot-id': 3,
    },
  });
  expect(token.text).not.toContain('PLANTED');
  expect(loadConfig(token.text)).toMatchObject({
    ok: true,
    config: { connection: { transport: 'aws-sdk', pkcs11: { slot: 3, key: 'k', pin: 'credential:pin' } } },
  });
});

test('a template that was never filled in, wrong values, and what is no configuration at all', async () => {
  const { text } = await imported({ endpoint: '<replace_with_endpoint_value>', cert: '~/cert.pem\nevil: 1' });
  expect(text).toMatch(/^# endpoint was never filled in/m);
  expect(text).toMatch(/^# cert is ~\/cert\.pem evil: 1: write it as an absolute path/m);
  expect(text).not.toMatch(/^evil/m);
  const wrong = await imported({ ...CLIENT, 'thing-name': 'a thing' });
  expect(wrong.code).toBe(1);
  expect(wrong.text).toMatch(/^# TO CORRECT: thing: must be a thing name/m);
  for (const nothing of ['{', '[]', 'null', '7']) {
    expect(await imported(nothing), nothing).toMatchObject({
      code: 1,
      text: expect.stringMatching(/^cannot read /) as string,
    });
  }
});

/** A process that looks like the client: its name, and a command line with its configuration. */
async function runClient(config: object, ...args: string[]): Promise<void> {
  const program = join(place, 'aws-iot-device-client');
  await writeFile(program, '#!/bin/sh\nsleep 300\n');
  await chmod(program, 0o755);
  const file = join(place, 'client.json');
  await writeFile(file, JSON.stringify(config));
  client = spawn(program, ['--config-file', 'client.json', ...args], { cwd: place, stdio: 'ignore' });
  await until('the client', async () => (await findRivals()).some(({ pid }) => pid === client?.pid));
}

test('the agent does not start while that client serves its thing, and does when it has gone', async () => {
  await runClient(CLIENT);
  const refused = await typed(device, 'run');
  expect(refused.code).toBe(1);
  expect(refused.stderr).toContain(
    `cannot serve ${THING}: AWS IoT Device Client (pid ${client?.pid}) serves it, and its jobs`,
  );
  client?.kill('SIGKILL');
  await until('its end', async () => !(await findRivals()).some(({ pid }) => pid === client?.pid));
  await device.start();
  await until('the link', () => device.log().includes('transport.up'));
});

test('another thing is nobody’s business; the command line is stronger than its file', async () => {
  await runClient(CLIENT, '--thing-name', 'another');
  const [rival] = (await findRivals()).filter(({ pid }) => pid === client?.pid);
  expect(rival).toEqual({ pid: client?.pid, thing: 'another', jobsOff: false });
  expect(inTheWay([rival!], THING, THING)).toBeUndefined();
  expect(inTheWay([rival!], 'another', 'another')).toContain('and its jobs');
});

test('with its jobs off it is in the way only where it has our client id', () => {
  const rival = { pid: 7, thing: THING, jobsOff: true };
  expect(inTheWay([rival], THING, THING)).toContain('client id');
  expect(inTheWay([rival], THING, 'evenkeel-moved')).toBeUndefined();
  expect(inTheWay([{ pid: 7, jobsOff: false }], THING, THING)).toBeUndefined();
});

test('the job that it was in the middle of is answered as lost state, and never run', async () => {
  const document = JSON.stringify({
    version: '1.0',
    steps: [
      {
        action: {
          name: 'x',
          type: 'writeFile',
          input: { path: device.path('etc/app.conf'), content: 'never' },
        },
      },
    ],
  });
  simulator.service.createJob({ jobId: 'theirs', targets: [thingArn(THING)], document });
  // As the client takes it.
  simulator.service.startNext(THING, {});
  const before = await device.files();
  await device.start();
  const told = await until(
    'the answer',
    () => {
      const execution = simulator.service.execution(THING, 'theirs');
      return execution.status === 'REJECTED' ? execution : undefined;
    },
    60_000,
  );
  expect(told.statusDetails).toMatchObject({ code: 'localStateLost' });
  expect(await device.files()).toEqual(before);
});
