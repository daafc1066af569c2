import { readFile, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Simulator } from '../../src/simulator/index.ts';
import { startTestCloud } from '../support/cloud.ts';
import { until } from '../support/until.ts';
import {
  cloudStatus,
  createSmallJob,
  deviceState,
  isClosed,
  receiptOf,
  type Stage,
  settled,
  stage,
} from './small-job.ts';

/** Design section 5: an answer is evidence only from the endpoint and for the thing that the journal names. */

let simulator: Simulator;
beforeAll(async () => {
  simulator = await startTestCloud();
});
afterAll(() => simulator.close());

async function changeConfig({ device }: Stage, from: string, to: string): Promise<void> {
  const text = await readFile(device.config, 'utf8');
  expect(text).toContain(from);
  await writeFile(device.config, text.replace(from, to));
}

/** Received, started, and three times ready, attempt and done. */
const THIRD_STEP_DONE = 11;

const WAYS: [string, (scene: Stage) => Promise<void>, string][] = [
  [
    'another endpoint',
    (scene) => changeConfig(scene, '127.0.0.1', 'localhost'),
    'the job came from the endpoint 127.0.0.1',
  ],
  [
    'another thing',
    async (scene) => {
      simulator.service.createThing(`${scene.device.thing}-b`);
      await changeConfig(scene, `thing: ${scene.device.thing}`, `thing: ${scene.device.thing}-b`);
    },
    'the journal belongs to the thing ',
  ],
];

test.each(WAYS)(
  'an open journal of %s is undone without asking',
  { timeout: 60_000 },
  async (_, change, reason) => {
    const scene = await stage(simulator);
    const { device } = scene;
    createSmallJob(scene);
    await device.startUntil(THIRD_STEP_DONE, 'kill', () => isClosed(scene));
    await device.stop('SIGKILL');
    const thing = device.thing;
    await change(scene);
    await device.start();
    await settled(scene);
    expect(await deviceState(scene)).toBe('old');
    const now = (await readFile(device.config, 'utf8')).match(/^thing: (\S+)/)?.[1] ?? thing;
    const receipt = await until('the receipt', () =>
      receiptOf({ ...scene, device: { ...device, thing: now } }),
    );
    expect(receipt).toMatchObject({
      thing,
      deviceState: 'old',
      cloudStatus: 'unknown',
      cause: { kind: 'foreign', reason: expect.stringContaining(reason) },
    });
    // I6: the cloud still has it under way, and it is not run again; where it can be told so, it is.
    if (now === thing) await until('a refusal', () => cloudStatus(scene) === 'REJECTED');
    else expect(cloudStatus(scene)).toBe('IN_PROGRESS');
    await device.stop('SIGTERM');
    await device.remove();
  },
);
