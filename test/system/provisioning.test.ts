import { X509Certificate } from 'node:crypto';
import { lstat, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Fault } from '../../src/simulator/faults.ts';
import type { Simulator } from '../../src/simulator/index.ts';
import { thingArn } from '../../src/simulator/service/jobs-service.ts';
import type { TraceEntry } from '../../src/simulator/trace.ts';
import {
  atEveryWrite,
  BOAT_TEMPLATE,
  type Boat,
  createBoat,
  IDLE_TEMPLATE,
  startHarbour,
} from '../support/provisioning.ts';
import { until } from '../support/until.ts';
import { smallDocument } from './small-job.ts';

/** Fleet provisioning by the real agent, with mutual TLS: from a claim to a finished job, and SIGKILL at every point. */

const TEST_MS = 120_000;
const PRIVATE_KEY = /PRIVATE KEY/;

let cloud: Simulator;
beforeAll(async () => {
  cloud = await startHarbour();
});
afterAll(() => cloud.close());

const boats: Boat[] = [];
afterEach(async () => {
  cloud.faults.clear();
  cloud.switches.set({ ownershipToken: 'untilItExpires' });
  for (const { device } of boats.splice(0)) {
    await device.stop('SIGTERM');
    await device.remove();
  }
});

async function boat(settings: Record<string, object> = {}): Promise<Boat> {
  const made = await createBoat(cloud, settings);
  boats.push(made);
  return made;
}

async function connected({ isConnected, device }: Boat): Promise<void> {
  await until('the device to be connected', isConnected, 60_000, 100).catch((error: unknown) => {
    throw new Error(`${(error as Error).message}\n${device.log().slice(-4000)}`);
  });
}

const isProven = async ({ given }: Boat): Promise<boolean> => given()?.proven === true;

const statusOf = (id: string | undefined): string | undefined =>
  cloud.provisioning.certificates().find(({ certificateId }) => certificateId === id)?.status;

/** The certificates that were registered for the thing. */
const certificatesOf = ({ thing }: Boat) =>
  cloud.provisioning.certificates().filter((one) => one.thing === thing);

/** What devices said, since then. */
function said(since: number): string[] {
  return cloud.trace
    .since(since)
    .flatMap((event) => (event.kind === 'message' && event.direction === 'in' ? [event.payload] : []));
}

const lastSequence = (): number => cloud.trace.since(0).at(-1)?.sequence ?? 0;

test('from nothing but a claim to a finished job; the key never leaves the device', {
  timeout: TEST_MS,
}, async () => {
  const one = await boat();
  const { device, thing, given } = one;
  const before = lastSequence();
  await device.start();
  await connected(one);
  const { certificate, privateKey, thingName, proven } = given() ?? {};
  expect({ thingName, proven }).toEqual({ thingName: thing, proven: true });
  expect(certificatesOf(one).map(({ status }) => status)).toEqual(['ACTIVE']);
  expect((await lstat(privateKey ?? '')).mode & 0o777).toBe(0o600);
  expect((await lstat(join(certificate ?? '', '..'))).mode & 0o777).toBe(0o700);
  const key = await readFile(privateKey ?? '', 'utf8');
  expect(said(before).length).toBeGreaterThan(2);
  const secret = key.split('\n')[1] ?? '';
  for (const text of said(before)) {
    expect(text).not.toMatch(PRIVATE_KEY);
    expect(text).not.toContain(secret);
  }
  expect(device.log()).not.toMatch(PRIVATE_KEY);
  expect(new X509Certificate(await readFile(certificate ?? '')).subject).toBe('CN=unnamed');

  const document = JSON.stringify(smallDocument(device));
  cloud.service.createJob({ jobId: `job-${thing}`, targets: [thingArn(thing)], document });
  await until('the job', () => cloud.service.execution(thing, `job-${thing}`, 1).status === 'SUCCEEDED');

  // The claim is not looked at again.
  await device.stop('SIGTERM');
  await writeFile(join(device.root, 'claim.crt'), 'gone');
  await device.start();
  await connected(one);
});

test('CreateKeysAndCertificate, where the configuration wants it', { timeout: TEST_MS }, async () => {
  const one = await boat({ provisioning: { keys: 'cloud' } });
  await one.device.start();
  await connected(one);
  expect(certificatesOf(one)).toHaveLength(1);
});

/** How long until it is killed at the next point, at most. */
const WRITES_MAX = 40;
const WRITES_MIN = 12;

test('SIGKILL behind every change on disk: the next life ends with a credential that works', {
  timeout: 480_000,
}, async () => {
  const claim = await cloud.provisioning.issueClaim('boats');
  const before = lastSequence();
  const killed = await atEveryWrite(WRITES_MAX, async (write) => {
    const one = await createBoat(cloud, {}, claim);
    boats.push(one);
    const there = await one.device.startUntilWrite('credentials', write, () => isProven(one));
    await one.device.stop('SIGTERM');
    await one.device.start();
    await connected(one);
    expect({ write, proven: await isProven(one) }).toEqual({ write, proven: true });
    // Nothing of earlier attempts is left on the device, and one thing was made of it.
    expect((await readdir(join(one.device.root, 'state', 'credentials'))).sort()).toEqual([
      'claimed',
      'current',
    ]);
    expect(certificatesOf(one).length).toBeGreaterThanOrEqual(1);
    await one.device.stop('SIGTERM');
    await one.device.remove();
    boats.splice(boats.indexOf(one), 1);
    return there;
  });
  expect(said(before).some((text) => PRIVATE_KEY.test(text))).toBe(false);
  expect(killed).toBeGreaterThanOrEqual(WRITES_MIN);
  expect(killed).toBeLessThan(WRITES_MAX);
});

describe('SIGKILL around each request', () => {
  const OPERATIONS = ['createCertificateFromCsr', 'registerThing'] as const;
  const POINTS = OPERATIONS.flatMap((operation) =>
    (['request', 'answer'] as const).flatMap((at) =>
      (['untilItExpires', 'once'] as const).map((ownershipToken) => ({ operation, at, ownershipToken })),
    ),
  );
  test.each(POINTS)(
    'of the $operation, at its $at, where a token serves $ownershipToken',
    { timeout: TEST_MS },
    async ({ operation, at, ownershipToken }) => {
      cloud.switches.set({ ownershipToken });
      const one = await boat();
      let killed: Promise<unknown> | undefined;
      const kill = (request: { operation: string }): Fault => {
        if (request.operation !== operation || killed) return { kind: 'process' };
        killed = one.device.stop('SIGKILL');
        // What arrives when nobody is there any more.
        return { kind: at === 'request' ? 'process' : 'drop' };
      };
      const unhook = at === 'request' ? cloud.faults.onRequest(kill) : cloud.faults.onAnswer(kill);
      await one.device.start();
      await until('the kill', () => killed !== undefined, 40_000);
      await killed;
      await one.device.start();
      await connected(one);
      unhook();
      expect(await isProven(one)).toBe(true);
      expect(statusOf(one.given()?.certificateId)).toBe('ACTIVE');
    },
  );
});

test('throttled, lost and refused for a while: it goes on asking', { timeout: TEST_MS }, async () => {
  cloud.faults.add([
    { on: 'request', action: 'reject', operation: 'createCertificateFromCsr', code: 'Throttled', count: 2 },
    { on: 'answer', action: 'drop', operation: 'registerThing', count: 1 },
    { on: 'request', action: 'reject', operation: 'registerThing', code: 'InternalError', skip: 1, count: 1 },
  ]);
  const one = await boat();
  await one.device.start();
  await connected(one);
  expect(certificatesOf(one)).toHaveLength(1);
  expect(cloud.faults.rules().map(({ acted }) => acted)).toEqual([2, 1, 1]);
});

test('a token that has expired: another certificate is asked for', { timeout: TEST_MS }, async () => {
  const code = 'InvalidCertificateOwnershipToken';
  cloud.faults.add([{ on: 'request', action: 'reject', operation: 'registerThing', code, count: 1 }]);
  const one = await boat();
  const before = lastSequence();
  await one.device.start();
  await connected(one);
  expect(said(before).filter((text) => text.includes('certificateSigningRequest'))).toHaveLength(2);
});

test('refused by the template until somebody mends it', { timeout: TEST_MS }, async () => {
  const one = await boat({ provisioning: { parameters: {}, connectWaitSeconds: 1 } });
  await one.device.start();
  await until('a refusal', () => one.device.log().includes('InvalidParameters'), 40_000);
  expect(one.given()).toBeUndefined();
  const Parameters = { ...BOAT_TEMPLATE.Parameters, SerialNumber: { Type: 'String', Default: one.serial } };
  cloud.provisioning.putTemplate('boats', { ...BOAT_TEMPLATE, Parameters });
  await connected(one);
  cloud.provisioning.putTemplate('boats', BOAT_TEMPLATE);
});

test('a new certificate that is not let in: the claim is asked again', { timeout: TEST_MS }, async () => {
  cloud.provisioning.putTemplate('boats', IDLE_TEMPLATE);
  const one = await boat({ provisioning: { connectWaitSeconds: 2 } });
  await one.device.start();
  await until('a refused one', () => one.device.log().includes('and the new one is not'), 60_000);
  expect(await isProven(one)).toBe(false);
  cloud.provisioning.putTemplate('boats', BOAT_TEMPLATE);
  await connected(one);
  expect(statusOf(one.given()?.certificateId)).toBe('ACTIVE');
  const connects = (event: TraceEntry): boolean => event.kind === 'connect' && event.client === one.thing;
  expect(cloud.trace.since(0).some(connects)).toBe(true);
});
