import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Receipt } from '../../src/receipts/receipt.ts';
import type { Fault } from '../../src/simulator/faults.ts';
import type { Simulator } from '../../src/simulator/index.ts';
import { thingArn } from '../../src/simulator/service/jobs-service.ts';
import { executionsIn } from '../support/journals.ts';
import {
  atEveryWrite,
  BOAT_TEMPLATE,
  type Boat,
  createBoat,
  IDLE_TEMPLATE,
  provisionByHand,
  startHarbour,
} from '../support/provisioning.ts';
import { until } from '../support/until.ts';

/** A job that gives the device another certificate: committed, cancelled, refused, and SIGKILL at every point. */

const TEST_MS = 180_000;
const WAIT_MS = 60_000;
/** Many of them look at once. */
const LOOK_MS = 100;

const TEMPLATES = ['rotate', 'rotate-idle'] as const;
type Template = (typeof TEMPLATES)[number];

let cloud: Simulator;
let claim: { cert: string; key: string };
beforeAll(async () => {
  cloud = await startHarbour();
  cloud.provisioning.putTemplate('rotate', BOAT_TEMPLATE);
  cloud.provisioning.putTemplate('rotate-idle', IDLE_TEMPLATE);
  claim = await cloud.provisioning.issueClaim('boats');
});
afterAll(() => cloud.close());

const boats: Boat[] = [];
const unhooks: (() => void)[] = [];
afterEach(async () => {
  for (const unhook of unhooks.splice(0)) unhook();
  for (const { device } of boats.splice(0)) {
    await device.stop('SIGTERM');
    await device.remove();
  }
});

/** A device that is provisioned, and the certificate that it has. */
async function provisioned(rotationTemplate: Template = 'rotate') {
  const settings = {
    provisioning: { rotationTemplate },
    // With the idle one every wait for the link is in vain.
    ...(rotationTemplate === 'rotate'
      ? { commit: { linkWaitSeconds: 120, askWaitSeconds: 2 } }
      : {
          commit: { linkWaitSeconds: 3, askWaitSeconds: 2 },
          jobs: { requestTimeoutSeconds: 1, queueRetrySeconds: 1 },
        }),
  };
  const boat = await createBoat(cloud, settings, claim);
  boats.push(boat);
  await provisionByHand(cloud, boat);
  const old = boat.given();
  if (!old) throw new Error('there is no certificate');
  return { boat, old };
}

/** The same, with its agent up. */
async function connected(...how: Parameters<typeof provisioned>) {
  const one = await provisioned(...how);
  await one.boat.device.start();
  await until('the device to be connected', one.boat.isConnected, WAIT_MS, LOOK_MS);
  return one;
}

function createJob({ thing, device }: Boat): void {
  const steps = [
    { action: { name: 'certificate', type: 'rotateCertificate', input: {} } },
    {
      action: {
        name: 'mark',
        type: 'writeFile',
        input: { path: device.path('etc/app.conf'), content: 'new\n' },
      },
    },
  ];
  const document = JSON.stringify({ version: '1.0', steps });
  cloud.service.createJob({ jobId: `job-${thing}`, targets: [thingArn(thing)], document });
}

const statusOf = ({ thing }: Boat): string => cloud.service.execution(thing, `job-${thing}`, 1).status;

/** What the cloud has made for the thing. */
const certificatesOf = ({ thing }: Boat) =>
  cloud.provisioning.certificates().filter((one) => one.thing === thing);

async function isClosed({ device }: Boat): Promise<boolean> {
  const all = await executionsIn(join(device.root, 'state'));
  return all.length > 0 && all.every(({ phase }) => phase === 'closed');
}

async function closed(boat: Boat): Promise<void> {
  await until('the journal to be closed', () => isClosed(boat), WAIT_MS, LOOK_MS).catch((error: unknown) => {
    throw new Error(`${(error as Error).message}\n${boat.device.log().slice(-4000)}`);
  });
}

function receiptOf({ thing }: Boat): Receipt | undefined {
  const shadow = cloud.shadows.get(thing, 'evenkeel');
  return (shadow?.state as { reported?: { receipt?: Receipt } } | undefined)?.reported?.receipt;
}

/** What is on the device's disk besides the link. */
async function credentialsOf({ device }: Boat): Promise<string[]> {
  const names = await readdir(join(device.root, 'state', 'credentials'));
  return names.filter((name) => name !== 'current').sort();
}

async function expectOld(boat: Boat, old: { certificateId: string }): Promise<void> {
  await closed(boat);
  await until('the old certificate to be connected', boat.isConnected, WAIT_MS, LOOK_MS);
  expect(boat.given()?.certificateId).toBe(old.certificateId);
  expect(await credentialsOf(boat)).toEqual(['claimed']);
  expect(await readFile(boat.device.path('etc/app.conf'), 'utf8')).toBe('version = 1\n');
}

async function expectNew(boat: Boat, old: { certificateId: string }): Promise<void> {
  await closed(boat);
  await until('the new certificate to be connected', boat.isConnected, WAIT_MS, LOOK_MS);
  const { certificateId, name } = boat.given() ?? {};
  expect(certificateId).not.toBe(old.certificateId);
  expect(await credentialsOf(boat)).toEqual([name]);
  expect(await readFile(boat.device.path('etc/app.conf'), 'utf8')).toBe('new\n');
}

test('committed: the new one is proved before the vote, the old one is gone after it', {
  timeout: TEST_MS,
}, async () => {
  const { boat, old } = await connected();
  const seen: (string | undefined)[] = [];
  unhooks.push(
    cloud.faults.onRequest(({ operation, body }) => {
      // The vote comes over a connection that was made with the new certificate.
      if (operation === 'update' && body['status'] === 'SUCCEEDED')
        seen.push(
          cloud.trace.since(0).findLast((event) => event.kind === 'connect' && event.client === boat.thing) &&
            'connected',
        );
      return { kind: 'process' };
    }),
  );
  const before = cloud.trace.since(0).at(-1)?.sequence ?? 0;
  createJob(boat);
  await until('SUCCEEDED', () => statusOf(boat) === 'SUCCEEDED', WAIT_MS);
  await expectNew(boat, old);
  expect(seen.length).toBeGreaterThan(0);
  const connects = cloud.trace
    .since(before)
    .filter((event) => event.kind === 'connect' && event.client === boat.thing);
  expect(connects).toHaveLength(1);
  const said = cloud.trace
    .since(before)
    .flatMap((event) => (event.kind === 'message' ? [event.payload] : []));
  expect(said.some((text) => text.includes('PRIVATE KEY'))).toBe(false);
  // The old one may be taken out of use now.
  cloud.provisioning.setStatus(old.certificateId, 'INACTIVE');
  await boat.device.stop('SIGTERM');
  await boat.device.start();
  await until('the device to be connected', boat.isConnected, WAIT_MS);
});

test('cancelled by force while the certificate is asked for: the old one stays', {
  timeout: TEST_MS,
}, async () => {
  const { boat, old } = await connected();
  const hook = ({ operation }: { operation: string }): Fault => {
    if (operation !== 'registerThing') return { kind: 'process' };
    if (statusOf(boat) === 'IN_PROGRESS')
      cloud.service.cancelExecution(boat.thing, `job-${boat.thing}`, { force: true });
    return { kind: 'drop' };
  };
  unhooks.push(cloud.faults.onAnswer(hook));
  createJob(boat);
  await until('CANCELED', () => statusOf(boat) === 'CANCELED', WAIT_MS);
  await expectOld(boat, old);
  const [leftover] = certificatesOf(boat).filter(({ certificateId }) => certificateId !== old.certificateId);
  expect(leftover?.status).toBe('ACTIVE');
  // The answer to RegisterThing was lost, so the device cannot know.
  const keptAs = 'in the cloud, perhaps registered';
  expect(await until('a receipt', () => receiptOf(boat))).toMatchObject({
    deviceState: 'old',
    verified: true,
    kept: [{ id: `certificate:${leftover?.certificateId}`, keptAs }],
  });
});

test('cancelled by force when the new one is connected: back to the old one', {
  timeout: TEST_MS,
}, async () => {
  const { boat, old } = await connected();
  const hook = ({ operation, body }: { operation: string; body: Record<string, unknown> }): Fault => {
    if (operation !== 'update' || body['status'] !== 'SUCCEEDED') return { kind: 'process' };
    if (statusOf(boat) === 'IN_PROGRESS')
      cloud.service.cancelExecution(boat.thing, `job-${boat.thing}`, { force: true });
    return { kind: 'process' };
  };
  unhooks.push(cloud.faults.onRequest(hook));
  createJob(boat);
  await until('CANCELED', () => statusOf(boat) === 'CANCELED', WAIT_MS);
  await expectOld(boat, old);
  const [leftover] = certificatesOf(boat).filter(({ certificateId }) => certificateId !== old.certificateId);
  expect(leftover?.status).toBe('ACTIVE');
  expect(await until('a receipt', () => receiptOf(boat))).toMatchObject({
    kept: [{ id: `certificate:${leftover?.certificateId}`, keptAs: 'registered in the cloud' }],
  });
});

test('a new certificate that is not let in: back to the old one, and the report says why', {
  timeout: TEST_MS,
}, async () => {
  const { boat, old } = await connected('rotate-idle');
  createJob(boat);
  await until('FAILED', () => statusOf(boat) === 'FAILED', WAIT_MS);
  await expectOld(boat, old);
  const { statusDetails } = cloud.service.execution(boat.thing, `job-${boat.thing}`, 1);
  expect(statusDetails).toMatchObject({ outcome: 'rolledBack', deviceState: 'old', verified: 'true' });
  const [leftover] = certificatesOf(boat).filter(({ certificateId }) => certificateId !== old.certificateId);
  expect(statusDetails?.['kept']).toBe(`certificate:${leftover?.certificateId} registered in the cloud`);
  expect(statusDetails?.['reason']).toMatch(/no link to the cloud: .*cannot connect to/);
});

test('a device without a rotation template says so, and does nothing', { timeout: TEST_MS }, async () => {
  const boat = await createBoat(cloud, {}, claim);
  boats.push(boat);
  await boat.device.start();
  await until('the device to be connected', boat.isConnected, WAIT_MS);
  createJob(boat);
  await until('REJECTED', () => statusOf(boat) === 'REJECTED', WAIT_MS);
});

/** Changes below the directory of the credentials, those of the provisioning not among them: it is done by then. */
const WRITES_MAX = 40;
const WRITES_MIN = 9;

describe.each(TEMPLATES)('SIGKILL behind every change on disk, by the template %s', (template) => {
  test('ends with a certificate that is let in', { timeout: 400_000 }, async () => {
    const killed = await atEveryWrite(WRITES_MAX, async (write) => {
      const { boat, old } = await provisioned(template);
      createJob(boat);
      const isOver = (): Promise<boolean> =>
        Promise.resolve(['SUCCEEDED', 'FAILED'].includes(statusOf(boat)));
      const there = await boat.device.startUntilWrite('credentials', write, () => isClosed(boat));
      await boat.device.stop('SIGTERM');
      await boat.device.start();
      await until('an end', isOver, WAIT_MS, LOOK_MS);
      if (template === 'rotate' && statusOf(boat) === 'SUCCEEDED') await expectNew(boat, old);
      else await expectOld(boat, old);
      if (template === 'rotate-idle') expect(statusOf(boat)).toBe('FAILED');
      await boat.device.stop('SIGTERM');
      await boat.device.remove();
      boats.splice(boats.indexOf(boat), 1);
      return there;
    });
    expect(killed).toBeGreaterThanOrEqual(WRITES_MIN);
    expect(killed).toBeLessThan(WRITES_MAX);
  });
});
