import { X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { Agent, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as tlsConnect } from 'node:tls';
import * as iotApi from '@aws-sdk/client-iot';
import * as jobsApi from '@aws-sdk/client-iot-jobs-data-plane';
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { startSimulator } from '../../src/cli/simulator.ts';
import type { Simulator, SimulatorOptions } from '../../src/simulator/index.ts';
import { createAuthority } from '../support/certificates.ts';
import { until } from '../support/until.ts';
import { CREDENTIALS, thingArn } from './http/clients.ts';

/** TLS and mutual TLS, as clients that believe nobody see them. */

let directory: string;
const simulators: Simulator[] = [];
const clients: MqttClient[] = [];
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'simulator-tls-'));
});
afterEach(async () => {
  for (const client of clients.splice(0)) await client.endAsync(true);
  for (const simulator of simulators.splice(0)) await simulator.close();
  await rm(directory, { recursive: true });
});

async function start(options: Partial<SimulatorOptions> = {}): Promise<Simulator> {
  const simulator = await startSimulator({ tls: { directory }, ...options });
  simulators.push(simulator);
  return simulator;
}

const caOf = ({ caFile = '' }: Simulator): Promise<string> => readFile(caFile, 'utf8');

async function device(simulator: Simulator, options: IClientOptions): Promise<MqttClient> {
  const ca = await caOf(simulator);
  const client = await connectAsync(
    simulator.mqttsUrl ?? '',
    { ca, protocolVersion: 4, reconnectPeriod: 0, ...options },
    false,
  );
  client.on('error', () => undefined);
  clients.push(client);
  return client;
}

/** The certificate that a listener shows, to who trusts this authority. */
async function shownAt(url: string, ca: string): Promise<X509Certificate> {
  const { hostname, port } = new URL(url);
  return await new Promise((resolve, reject) => {
    const socket = tlsConnect({ host: hostname, port: Number(port), ca }, () => {
      const shown = socket.getPeerX509Certificate();
      socket.destroy();
      if (shown) resolve(shown);
      else reject(new Error('no certificate was shown'));
    });
    socket.once('error', reject);
  });
}

describe('devices', () => {
  test('a thing with its certificate is known by the name in it, and works its job off', async () => {
    const simulator = await start();
    simulator.service.createThing('boat');
    simulator.service.createJob({ jobId: 'j', targets: [thingArn('boat')], document: '{}' });
    const { cert, key } = await simulator.issueCertificate('boat');
    const client = await device(simulator, { clientId: 'boat', cert, key });
    expect(simulator.trace.since(0)).toContainEqual(
      expect.objectContaining({ kind: 'connect', client: 'boat', secure: true, commonName: 'boat' }),
    );
    const answer = new Promise<string>((resolve) => client.on('message', resolve));
    await client.publishAsync('$aws/things/boat/jobs/start-next', '{}', { qos: 1 });
    expect(await answer).toBe('$aws/things/boat/jobs/start-next/accepted');
    expect(simulator.service.execution('boat', 'j').status).toBe('IN_PROGRESS');
  });

  test('the listener is trusted through its CA alone, and plain MQTT is no way into it', async () => {
    const simulator = await start();
    const other = await createAuthority(directory, 'Somebody else');
    await expect(device(simulator, { ca: other.ca })).rejects.toThrow(/certificate/);
    await expect(shownAt(simulator.mqttsUrl ?? '', other.ca)).rejects.toThrow(/certificate/);
    expect((await shownAt(simulator.mqttsUrl ?? '', await caOf(simulator))).checkHost('localhost')).toBe(
      'localhost',
    );
    const plain = (simulator.mqttsUrl ?? '').replace('mqtts:', 'mqtt:');
    await expect(connectAsync(plain, { connectTimeout: 5000, reconnectPeriod: 0 }, false)).rejects.toThrow();
    // It serves on.
    expect((await device(simulator, { clientId: 'after' })).connected).toBe(true);
  });

  test('where a certificate is required nobody comes in without one of the right authority', async () => {
    const simulator = await start({ tls: { directory, requireCertificate: true } });
    const other = await createAuthority(directory, 'Somebody else');
    const foreign = await other.issue({ commonName: 'boat' });
    await expect(device(simulator, { clientId: 'without' })).rejects.toThrow();
    await expect(device(simulator, { clientId: 'foreign', ...pairOf(foreign) })).rejects.toThrow();
    const { cert, key } = await simulator.issueCertificate('boat');
    expect((await device(simulator, { clientId: 'boat', cert, key })).connected).toBe(true);
    const connects = simulator.trace.since(0).filter(({ kind }) => kind === 'connect');
    expect(connects).toMatchObject([{ client: 'boat' }]);
  });

  test('where none is required, one of another authority is refused all the same', async () => {
    const simulator = await start();
    const other = await createAuthority(directory, 'Somebody else');
    const foreign = await other.issue({ commonName: 'boat' });
    await expect(device(simulator, { clientId: 'foreign', ...pairOf(foreign) })).rejects.toThrow();
    expect((await device(simulator, { clientId: 'without' })).connected).toBe(true);
    expect(simulator.trace.since(0).filter(({ kind }) => kind === 'connect')).toMatchObject([
      { client: 'without', secure: true },
    ]);
  });

  test('a policy by the name in the certificate, whatever the client id says', async () => {
    const simulator = await start();
    const stranger = await simulator.issueCertificate('stranger');
    const boat = await simulator.issueCertificate('boat');
    simulator.faults.add([
      { on: 'connect', action: 'deny', commonName: 'stranger' },
      { on: 'publish', action: 'deny', commonName: 'boat', topic: '$aws/things/ship/#' },
    ]);
    await expect(device(simulator, { clientId: 'boat', ...pairOf(stranger) })).rejects.toThrow();
    const client = await device(simulator, { clientId: 'any', ...pairOf(boat) });
    await client.publishAsync('$aws/things/boat/jobs/get', '{}', { qos: 1 });
    const ended = new Promise<void>((resolve) => client.once('close', () => resolve()));
    client.publish('$aws/things/ship/jobs/get', '{}', { qos: 1 }, () => undefined);
    await ended;
    expect(
      simulator.trace.since(0).flatMap((one) => (one.kind === 'disconnect' ? [one.reason] : [])),
    ).toEqual([expect.stringContaining('the policy denies to publish')]);
  });
});

const pairOf = ({ cert, key }: { cert: string; key: string }): { cert: string; key: string } => ({
  cert,
  key,
});

test('the AWS SDK runs a job over HTTPS, and trusts nobody but the CA', async () => {
  const simulator = await start();
  const config = (ca?: string) => ({
    endpoint: simulator.httpsUrl ?? '',
    region: 'us-east-1',
    credentials: CREDENTIALS,
    maxAttempts: 1,
    requestHandler: { httpsAgent: new Agent(ca === undefined ? {} : { ca }) },
  });
  const ca = await caOf(simulator);
  const [iot, data, distrustful] = [
    new iotApi.IoTClient(config(ca)),
    new jobsApi.IoTJobsDataPlaneClient(config(ca)),
    new iotApi.IoTClient(config()),
  ];
  await expect(distrustful.send(new iotApi.ListThingsCommand({}))).rejects.toThrow(/certificate/);
  await iot.send(new iotApi.CreateThingCommand({ thingName: 'boat' }));
  await iot.send(new iotApi.CreateJobCommand({ jobId: 'j', targets: [thingArn('boat')], document: '{}' }));
  const { execution } = await data.send(
    new jobsApi.StartNextPendingJobExecutionCommand({ thingName: 'boat' }),
  );
  expect(execution).toMatchObject({ jobId: 'j', status: 'IN_PROGRESS', versionNumber: 2 });
  await iot.send(new iotApi.CancelJobExecutionCommand({ jobId: 'j', thingName: 'boat', force: true }));
  await expect(
    data.send(new jobsApi.UpdateJobExecutionCommand({ jobId: 'j', thingName: 'boat', status: 'SUCCEEDED' })),
  ).rejects.toBeInstanceOf(jobsApi.InvalidStateTransitionException);
  for (const client of [iot, data, distrustful]) client.destroy();
});

describe('certificates', () => {
  const ids = async (simulator: Simulator): Promise<string[]> => [
    new X509Certificate(await caOf(simulator)).fingerprint256,
    (await shownAt(simulator.mqttsUrl ?? '', await caOf(simulator))).fingerprint256,
    (await shownAt(simulator.httpsUrl ?? '', await caOf(simulator))).fingerprint256,
    new X509Certificate((await simulator.issueCertificate('boat')).cert).fingerprint256,
  ];

  test('are made on first use, by owner alone readable, and are the same ones after a restart', async () => {
    const first = await start();
    const made = await ids(first);
    const { certFile, keyFile } = await first.issueCertificate('boat');
    expect(new X509Certificate(await readFile(certFile)).subject).toBe('CN=boat');
    for (const file of [keyFile, join(directory, 'ca.key'), join(directory, 'server.key')])
      expect((await stat(file)).mode & 0o777, file).toBe(0o600);
    await first.close();
    expect(await ids(await start())).toEqual(made);
  });

  test('as a library with a data directory they are kept in it, and without one for the run alone', async () => {
    const kept = { tls: true, dataDirectory: join(directory, 'data') };
    const first = await start(kept);
    expect(first.caFile).toBe(join(directory, 'data', 'tls', 'ca.crt'));
    const made = await ids(first);
    await first.close();
    const second = await start(kept);
    expect(await ids(second)).toEqual(made);
    await second.close();
    const passing = await start({ tls: true });
    const file = passing.caFile ?? '';
    expect((await ids(passing))[0]).not.toBe(made[0]);
    await passing.close();
    await expect(stat(file)).rejects.toThrow('ENOENT');
  });

  test('a name that would leave the directory is refused; without tls there are none', async () => {
    const simulator = await start();
    await expect(simulator.issueCertificate('../boat')).rejects.toThrow('cannot issue a certificate');
    const plain = await start({ tls: false });
    expect(plain.mqttsUrl).toBeUndefined();
    await expect(plain.issueCertificate('boat')).rejects.toThrow('started without tls');
  });

  test('POST /_simulator/certificates/THING gives the same one as a file and as text', async () => {
    const simulator = await start();
    const url = new URL('/_simulator/certificates/boat', simulator.httpsUrl);
    const ca = await caOf(simulator);
    const text = await new Promise<string>((resolve, reject) => {
      const sent = request(url, { method: 'POST', ca }, (answer) => {
        let all = '';
        answer.on('data', (chunk: Buffer) => {
          all += chunk.toString();
        });
        answer.on('end', () => resolve(`${answer.statusCode} ${all}`));
      });
      sent.on('error', reject);
      sent.end();
    });
    expect(text.slice(0, 3)).toBe('201');
    const { cert, key, certFile } = await simulator.issueCertificate('boat');
    expect(JSON.parse(text.slice(4))).toMatchObject({
      certificatePem: cert,
      keyPair: { PrivateKey: key },
      certFile,
    });
  });
});

test('await using ends a simulator: its ports, its connections and its temporary files', async () => {
  let mqttUrl: string;
  let caFile: string;
  let client: MqttClient;
  {
    await using simulator = await startSimulator({ tls: true });
    ({ mqttUrl, caFile = '' } = simulator);
    client = await connectAsync(mqttUrl, { protocolVersion: 4, reconnectPeriod: 0 });
    client.on('error', () => undefined);
    expect((await stat(caFile)).isFile()).toBe(true);
  }
  await until('the end of the connection', () => !client.connected);
  await expect(stat(caFile)).rejects.toThrow('ENOENT');
  await expect(connectAsync(mqttUrl, { reconnectPeriod: 0 }, false)).rejects.toThrow('ECONNREFUSED');
});
