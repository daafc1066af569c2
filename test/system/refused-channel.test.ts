import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Simulator } from '../../src/simulator/index.ts';
import { startTestCloud } from '../support/cloud.ts';
import { until } from '../support/until.ts';
import { createLane, testClock } from './lane.ts';

/** A thing whose policy forbids the receipts' shadow: the broker hangs up on each receipt (T7), and jobs run on. */

const TEST_MS = 60_000;
const MAIN = new URL('../../dist/cli/main.js', import.meta.url).pathname;

const clock = testClock();
let simulator: Simulator;
beforeAll(async () => {
  simulator = await startTestCloud({ clock });
});
afterAll(() => simulator.close());

test('after two receipts that ended the link there is no third, also after a restart; status tells', {
  timeout: TEST_MS,
}, async () => {
  const lane = await createLane(simulator, clock);
  const { device, agent } = lane;
  const evenkeel = async (...args: string[]): Promise<string> =>
    (await promisify(execFile)(process.execPath, [MAIN, ...args, '--config', device.config])).stdout;
  const succeeds = async (): Promise<void> => {
    const jobId = await lane.next();
    lane.createJob(jobId, lane.document(false));
    await until(
      'the job to succeed',
      () => simulator.service.execution(device.thing, jobId).status === 'SUCCEEDED',
    );
  };
  try {
    const before = (await evenkeel('status', '--json').catch((error: unknown) => error)) as {
      stdout: string;
    };
    // No agent runs yet, and the exit code says so.
    expect(JSON.parse(before.stdout)).toMatchObject({ jobs: [], refusedChannels: {} });
    simulator.faults.onRequest(({ thing, operation }) => {
      if (thing !== device.thing || operation !== 'shadowUpdate') return { kind: 'process' };
      simulator.disconnect(thing);
      return { kind: 'drop' };
    });
    agent.start();
    const cancelled = await lane.next();
    await agent.arm('attempt 2', 'pause', '');
    const there = agent.reached();
    lane.createJob(cancelled, lane.document(false));
    await there;
    simulator.service.cancelExecution(device.thing, cancelled, { force: true });
    agent.release();
    await until('the mark', () => agent.log().includes('the channel refuses receipts'));
    expect(lane.receipts).toHaveLength(2);

    await succeeds();
    await agent.stop();
    agent.start();
    await succeeds();
    simulator.disconnect(device.thing);
    await succeeds();
    // The hook sees a receipt before it hangs up: these are all that were ever sent.
    expect(lane.receipts).toHaveLength(2);

    const topic = `$aws/things/${device.thing}/shadow/name/evenkeel/update`;
    expect(JSON.parse(await evenkeel('status', '--json'))).toMatchObject({
      refusedChannels: { shadow: { topic } },
    });
    expect(await evenkeel('status')).toContain(`receipts the shadow channel (${topic}) is refused since `);
  } finally {
    await lane.end();
  }
});
