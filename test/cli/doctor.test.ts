import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import type { TlsOptions } from 'node:tls';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Report } from '../../src/cli/doctor/finding.ts';
import { mosquitto } from '../support/brokers.ts';
import { createAuthority, type Issued, type TestAuthority } from '../support/certificates.ts';
import { answering, brokerThat, createPatient, finding, HURRIED, listen, type Patient } from './patient.ts';

/** Faults on the way to the broker, from the name to the handshake: each is arranged, and its cause has to be named. */

const MAIN = new URL('../../dist/cli/main.js', import.meta.url).pathname;
const NAMES = ['DNS:localhost', 'IP:127.0.0.1'];
const DAY_MS = 86_400_000;
const ago = (days: number): Date => new Date(Date.now() - days * DAY_MS);

let directory: string;
let authority: TestAuthority;
let stranger: TestAuthority;
let server: Issued;
let client: Issued;
let patient: Patient;

beforeAll(async () => {
  directory = await mkdtemp('/var/tmp/evenkeel-doctor-');
  authority = await createAuthority(directory, 'Good Authority');
  stranger = await createAuthority(directory, 'Unknown Authority');
  server = await authority.issue({ commonName: 'broker', names: NAMES });
  client = await authority.issue({ commonName: 'thing' });
});
afterAll(() => rm(directory, { recursive: true, force: true }));
beforeEach(async () => {
  patient = await createPatient();
});
afterEach(() => patient.remove());

/** A connection section that is right for a broker of the good authority. */
function to(url: string, change: Record<string, unknown> = {}): Record<string, unknown> {
  const { certFile: certificate, keyFile: privateKey } = client;
  return { connection: { url, certificate, privateKey, ca: authority.caFile, ...change } };
}

async function tlsBroker(options: TlsOptions = {}): Promise<string> {
  const port = await brokerThat(answering, patient, {
    cert: server.cert,
    key: server.key,
    ca: authority.ca,
    ...options,
  });
  return `mqtts://127.0.0.1:${port}`;
}

const matching = (pattern: RegExp): string => expect.stringMatching(pattern) as string;

function expectCause(report: Report, name: string, detail: RegExp, fix: RegExp): void {
  expect(report.cause).toEqual({
    name,
    result: 'fail',
    detail: matching(detail),
    fix: matching(fix),
  });
}

test('a link without a fault: TLS by the good authority is well, and so is the certificate', async () => {
  await patient.configure(to(await tlsBroker()));
  const report = await patient.examined();
  expect(finding(report, 'TLS')).toMatchObject({
    result: 'ok',
    detail: matching(/broker by Good Authority/),
  });
  expect(finding(report, 'client certificate')).toMatchObject({ result: 'ok' });
  expect(finding(report, 'CONNECT')).toMatchObject({ result: 'ok', detail: matching(/MQTT 5/) });
});

test('wrong endpoint: a misspelt name', async () => {
  await patient.configure(to('mqtts://prefix-ats.iot.eu-west-1.example.invalid:8883'));
  const lookup = (name: string) =>
    Promise.reject(Object.assign(new Error(`getaddrinfo ENOTFOUND ${name}`), { code: 'ENOTFOUND' }));
  expectCause(
    await patient.examined({ lookup }),
    'DNS',
    /there is no host prefix-ats.*misspelt/,
    /describe-endpoint/,
  );
});

test.each([
  ['iot.eu-west-1.amazonaws.com', 'the control plane'],
  ['c1abcdefghijkl.credentials.iot.eu-west-1.amazonaws.com', 'the credentials provider'],
  ['data.iot.eu-west-1.amazonaws.com', 'the data plane of no account'],
])('wrong endpoint: %s is %s', async (host) => {
  await patient.configure(to(`mqtts://${host}:8883`));
  const lookup = () => Promise.reject(new Error('not asked'));
  expectCause(await patient.examined({ lookup }), 'endpoint', /not the data endpoint/, /iot:Data-ATS/);
});

test('the endpoint of an account is none of them, and the old one is told from it', async () => {
  const lookup = () => Promise.reject(new Error('no network in this test'));
  await patient.configure(to('mqtts://a1b2c3d4e5f6g7-ats.iot.eu-west-1.amazonaws.com:8883'));
  expect(finding(await patient.examined({ lookup }), 'endpoint')).toMatchObject({ result: 'ok' });
  await patient.configure(to('mqtts://a1b2c3d4e5f6g7.iot.eu-west-1.amazonaws.com:8883'));
  expect(finding(await patient.examined({ lookup }), 'endpoint')).toMatchObject({
    result: 'warn',
    detail: matching(/older endpoint/),
    fix: matching(/-ats/),
  });
});

test.each([
  [
    'answers with EAI_AGAIN',
    () => Promise.reject(Object.assign(new Error('EAI_AGAIN'), { code: 'EAI_AGAIN' })),
  ],
  ['never answers', () => new Promise<never>(() => undefined)],
])('no resolver: it %s', async (_, lookup) => {
  await patient.configure(to('mqtts://broker.example:8883'));
  expectCause(
    await patient.examined({ lookup, clock: HURRIED }),
    'DNS',
    /no resolver answers/,
    /resolv\.conf/,
  );
});

test('port closed: nothing listens', async () => {
  const gone = createServer().listen(0, '127.0.0.1');
  await once(gone, 'listening');
  const { port } = gone.address() as { port: number };
  await new Promise((resolve) => gone.close(resolve));
  await patient.configure(to(`mqtts://127.0.0.1:${port}`));
  expectCause(await patient.examined(), 'TCP', /ECONNREFUSED.*nothing listens/, /connection\.url/);
});

test('port blocked: packets are dropped', async () => {
  const { port, end } = await blackHole();
  patient.onEnd(end);
  await patient.configure(to(`mqtts://127.0.0.1:${port}`));
  expectCause(
    await patient.examined({ clock: HURRIED }),
    'TCP',
    /ETIMEDOUT.*a firewall drops the port/,
    /8883 is blocked, use port 443/,
  );
});

/** A full backlog that nobody takes from: further SYNs are dropped, as by a firewall. */
async function blackHole(): Promise<{ port: number; end: () => void }> {
  const script = `
    const net = require('node:net');
    const server = net.createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
      process.stdout.write(String(server.address().port), () =>
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0));
    });`;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [chunk] = (await once(child.stdout, 'data')) as [Buffer];
  const port = Number(chunk.toString());
  const fillers = Array.from({ length: 8 }, () => connect(port, '127.0.0.1').on('error', () => undefined));
  await new Promise((resolve) => setTimeout(resolve, 300));
  const end = (): void => {
    for (const socket of fillers) socket.destroy();
    child.kill('SIGKILL');
  };
  return { port, end };
}

test('IPv6 is broken and IPv4 is not: the link is well, and the address is named', async () => {
  const url = new URL(await tlsBroker());
  await patient.configure(to(`mqtts://localhost:${url.port}`));
  const lookup = () =>
    Promise.resolve([
      { address: '::1', family: 6 },
      { address: '127.0.0.1', family: 4 },
    ]);
  const report = await patient.examined({ lookup });
  expect(finding(report, 'TCP IPv6')).toMatchObject({
    result: 'warn',
    detail: matching(/another address answers/),
  });
  expect(finding(report, 'TCP IPv4')).toMatchObject({ result: 'ok' });
  expect(finding(report, 'TLS')).toMatchObject({ result: 'ok' });
});

test('a captive portal: TCP opens, and the handshake is never answered', async () => {
  const port = await listen(createServer(), patient);
  await patient.configure(to(`mqtts://127.0.0.1:${port}`));
  expectCause(
    await patient.examined({ clock: HURRIED }),
    'TLS',
    /no answer to the handshake.*captive portal/,
    /./,
  );
});

test('wrong CA', async () => {
  await patient.configure(to(await tlsBroker(), { ca: stranger.caFile }));
  expectCause(
    await patient.examined(),
    'TLS',
    /signed by Good Authority, which is not in \/.*Unknown-Authority\/ca\.crt/,
    /connection\.ca.*AmazonRootCA1/,
  );
});

test('no CA is configured, and the broker has one of its own', async () => {
  await patient.configure(to(await tlsBroker(), { ca: undefined }));
  expectCause(await patient.examined(), 'TLS', /not in the authorities of Node\.js/, /connection\.ca/);
});

test('the certificate of the broker has expired', async () => {
  const old = await authority.issue({ commonName: 'old', names: NAMES, from: ago(400), to: ago(30) });
  await patient.configure(to(await tlsBroker({ cert: old.cert, key: old.key })));
  const expired = ago(30).toISOString().slice(0, 10);
  expectCause(await patient.examined(), 'TLS', new RegExp(`\\(old\\) has expired on ${expired}`), /renew it/);
});

test('the certificate of the broker will expire: a warning', async () => {
  const soon = await authority.issue({ commonName: 'soon', names: NAMES, to: ago(-3.5) });
  await patient.configure(to(await tlsBroker({ cert: soon.cert, key: soon.key })));
  expect(finding(await patient.examined(), 'TLS')).toMatchObject({
    result: 'warn',
    detail: matching(/soon\) expires in 3 days/),
  });
});

test('the clock is a year behind: certificates are not yet valid', async () => {
  const future = await authority.issue({
    commonName: 'future',
    names: NAMES,
    from: ago(-100),
    to: ago(-400),
  });
  await patient.configure(to(await tlsBroker({ cert: future.cert, key: future.key })));
  expectCause(await patient.examined(), 'TLS', /not valid before.*the clock is behind/, /timedatectl/);
});

test.skipIf(!existsSync('/usr/bin/faketime'))('clock in 1970, as a whole program sees it', async () => {
  await patient.configure(to(await tlsBroker()));
  const ended = await promisify(execFile)('faketime', [
    '-f',
    '@1970-01-02 00:00:00',
    process.execPath,
    MAIN,
    'doctor',
    '--json',
    '--config',
    patient.config,
  ]).catch((error: unknown) => error as { code: number; stdout: string });
  expect(ended).toMatchObject({ code: 1 });
  const report = JSON.parse(ended.stdout) as Report;
  expectCause(report, 'clock', /1970-01-0\d.*was never set/, /timedatectl/);
  expect(finding(report, 'TLS')).toMatchObject({ result: 'fail', detail: matching(/the clock is behind/) });
});

test('the broker has a certificate of another name', async () => {
  const other = await authority.issue({ commonName: 'other', names: ['DNS:other.example'] });
  await patient.configure(to(await tlsBroker({ cert: other.cert, key: other.key })));
  expectCause(
    await patient.examined(),
    'TLS',
    /is not 127\.0\.0\.1: its certificate is for other\.example/,
    /connection\.serverName/,
  );
  const url = await tlsBroker({ cert: other.cert, key: other.key });
  await patient.configure(to(url, { serverName: 'other.example' }));
  expect((await patient.examined()).sections.at(-1)?.findings).toContainEqual(
    expect.objectContaining({ name: 'CONNECT', result: 'ok' }),
  );
});

test('mqtts:// to a port without TLS', async () => {
  const plain = await mosquitto();
  await plain.start();
  patient.onEnd(() => plain.remove());
  await patient.configure(to(plain.url.replace('mqtt:', 'mqtts:')));
  expectCause(await patient.examined(), 'TLS', /does not speak TLS/, /mqtt:\/\//);
});

test('ALPN: the broker does not speak what is offered', async () => {
  await patient.configure(to(await tlsBroker({ ALPNProtocols: ['h2'] }), { alpn: ['x-amzn-mqtt-ca'] }));
  expectCause(await patient.examined(), 'TLS', /does not speak what ALPN offers/, /connection\.alpn/);
});

test('the client certificate has expired', async () => {
  const old = await authority.issue({ commonName: 'old thing', from: ago(400), to: ago(2) });
  await patient.configure(to(await tlsBroker(), { certificate: old.certFile, privateKey: old.keyFile }));
  expectCause(
    await patient.examined(),
    'client certificate',
    /\(CN=old thing\) expired on/,
    /issue a new certificate/,
  );
});

test('the client certificate is not valid yet: the clock is behind', async () => {
  const early = await authority.issue({ commonName: 'early thing', from: ago(-10), to: ago(-400) });
  await patient.configure(to(await tlsBroker(), { certificate: early.certFile, privateKey: early.keyFile }));
  const day = ago(-10).toISOString().slice(0, 10);
  const report = await patient.examined();
  expectCause(
    report,
    'clock',
    new RegExp(`before the client certificate was issued \\(${day}\\)`),
    /timedatectl/,
  );
  expect(finding(report, 'client certificate')).toMatchObject({
    result: 'fail',
    detail: matching(new RegExp(`\\(CN=early thing\\) is not valid before ${day}, and the clock says`)),
  });
});

test('the private key belongs to another certificate', async () => {
  await patient.configure(to(await tlsBroker(), { privateKey: server.keyFile }));
  expectCause(
    await patient.examined(),
    'client certificate',
    /does not belong to the certificate/,
    /connection\.privateKey/,
  );
});

test('the certificate is missing, or no PEM; the key is everybody’s', async () => {
  await patient.configure(to(await tlsBroker(), { certificate: '/nowhere/thing.pem' }));
  expectCause(
    await patient.examined(),
    'client certificate',
    /cannot read \/nowhere\/thing\.pem/,
    /readable by the agent/,
  );
  const junk = join(patient.root, 'junk.pem');
  await writeFile(junk, 'DER, perhaps');
  await patient.configure(to(await tlsBroker(), { certificate: junk }));
  expectCause(await patient.examined(), 'client certificate', /no certificate in PEM/, /BEGIN CERTIFICATE/);
  const open = join(patient.root, 'open.key');
  await writeFile(open, client.key, { mode: 0o644 });
  await patient.configure(to(await tlsBroker(), { privateKey: open }));
  expect(finding(await patient.examined(), 'private key')).toMatchObject({
    result: 'warn',
    fix: matching(/chmod 0600/),
  });
});

test('a credential of systemd outside of its unit', async () => {
  await patient.configure(to(await tlsBroker(), { certificate: 'credential:thing' }));
  expectCause(await patient.examined(), 'client certificate', /CREDENTIALS_DIRECTORY/, /LoadCredential=/);
});

test('the broker does not know the authority of the client certificate', async () => {
  const foreign = await stranger.issue({ commonName: 'thing' });
  const url = await tlsBroker({ requestCert: true, rejectUnauthorized: true });
  await patient.configure(to(url, { certificate: foreign.certFile, privateKey: foreign.keyFile }));
  expectCause(await patient.examined(), 'CONNECT', /client certificate|hung up/, /describe-certificate/);
});

test('a proxy that refuses, that wants a password, that is not there, and one that lets through', async () => {
  const url = await tlsBroker();
  const proxy = async (answer: string): Promise<string> =>
    `http://127.0.0.1:${await listen(
      createServer((socket) => void socket.once('data', () => socket.end(answer))),
      patient,
    )}`;
  await patient.configure(to(url, { proxy: await proxy('HTTP/1.1 403 Forbidden\r\n\r\n') }));
  expectCause(
    await patient.examined(),
    'proxy',
    /the proxy refuses the tunnel.*403 Forbidden/,
    /allow CONNECT/,
  );
  await patient.configure(
    to(url, { proxy: await proxy('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n') }),
  );
  expectCause(await patient.examined(), 'proxy', /wants a user name/, /USER:PASSWORD/);
  await patient.configure(to(url, { proxy: await proxy('SSH-2.0-OpenSSH\r\n\r\n') }));
  expectCause(await patient.examined(), 'proxy', /no HTTP/, /connection\.proxy/);
  await patient.configure(to(url, { proxy: 'http://127.0.0.1:1' }));
  expectCause(
    await patient.examined(),
    'proxy',
    /the proxy does not answer.*ECONNREFUSED/,
    /connection\.proxy/,
  );
});

test('exit codes and the table of the program', async () => {
  const evenkeel = (...args: string[]) =>
    promisify(execFile)(process.execPath, [MAIN, 'doctor', ...args]).catch(
      (error: unknown) => error as { code: number; stdout: string; stderr: string },
    );
  expect(await evenkeel('--config', '/nowhere')).toMatchObject({
    code: 2,
    stdout: '',
    stderr: 'cannot read /nowhere\n',
  });
  await patient.configure({ connection: { url: 'mqtt://127.0.0.1:1' } });
  const { code, stdout } = (await evenkeel('--config', patient.config)) as { code: number; stdout: string };
  expect(code).toBe(1);
  expect(stdout).toMatch(/^ {2}✗ TCP +127\.0\.0\.1:1: ECONNREFUSED/m);
  expect(stdout).toMatch(/^ +→ correct connection\.url/m);
  expect(stdout).toMatch(/TCP is where it fails$/m);
  expect(stdout).not.toContain('\u001b');
});
