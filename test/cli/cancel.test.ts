import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { DeviceRequest } from '../../src/simulator/device/device-plane.ts';
import type { Simulator } from '../../src/simulator/index.ts';
import { thingArn } from '../../src/simulator/service/jobs-service.ts';
import { startTestCloud } from '../support/cloud.ts';
import { asked, type, typed } from '../support/command.ts';
import { until } from '../support/until.ts';
import {
  cloudStatus,
  createSmallJob,
  deviceState,
  jobOf,
  type Stage,
  settled,
  smallDocument,
  stage,
} from '../system/small-job.ts';

/**
 * `evenkeel cancel`, with the real agent: before the vote the device takes the job back by itself; after it the cloud
 * is the judge (design section 4), whoever was first.
 */

const TEST_MS = 90_000;
const NOT_MADE = 'var/made.txt';

let simulator: Simulator;
let scene: Stage;
const ends: (() => void)[] = [];
beforeAll(async () => {
  simulator = await startTestCloud();
});
afterAll(() => simulator.close());
beforeEach(async () => {
  scene = await stage(simulator);
});
afterEach(async () => {
  for (const end of ends.splice(0)) end();
  await scene.device.stop('SIGTERM');
  await scene.device.remove();
});

const details = () => simulator.service.execution(scene.device.thing, jobOf(scene), 1).statusDetails;

async function isInLastStep(): Promise<void> {
  await until('the last step', async () =>
    (await scene.device.files()).some((line) => line.startsWith(NOT_MADE)),
  );
}

test('before the vote: undone, compared, FAILED with localCancel and the reason', {
  timeout: TEST_MS,
}, async () => {
  await scene.device.start();
  createSmallJob(scene, 'sleep 600');
  await isInLastStep();
  const other = await typed(scene.device, 'cancel', 'another-job');
  expect(other).toMatchObject({ code: 1, stdout: '' });
  expect(other.stderr).toContain(`another-job does not run here; ${jobOf(scene)}#1 does`);
  expect(cloudStatus(scene)).toBe('IN_PROGRESS');

  const { code, stdout } = await typed(scene.device, 'cancel', jobOf(scene), '--reason', 'the wrong boat');
  expect({ code, stdout }).toEqual({
    code: 0,
    stdout: expect.stringMatching(/is cancelled: .*FAILED.*\n.*is rolled back \(the wrong boat\)/) as string,
  });
  await settled(scene);
  expect(await deviceState(scene)).toBe('old');
  expect(cloudStatus(scene)).toBe('FAILED');
  expect(details()).toMatchObject({ code: 'localCancel', reason: 'the wrong boat', outcome: 'rolledBack' });
  const none = await typed(scene.device, 'cancel');
  expect(none).toMatchObject({ code: 1, stderr: expect.stringContaining('no job runs here') as string });
});

test('without a link it is rolled back all the same; the cloud hears of it later', {
  timeout: TEST_MS,
}, async () => {
  await scene.device.start();
  createSmallJob(scene, 'sleep 600');
  await isInLastStep();
  let isCut = true;
  ends.push(simulator.faults.onRequest(() => (isCut ? { kind: 'disconnect' } : { kind: 'process' })));
  const { code, said } = await asked(scene.device, 'cancel', '--no-wait');
  expect({ code, said }).toMatchObject({ code: 0, said: { how: 'rollsBack', jobId: jobOf(scene) } });
  // Its before-images stay until it is closed.
  await until('the device to be old', async () => {
    const now = await scene.device.files();
    return scene.old.every((line) => now.includes(line)) && !now.some((line) => line.startsWith(NOT_MADE));
  });
  expect(cloudStatus(scene)).toBe('IN_PROGRESS');
  isCut = false;
  await settled(scene);
  expect(cloudStatus(scene)).toBe('FAILED');
});

/** Loses the vote on its way, or the answer to it, until `heal`; whatever else is said passes where it may. */
function votes(lose: 'vote' | 'answer' | 'voteAndLater'): { seen(): boolean; heal(): void } {
  let seen = false;
  let healed = false;
  const isVote = ({ target, body }: DeviceRequest): boolean =>
    target === jobOf(scene) && body['status'] === 'SUCCEEDED';
  const isLost = (request: DeviceRequest): boolean => {
    if (isVote(request)) seen = true;
    return !healed && (isVote(request) || (seen && lose === 'voteAndLater'));
  };
  if (lose === 'answer') {
    ends.push(
      simulator.faults.onAnswer((request) => ({
        // Nothing that the agent asks afterwards is answered either: only the cancel can bring it on.
        kind: isLost(request) || (seen && !healed) ? 'drop' : 'process',
      })),
    );
  } else {
    ends.push(simulator.faults.onRequest((request) => ({ kind: isLost(request) ? 'drop' : 'process' })));
  }
  return {
    seen: () => seen,
    heal: () => {
      healed = true;
    },
  };
}

test('after the vote, and the cancel is first: withdrawn by an accepted update, then undone', {
  timeout: TEST_MS,
}, async () => {
  await scene.device.start();
  const vote = votes('vote');
  createSmallJob(scene);
  await until('the vote', () => vote.seen());
  const before = simulator.service.execution(scene.device.thing, jobOf(scene), 1).versionNumber;
  const { code, said } = await asked(scene.device, 'cancel');
  expect({ code, said }).toMatchObject({
    code: 0,
    said: { how: 'withdraws', end: { outcome: 'rolledBack', verified: true, cloudStatus: 'FAILED' } },
  });
  expect(await deviceState(scene)).toBe('old');
  const { status, versionNumber } = simulator.service.execution(scene.device.thing, jobOf(scene), 1);
  // One for the update that made every copy of the vote stale, one for FAILED.
  expect({ status, moved: versionNumber - before }).toEqual({ status: 'FAILED', moved: 2 });
  expect(details()).toMatchObject({ code: 'localCancel' });
});

test('after the vote, and the vote was first: the job stands', { timeout: TEST_MS }, async () => {
  await scene.device.start();
  const vote = votes('answer');
  createSmallJob(scene);
  await until('the vote to be accepted', () => vote.seen() && cloudStatus(scene) === 'SUCCEEDED');
  const cancelling = type(scene.device, 'cancel');
  await until('its first words', () => cancelling.stdout !== '');
  vote.heal();
  const { code, stdout } = await cancelling.ended;
  expect({ code, stdout }).toEqual({
    code: 3,
    stdout: expect.stringMatching(/has voted SUCCEEDED\. .*the job stands.*\n.*has succeeded/) as string,
  });
  await settled(scene);
  expect(await deviceState(scene)).toBe('new');
  expect(cloudStatus(scene)).toBe('SUCCEEDED');
});

test('a wish to take the vote back outlives a SIGKILL, and nothing is undone before the cloud has answered', {
  timeout: TEST_MS,
}, async () => {
  await scene.device.start();
  const vote = votes('voteAndLater');
  createSmallJob(scene);
  await until('the vote', () => vote.seen());
  expect((await typed(scene.device, 'cancel', '--no-wait')).code).toBe(0);
  await scene.device.stop('SIGKILL');
  expect(await deviceState(scene)).toBe('neither');
  await scene.device.start();
  vote.heal();
  await settled(scene);
  expect(cloudStatus(scene)).toBe('FAILED');
  expect(await deviceState(scene)).toBe('old');
});

test('past a pivot it is refused, and the job is finished', { timeout: TEST_MS }, async () => {
  await scene.device.start();
  const { device } = scene;
  const document = smallDocument(device, 'sleep 3') as { steps: { action: object }[] };
  Object.assign(document.steps.at(-1)!.action, { pivot: true, idempotent: true });
  const targets = [thingArn(device.thing)];
  simulator.service.createJob({ jobId: jobOf(scene), targets, document: JSON.stringify(document) });
  await isInLastStep();
  const { code, stderr } = await typed(device, 'cancel');
  expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringContaining('its pivot') as string });
  await settled(scene);
  expect(cloudStatus(scene)).toBe('SUCCEEDED');
});

test('nobody to ask: exit code 2', async () => {
  expect(await typed(scene.device, 'cancel')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('no agent runs on') as string,
  });
});
