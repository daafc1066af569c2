import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { connectAsync, type MqttClient } from 'mqtt';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Simulator, startSimulator, VirtualClock } from '../../src/simulator/index.ts';
import { BOAT_TEMPLATE } from '../support/provisioning.ts';

/** Fleet provisioning as a device without our code sees it: mqtt.js, openssl, and mutual TLS. */

const CSR = '$aws/certificates/create-from-csr/json';
const KEYS = '$aws/certificates/create/json';
const PROVISION = '$aws/provisioning-templates/boats/provision/json';

let clock: VirtualClock;
let cloud: Simulator;
let directory: string;
let csr: string;
let key: string;
const clients: MqttClient[] = [];

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'evenkeel-csr-'));
  const file = join(directory, 'key.pem');
  const { stdout } = await promisify(execFile)('openssl', [
    ...['req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
    ...['-keyout', file, '-subj', '/CN=boat'],
  ]);
  csr = stdout;
  key = await readFile(file, 'utf8');
});
afterAll(() => rm(directory, { recursive: true, force: true }));

beforeEach(async () => {
  clock = new VirtualClock();
  cloud = await startSimulator({ clock, tls: true });
  cloud.provisioning.putTemplate('boats', BOAT_TEMPLATE);
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.end(true);
  await cloud.close();
});

async function connected(pair: { cert: string; key: string }, clientId: string): Promise<MqttClient> {
  const ca = await readFile(cloud.caFile ?? '', 'utf8');
  const options = { ...pair, ca, clientId, protocolVersion: 4, reconnectPeriod: 0 } as const;
  const client = await connectAsync(cloud.mqttsUrl ?? '', options, false);
  client.on('error', () => undefined);
  clients.push(client);
  return client;
}

interface Answered {
  verdict: string;
  body: Record<string, unknown>;
}

async function ask(client: MqttClient, topic: string, body: object | undefined): Promise<Answered> {
  await client.subscribeAsync([`${topic}/accepted`, `${topic}/rejected`], { qos: 1 });
  const answer = new Promise<Answered>((resolve) => {
    const heard = (from: string, payload: Buffer): void => {
      if (!from.startsWith(`${topic}/`)) return;
      client.off('message', heard);
      resolve({
        verdict: from.slice(topic.length + 1),
        body: JSON.parse(payload.toString()) as Answered['body'],
      });
    };
    client.on('message', heard);
  });
  await client.publishAsync(topic, body === undefined ? '' : JSON.stringify(body), { qos: 1 });
  return await answer;
}

async function claimed(): Promise<MqttClient> {
  return await connected(await cloud.provisioning.issueClaim('boats'), 'claim-1');
}

async function made(client: MqttClient): Promise<{ cert: string; id: string; token: string }> {
  const { verdict, body } = await ask(client, CSR, { certificateSigningRequest: csr });
  expect(verdict).toBe('accepted');
  return {
    cert: String(body['certificatePem']),
    id: String(body['certificateId']),
    token: String(body['certificateOwnershipToken']),
  };
}

const register = (client: MqttClient, token: string, serial?: string): Promise<Answered> =>
  ask(client, PROVISION, {
    certificateOwnershipToken: token,
    parameters: serial === undefined ? {} : { SerialNumber: serial },
  });

test('from a CSR to a thing whose certificate is let in, and nobody is before RegisterThing', async () => {
  const claim = await claimed();
  const { cert, id, token } = await made(claim);
  expect(new X509Certificate(cert).subject).toBe('CN=boat');
  expect(id).toMatch(/^[0-9a-f]{64}$/);
  await expect(connected({ cert, key }, 'boat-1')).rejects.toThrow();
  expect(await register(claim, token, '1')).toEqual({
    verdict: 'accepted',
    body: { thingName: 'boat-1', deviceConfiguration: { harbour: 'Kiel' } },
  });
  const boat = await connected({ cert, key }, 'boat-1');
  expect(boat.connected).toBe(true);
  expect(cloud.service.things()).toContain('boat-1');
});

test('CreateKeysAndCertificate gives the key, too', async () => {
  const claim = await claimed();
  const { body } = await ask(claim, KEYS, undefined);
  const pair = { cert: String(body['certificatePem']), key: String(body['privateKey']) };
  await register(claim, String(body['certificateOwnershipToken']), '2');
  expect((await connected(pair, 'boat-2')).connected).toBe(true);
});

test('a token ends after an hour, and the certificate that nobody registered with it', async () => {
  const claim = await claimed();
  const { id, token } = await made(claim);
  await clock.advance(3_600_000);
  expect(await register(claim, token, '1')).toMatchObject({
    verdict: 'rejected',
    body: { statusCode: 400, errorCode: 'InvalidCertificateOwnershipToken' },
  });
  expect(cloud.provisioning.certificates().map(({ certificateId }) => certificateId)).not.toContain(id);
});

test('a token serves once where that is wanted', async () => {
  cloud.switches.set({ ownershipToken: 'once' });
  const claim = await claimed();
  const { token } = await made(claim);
  expect((await register(claim, token, '1')).verdict).toBe('accepted');
  expect((await register(claim, token, '1')).verdict).toBe('rejected');
});

describe('refuses', () => {
  test.each([
    ['no CSR', CSR, { certificateSigningRequest: 'x' }, 'InvalidCertificateSigningRequest'],
    ['no token', PROVISION, { parameters: {} }, 'InvalidCertificateOwnershipToken'],
    ['a strange token', PROVISION, { certificateOwnershipToken: 'x' }, 'InvalidCertificateOwnershipToken'],
  ])('%s', async (_, topic, body, errorCode) => {
    const claim = await claimed();
    expect(await ask(claim, topic, body)).toMatchObject({ verdict: 'rejected', body: { errorCode } });
  });

  test('a CSR that its key has not signed', async () => {
    const claim = await claimed();
    const lines = csr.split('\n');
    const body = Buffer.from(lines.slice(1, -2).join(''), 'base64');
    body[body.length - 1] = (body.at(-1) ?? 0) ^ 1;
    const forged = [lines[0], body.toString('base64'), lines.at(-2), ''].join('\n');
    expect(await ask(claim, CSR, { certificateSigningRequest: forged })).toMatchObject({
      verdict: 'rejected',
    });
  });

  test('a missing parameter of the template', async () => {
    const claim = await claimed();
    const { token } = await made(claim);
    expect(await register(claim, token)).toMatchObject({
      body: {
        errorCode: 'InvalidParameters',
        errorMessage: expect.stringContaining('SerialNumber') as string,
      },
    });
  });
});

test('faults: throttled on purpose', async () => {
  cloud.faults.add([
    { on: 'request', action: 'reject', operation: 'registerThing', code: 'Throttled', count: 1 },
  ]);
  const claim = await claimed();
  const { token } = await made(claim);
  expect(await register(claim, token, '1')).toMatchObject({
    body: { statusCode: 429, errorCode: 'Throttled' },
  });
  expect((await register(claim, token, '1')).verdict).toBe('accepted');
});

test('a claim may ask for a certificate by its template, and do nothing else', async () => {
  const claim = await claimed();
  const granted = await claim
    .subscribeAsync('$aws/things/boat-1/jobs/notify', { qos: 1 })
    .catch(() => 'refused');
  expect(granted).toBe('refused');
  const closed = new Promise<void>((resolve) => claim.once('close', () => resolve()));
  claim.publish('$aws/things/boat-1/jobs/get', '{}', { qos: 1 }, () => undefined);
  await closed;
});

test.each(['INACTIVE', 'REVOKED'] as const)(
  '%s: whoever is connected is sent away, and not let in',
  async (status) => {
    const claim = await claimed();
    const { cert, id, token } = await made(claim);
    await register(claim, token, '1');
    const boat = await connected({ cert, key }, 'boat-1');
    const closed = new Promise<void>((resolve) => boat.once('close', () => resolve()));
    const path = `${cloud.httpUrl}/_simulator/certificates/${id}`;
    const set = (to: string): Promise<Response> =>
      fetch(path, { method: 'PATCH', body: JSON.stringify({ status: to }) });
    expect((await set(status)).status).toBe(200);
    await closed;
    await expect(connected({ cert, key }, 'boat-1')).rejects.toThrow();
    await set('ACTIVE');
    expect((await connected({ cert, key }, 'boat-1')).connected).toBe(true);
    expect((await set('LOST')).status).toBe(400);
  },
);

test('over HTTP: a template, and a claim by it', async () => {
  const at = `${cloud.httpUrl}/_simulator/provisioning-templates/ships`;
  const put = (body: object): Promise<Response> => fetch(at, { method: 'PUT', body: JSON.stringify(body) });
  expect((await put({ Resources: {} })).status).toBe(400);
  expect((await put(BOAT_TEMPLATE)).status).toBe(200);
  const claim = await fetch(`${at}/claim`, { method: 'POST' });
  expect(claim.status).toBe(201);
  const { certificatePem, keyPair } = (await claim.json()) as {
    certificatePem: string;
    keyPair: { PrivateKey: string };
  };
  expect((await connected({ cert: certificatePem, key: keyPair.PrivateKey }, 'claim')).connected).toBe(true);
  expect((await fetch(`${at}x/claim`, { method: 'POST' })).status).toBe(400);
});

test('an answer goes to who has subscribed to it', async () => {
  const claim = await claimed();
  await claim.publishAsync(CSR, JSON.stringify({ certificateSigningRequest: csr }), { qos: 1 });
  // The next one is answered, so the first would have been by now.
  await made(claim);
  const answers = cloud.trace
    .since(0)
    .filter((event) => event.kind === 'message' && event.direction === 'out');
  expect(answers).toHaveLength(1);
});
