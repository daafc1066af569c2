import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { connectAsync } from 'mqtt';
import type { Packet } from 'mqtt-packet';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Report } from '../../src/cli/doctor/finding.ts';
import { systemClock } from '../../src/host/clock.ts';
import { type Simulator, startSimulator } from '../../src/simulator/index.ts';
import { mosquitto } from '../support/brokers.ts';
import { createDevice } from '../support/device.ts';
import { until } from '../support/until.ts';
import { brokerThat, createPatient, finding, HURRIED, listen, type Patient } from './patient.ts';

/** Faults between CONNECT and the answer of a request: each is arranged, and its cause has to be named. */

const TEST_MS = 60_000;
const MAIN = new URL('../../dist/cli/main.js', import.meta.url).pathname;

let patient: Patient;
beforeEach(async () => {
  patient = await createPatient();
});
afterEach(() => patient.remove());

const matching = (pattern: RegExp): string => expect.stringMatching(pattern) as string;

function expectCause(report: Report, name: string, detail: RegExp, fix: RegExp): void {
  expect(report.cause).toEqual({ name, result: 'fail', detail: matching(detail), fix: matching(fix) });
}

async function simulator(options: Partial<Parameters<typeof startSimulator>[0]> = {}): Promise<Simulator> {
  const started = await startSimulator({ clock: systemClock, ...options });
  patient.onEnd(() => started.close());
  await patient.configure({ connection: { url: started.mqttUrl } });
  return started;
}

/** A broker that says this to CONNECT, and speaks MQTT 5. */
async function connackBroker(code: number | 'end' | 'silence'): Promise<void> {
  const port = await brokerThat((packet) => {
    if (packet.cmd !== 'connect') return undefined;
    if (code === 'end') return 'end';
    if (code === 'silence') return { cmd: 'pingresp' };
    return { cmd: 'connack', sessionPresent: false, reasonCode: code } as Packet;
  }, patient);
  await patient.configure({ connection: { url: `mqtt://127.0.0.1:${port}` } });
}

test('a thing without a fault: each filter and each request is tried, and nothing is left behind', async () => {
  const cloud = await simulator();
  cloud.service.createThing(patient.thing);
  const report = await patient.examined({}, { write: true });
  expect(report.cause).toBeUndefined();
  const link = report.sections.at(-1)?.findings.filter(({ result }) => result === 'ok') ?? [];
  expect(link.map(({ name }) => name)).toEqual([
    'endpoint',
    'TCP',
    'CONNECT',
    'client id',
    'SUBSCRIBE jobs/notify',
    'SUBSCRIBE jobs/notify-next',
    'SUBSCRIBE jobs/get/+',
    'SUBSCRIBE jobs/+/get/+',
    'SUBSCRIBE jobs/+/update/+',
    'SUBSCRIBE shadow update/+',
    'PUBLISH $next/get',
    'PUBLISH get',
    'PUBLISH update',
    'receipts by the shadow',
  ]);
});

test('without --write nothing is written to the cloud', async () => {
  const cloud = await simulator();
  const report = await patient.examined();
  expect(finding(report, 'receipts by the shadow')).toMatchObject({
    result: 'skipped',
    detail: matching(/--write/),
  });
  const topics = cloud.trace
    .since(0)
    .flatMap((entry) => (entry.kind === 'message' && entry.direction === 'in' ? [entry.topic] : []));
  expect(topics.some((topic) => topic.includes('shadow'))).toBe(false);
  expect(topics).toHaveLength(3);
});

test.each([
  [
    0x87,
    'CONNECT',
    /Not authorized \(0x87\).*certificate is not active/,
    /"Action":"iot:Connect".*client\/patient-/s,
  ],
  [0x85, 'CONNECT', /does not take the client id/, /at most 128/],
  [0x86, 'CONNECT', /user name and password/, /connection\.username/],
  [0x89, 'CONNECT', /overloaded/, /tries again by itself/],
] as const)('CONNACK %i is told in words', async (code, name, detail, fix) => {
  await connackBroker(code);
  expectCause(await patient.examined(), name, detail, fix);
});

test('the certificate is not active, or no policy is attached: the broker hangs up instead of CONNACK', async () => {
  await connackBroker('end');
  expectCause(
    await patient.examined(),
    'CONNECT',
    /hung up before CONNACK.*not active.*no policy is attached/,
    /describe-certificate.*list-attached-policies.*iot:Connect/s,
  );
});

test('the broker hangs: no CONNACK', async () => {
  await connackBroker('silence');
  expectCause(await patient.examined({ clock: HURRIED }), 'CONNECT', /no CONNACK within/, /another network/);
});

test('what answers is no broker', async () => {
  const port = await listen(
    createServer((socket) => void socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')),
    patient,
  );
  await patient.configure({ connection: { url: `mqtt://127.0.0.1:${port}` } });
  expectCause(await patient.examined(), 'CONNECT', /hung up before CONNACK|does not speak MQTT/, /./);
});

test('a broker that wants a password gets none (Mosquitto)', async () => {
  const { port } = await ownMosquitto(['allow_anonymous false']);
  await patient.configure({ connection: { url: `mqtt://127.0.0.1:${port}` } });
  expectCause(await patient.examined(), 'CONNECT', /Not authorized|user name/, /./);
});

test.each([
  ['refuse', /the broker refuses \(.*0x80\).*does not allow iot:Subscribe/],
  ['close', /the broker hung up on .*notify-next: the policy does not allow iot:Subscribe/],
] as const)(
  'a policy without notify-next, when the broker answers by %s: the filter is named, alone',
  { timeout: TEST_MS },
  async (deniedSubscribe, detail) => {
    const cloud = await simulator({ switches: { deniedSubscribe } });
    const topic = `$aws/things/${patient.thing}/jobs/notify-next`;
    cloud.faults.add([{ on: 'subscribe', action: 'deny', topic }]);
    const report = await patient.examined();
    const statement = `{"Effect":"Allow","Action":"iot:Subscribe","Resource":"arn:aws:iot:REGION:ACCOUNT:topicfilter/${topic}"}`;
    expectCause(report, 'SUBSCRIBE jobs/notify-next', detail, /iot:Subscribe/);
    expect(report.cause?.fix).toContain(statement);
    const failed = report.sections.flatMap(({ findings }) =>
      findings.filter(({ result }) => result === 'fail'),
    );
    expect(failed).toHaveLength(1);
    expect(finding(report, 'PUBLISH update')).toMatchObject({ result: 'ok' });
  },
);

test.each([
  ['$next/get', 'PUBLISH $next/get', 'jobs/*/get'],
  ['get', 'PUBLISH get', 'jobs/get'],
  ['+/update', 'PUBLISH update', 'jobs/*/update'],
])('a policy that does not allow to publish %s', { timeout: TEST_MS }, async (topic, name, resource) => {
  const cloud = await simulator();
  cloud.faults.add([{ on: 'publish', action: 'deny', topic: `$aws/things/${patient.thing}/jobs/${topic}` }]);
  const report = await patient.examined();
  expectCause(report, name, /hung up on .*: the policy does not allow iot:Publish/, /iot:Publish/);
  expect(report.cause?.fix).toContain(`ACCOUNT:topic/$aws/things/${patient.thing}/${resource}"`);
});

test('a policy that forbids the shadow of the receipts', { timeout: TEST_MS }, async () => {
  const cloud = await simulator();
  cloud.faults.add([{ on: 'publish', action: 'deny', topic: `$aws/things/${patient.thing}/shadow/#` }]);
  expect((await patient.examined()).cause).toBeUndefined();
  const report = await patient.examined({}, { write: true });
  expectCause(
    report,
    'receipts by the shadow',
    /does not allow iot:Publish/,
    /shadow\/name\/evenkeel\/update"/,
  );
});

test('MQTT 5 names what it forbids, in PUBACK (Mosquitto with an ACL)', async () => {
  const acl = join(patient.root, 'acl');
  await writeFile(acl, 'topic readwrite $aws/things/other/#\n', { mode: 0o600 });
  const { port } = await ownMosquitto(['allow_anonymous true', `acl_file ${acl}`]);
  await patient.configure({ connection: { url: `mqtt://127.0.0.1:${port}` } });
  expectCause(
    await patient.examined(),
    'PUBLISH $next/get',
    /Not authorized \(0x87\), on .*iot:Publish/,
    /jobs\/\*\/get"/,
  );
});

test('the wrong broker: no AWS IoT Jobs behind it', async () => {
  const broker = await mosquitto();
  await broker.start();
  patient.onEnd(() => broker.remove());
  await patient.configure({ connection: { url: broker.url } });
  expectCause(
    await patient.examined({ clock: HURRIED }),
    'PUBLISH $next/get',
    /no AWS IoT Jobs is behind this broker/,
    /describe-thing.*iot:Receive/s,
  );
});

test.each([
  ['Mosquitto', 5],
  ['the simulator', 4],
] as const)(
  'client id in use: another client takes the session over (%s)',
  {
    timeout: TEST_MS,
  },
  async (_, protocolVersion) => {
    const url =
      protocolVersion === 5
        ? await startedMosquitto()
        : (await simulator({ switches: { connectsPerSecond: 100 } })).mqttUrl;
    await patient.configure({ connection: { url } });
    const rival = await connectAsync(url, { clientId: patient.thing, protocolVersion, reconnectPeriod: 200 });
    rival.on('error', () => undefined);
    patient.onEnd(() => rival.endAsync(true));
    const detail = /while nothing was asked.*another client uses the client id/;
    expectCause(await patient.examined(), 'client id', detail, /second agent/);
  },
);

test('client id in use: a broker that says so in the middle of a question', async () => {
  const port = await brokerThat(
    (packet) => (packet.cmd === 'subscribe' ? { cmd: 'disconnect', reasonCode: 0x8e } : undefined),
    patient,
  );
  await patient.configure({ connection: { url: `mqtt://127.0.0.1:${port}` } });
  const report = await patient.examined();
  expectCause(report, 'client id', /in use: another client connected with it/, /second agent/);
  expect(finding(report, 'SUBSCRIBE jobs/notify')).toBeUndefined();
});

test('while the agent runs it is asked, and keeps its session', { timeout: TEST_MS }, async () => {
  const cloud = await simulator();
  const device = await createDevice(patient.thing, cloud.mqttUrl);
  patient.onEnd(() => device.remove());
  patient.onEnd(() => device.stop('SIGTERM'));
  await device.start();
  await until('the link', () => device.log().includes('transport.up'));
  const connects = (): number => cloud.trace.since(0).filter(({ kind }) => kind === 'connect').length;
  const before = connects();
  const { code, report } = await doctor(device.config);
  expect(code).toBe(0);
  expect(finding(report, 'CONNECT')).toMatchObject({
    result: 'ok',
    detail: matching(/the running agent \(pid \d+\) was asked/),
  });
  expect(finding(report, 'SUBSCRIBE')).toMatchObject({ result: 'ok', detail: matching(/all 6 filters/) });
  expect(finding(report, 'round trip')).toMatchObject({ result: 'ok' });
  expect(finding(report, 'PUBLISH $next/get')).toMatchObject({ result: 'ok' });
  expect(connects()).toBe(before);

  cloud.faults.add([
    { on: 'subscribe', action: 'deny', topic: `$aws/things/${patient.thing}/jobs/notify-next` },
  ]);
  cloud.disconnect(patient.thing);
  await until('the refusal', () => device.log().includes('cannot subscribe'));
  const refused = await doctor(device.config);
  expect(refused.code).toBe(1);
  expectCause(
    refused.report,
    'CONNECT',
    /the policy of the certificate does not allow a topic.*notify-next/,
    /with the agent stopped/,
  );
  const { stdout } = await promisify(execFile)(process.execPath, [MAIN, 'status', '--config', device.config]);
  expect(stdout).toMatch(
    /^link +down since .* as patient-.*\n.*notify-next.*\n +that is: the policy of the certificate/m,
  );
});

async function doctor(config: string): Promise<{ code: number; report: Report }> {
  const ended = await promisify(execFile)(process.execPath, [
    MAIN,
    'doctor',
    '--json',
    '--config',
    config,
  ]).catch((error: unknown) => error as { code: number; stdout: string });
  return { code: 'code' in ended ? ended.code : 0, report: JSON.parse(ended.stdout) as Report };
}

async function startedMosquitto(): Promise<string> {
  const broker = await mosquitto();
  await broker.start();
  patient.onEnd(() => broker.remove());
  return broker.url;
}

async function ownMosquitto(lines: readonly string[]): Promise<{ port: number }> {
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  const { port } = other.address() as { port: number };
  await new Promise((resolve) => other.close(resolve));
  const config = join(patient.root, 'mosquitto.conf');
  await writeFile(
    config,
    [`listener ${port} 127.0.0.1`, 'persistence false', 'user root', ...lines, ''].join('\n'),
  );
  const env = { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin` };
  const child = spawn('mosquitto', ['-c', config], { stdio: 'ignore', env });
  patient.onEnd(async () => {
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  });
  await until('mosquitto to listen', async () => {
    const socket = connect(port, '127.0.0.1');
    const open = await Promise.race([
      once(socket, 'connect').then(() => true),
      once(socket, 'close').then(() => false),
    ]).catch(() => false);
    socket.destroy();
    return open;
  });
  return { port };
}
