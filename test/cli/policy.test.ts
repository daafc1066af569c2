import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import {
  claimUses,
  iotPolicy,
  POLICY_CHARS_MAX,
  type PolicyDocument,
  policyFor,
  regionOf,
} from '../../src/cli/policy.ts';
import { systemClock } from '../../src/host/clock.ts';
import { type Simulator, startSimulator } from '../../src/simulator/index.ts';
import { thingArn } from '../../src/simulator/service/jobs-service.ts';
import { createDevice, type Device, startSite, updateDocument } from '../support/device.ts';
import { createBoat, startHarbour } from '../support/provisioning.ts';
import { until } from '../support/until.ts';

/** The policy that is printed is what the agent uses: enough, and nothing of it is idle. */

const TEST_MS = 90_000;
const MAIN = new URL('../../dist/cli/main.js', import.meta.url).pathname;
const PLACE = { region: 'eu-west-1', account: '123456789012' };
const RECEIPTS = 'fleet/receipts';

/** As AWS IoT reads a policy: `*` is any text, and everything else is itself (A22). */
function allows({ Statement }: PolicyDocument, action: string, kind: string, name: string): boolean {
  const arn = `arn:aws:iot:eu-west-1:123456789012:${kind}/${name}`;
  return Statement.some(
    ({ Action, Resource }) =>
      Action === action && [Resource].flat().some((pattern) => isMatch(String(pattern), arn)),
  );
}

function isMatch(pattern: string, text: string): boolean {
  const parts = pattern.split('*').map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`).test(text);
}

interface Use {
  action: string;
  kind: string;
  name: string;
}

/** Everything that the agent did at the broker, as a policy sees it. */
function usesIn(simulator: Simulator, isMeant: (client: string) => boolean): Use[] {
  return simulator.trace.since(0).flatMap((entry): Use[] => {
    if (!('client' in entry) || !isMeant(entry.client ?? '')) return [];
    switch (entry.kind) {
      case 'connect':
        return [{ action: 'iot:Connect', kind: 'client', name: entry.client }];
      case 'subscribe':
        return entry.filters.map(({ filter }) => ({
          action: 'iot:Subscribe',
          kind: 'topicfilter',
          name: filter,
        }));
      case 'message':
        return [
          {
            action: entry.direction === 'in' ? 'iot:Publish' : 'iot:Receive',
            kind: 'topic',
            name: entry.topic,
          },
        ];
      default:
        return [];
    }
  });
}

/** A life with a job that succeeds, one that is cancelled, and its receipts. */
async function lifeOf(device: Device, simulator: Simulator): Promise<void> {
  const site = await startSite();
  simulator.service.createThing(device.thing);
  const createJob = (jobId: string, seconds: number): void => {
    const document = JSON.stringify(updateDocument(device, site, seconds));
    simulator.service.createJob({ jobId, targets: [thingArn(device.thing)], document });
  };
  try {
    await device.start();
    await until('the link', () => device.log().includes('transport.up'));
    createJob('succeeds', 0.1);
    const statusOf = (jobId: string) => simulator.service.execution(device.thing, jobId).status;
    await until('the job to succeed', () => statusOf('succeeds') === 'SUCCEEDED');
    createJob('cancelled', 60);
    await until('the job to run', () => statusOf('cancelled') === 'IN_PROGRESS');
    simulator.service.cancelExecution(device.thing, 'cancelled', { force: true });
    simulator.disconnect(device.thing);
    await until('its receipt', () => device.log().includes('receipt delivered'));
  } finally {
    await device.stop('SIGTERM');
    await site.close();
  }
}

/** It allows all of them, and without any part of it one of them is denied. */
function expectLeast(policy: PolicyDocument, uses: readonly Use[]): void {
  const denied = (of: PolicyDocument): Use[] =>
    uses.filter(({ action, kind, name }) => !allows(of, action, kind, name));
  expect(denied(policy)).toEqual([]);
  for (const statement of policy.Statement) {
    const without = policy.Statement.filter((one) => one !== statement);
    expect(denied({ ...policy, Statement: without }), statement.Action).not.toEqual([]);
    for (const resource of [statement.Resource].flat()) {
      const rest = [statement.Resource].flat().filter((one) => one !== resource);
      const less = { ...policy, Statement: [...without, { ...statement, Resource: rest }] };
      expect(denied(less), `${statement.Action} ${resource}`).not.toEqual([]);
    }
  }
}

test('a life of the agent is covered by the policy, and no resource in it is idle', {
  timeout: TEST_MS,
}, async () => {
  const simulator = await startSimulator({ clock: systemClock });
  const device = await createDevice('policy-thing', simulator.mqttUrl, { receipts: { topic: RECEIPTS } });
  try {
    await lifeOf(device, simulator);
    // A request that only an agent with a repair to look for sends.
    const uses = [
      ...usesIn(simulator, (client) => client === device.thing),
      { action: 'iot:Publish', kind: 'topic', name: `$aws/things/${device.thing}/jobs/get` },
      { action: 'iot:Receive', kind: 'topic', name: `$aws/things/${device.thing}/jobs/get/accepted` },
    ];
    const config = { thing: device.thing, connection: {}, receipts: { shadow: true, topic: RECEIPTS } };
    const policy = iotPolicy(config, PLACE);
    const denied = (of: PolicyDocument): Use[] =>
      uses.filter(({ action, kind, name }) => !allows(of, action, kind, name));
    expect(uses.length).toBeGreaterThan(20);
    expectLeast(policy, uses);
    const others = iotPolicy({ ...config, thing: 'another-thing' }, PLACE);
    expect(denied(others).map(({ name }) => name)).not.toContain(RECEIPTS);
    expect(denied(others).length).toBe(uses.filter(({ name }) => name !== RECEIPTS).length);
  } finally {
    await device.remove();
    await simulator.close();
  }
});

test.each(['device', 'cloud'] as const)(
  'what a device does with its claim is covered by the policy of the claim, with the keys of the %s',
  { timeout: TEST_MS },
  async (keys) => {
    const simulator = await startHarbour();
    const boat = await createBoat(simulator, { provisioning: { keys } });
    try {
      await boat.device.start();
      await until('the device to be connected', boat.isConnected, 60_000);
      await boat.device.stop('SIGTERM');
      const uses = usesIn(simulator, (client) => client !== boat.thing);
      expect(uses.length).toBeGreaterThanOrEqual(7);
      expectLeast(policyFor(claimUses('boats', keys), PLACE), uses);
    } finally {
      await boat.device.stop('SIGTERM');
      await boat.device.remove();
      await simulator.close();
    }
  },
);

test('what is printed: the policy on stdout, what is missing in it on stderr', async () => {
  const device = await createDevice('boat-1', 'mqtts://a1b2c3-ats.iot.eu-west-1.amazonaws.com:8883');
  const evenkeel = (...args: string[]) =>
    promisify(execFile)(process.execPath, [MAIN, 'policy', '--config', device.config, ...args]);
  try {
    const plain = await evenkeel();
    expect(plain.stdout).toContain('arn:aws:iot:eu-west-1:ACCOUNT:client/boat-1');
    expect(plain.stderr).toMatch(/^put your account/);
    const whole = await evenkeel('--account', '123456789012', '--region', 'cn-north-1');
    expect(whole.stderr).toBe('');
    expect(whole.stdout).toContain('arn:aws-cn:iot:cn-north-1:123456789012:client/boat-1');
    const fleet = await evenkeel('--fleet', '--account', '123456789012');
    expect(fleet.stdout).toContain('topic/$aws/things/${iot:Connection.Thing.ThingName}/jobs/get"');
    expect(fleet.stdout).not.toContain('boat-1');
    expect(fleet.stderr).toBe('');
    await expect(evenkeel('--claim')).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('provisioning.template is not set') as string,
    });
    await device.configure({ provisioning: { template: 'boats' } });
    const claim = await evenkeel('--claim', '--account', '123456789012');
    expect(JSON.parse(claim.stdout)).toEqual(policyFor(claimUses('boats', 'device'), PLACE));
    expect(claim.stdout).toContain('arn:aws:iot:eu-west-1:123456789012:client/evenkeel-claim-*');
    expect(claim.stderr).toBe('');
    await expect(evenkeel('--account', '12')).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('12 digits') as string,
    });
  } finally {
    await device.remove();
  }
});

test('a policy has room: with a name of 40 characters it is within what AWS takes', () => {
  const uses = { thing: 'x'.repeat(40), connection: {}, receipts: { shadow: true, topic: 'fleet/receipts' } };
  const chars = JSON.stringify(iotPolicy(uses, PLACE)).length;
  expect(chars).toBeLessThanOrEqual(POLICY_CHARS_MAX);
});

test.each([
  ['mqtts://a1b2c3-ats.iot.eu-west-1.amazonaws.com:8883', 'eu-west-1'],
  ['mqtts://a1b2c3.ats.iot.cn-north-1.amazonaws.com.cn:443', 'cn-north-1'],
  ['mqtt://127.0.0.1:1883', undefined],
  ['mqtts://iot.eu-west-1.amazonaws.com.evil.example', undefined],
])('the region in %s is %s', (url, region) => {
  expect(regionOf(url)).toBe(region);
});
