import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Simulator } from '../../src/simulator/index.ts';
import { startTestCloud } from '../support/cloud.ts';
import { type Cut, type CuttingRelay, cuttingRelay, DIRECTIONS } from '../support/cutting-relay.ts';
import { TEST_TRANSPORTS, type TestTransport } from '../support/device.ts';
import { until } from '../support/until.ts';
import { createLane, type Lane, type TestClock, testClock } from './lane.ts';
import { deviceState } from './small-job.ts';
import { CASE_MS } from './table.ts';

/**
 * The link is cut behind every MQTT packet of a whole job, in each direction: closed, or swallowed for a while and then
 * closed. Cloud, device and receipt agree in the end, with a cancel in the middle of the job and without: I1, I2, I6,
 * I7, I8.
 */

const LANES = 6;
const STORIES = ['a job that is left alone', 'a job that is cancelled by force in its last step'] as const;
type StoryName = (typeof STORIES)[number];
/** Real processes that start beside each other on a busy machine. */
const START_MS = 60_000;
/** Further than any job here goes. */
const NEVER = 1_000_000;
/** Fewer would mean that the job was not seen as a whole. */
const PACKETS_MIN = 8;

let simulator: Simulator;
let clock: TestClock;
beforeAll(async () => {
  clock = testClock();
  simulator = await startTestCloud({ clock });
});
afterAll(() => simulator.close());

interface CutLane extends Lane {
  relay: CuttingRelay;
}

async function withLane<T>(transport: TestTransport, use: (lane: CutLane) => Promise<T>): Promise<T> {
  const relay = await cuttingRelay(simulator.mqttUrl);
  const lane = await createLane(simulator, clock, {
    connection: { transport, url: relay.url, spreadSeconds: 0.05 },
  });
  // A lane's properties are read anew at each look.
  const cutLane = Object.defineProperties({ relay }, Object.getOwnPropertyDescriptors(lane)) as CutLane;
  try {
    return await use(cutLane);
  } finally {
    await lane.end();
    await relay.close();
  }
}

/** Plays one job with one cut, and checks that all agree. */
async function playCut(lane: CutLane, story: StoryName, cut: Cut): Promise<void> {
  const { device, relay, agent } = lane;
  const jobId = await lane.next();
  const isCancelled = story !== STORIES[0];
  agent.start();
  // The first link of a process is not the job's.
  await until('the agent to be connected', () => agent.log().includes('transport.up'), START_MS);
  const status = (): string => simulator.service.execution(device.thing, jobId).status;
  try {
    relay.arm(cut);
    lane.createJob(jobId, isCancelled ? lane.longDocument() : lane.document(false));
    if (isCancelled) {
      await until(
        'the last step',
        async () => (await device.files()).some((line) => line.startsWith('var/made.txt')),
        CASE_MS,
      );
      simulator.service.cancelExecution(device.thing, jobId, { force: true });
    }
    await until(
      'the end of the job',
      async () => {
        const stories = await lane.stories(jobId);
        return stories.length > 0 && stories.every(({ progress }) => progress.phase === 'closed');
      },
      CASE_MS,
    );
    const seen = { status: status(), state: await deviceState(lane) };
    expect(seen).toEqual(
      isCancelled ? { status: 'CANCELED', state: 'old' } : { status: 'SUCCEEDED', state: 'new' },
    );
    // I6
    expect(await lane.stories(jobId)).toHaveLength(1);
    const receipts = (): Lane['receipts'] => lane.receipts.filter((receipt) => receipt.jobId === jobId);
    if (isCancelled) {
      const receipt = await until('the receipt', () => receipts().at(-1), CASE_MS);
      expect(receipt).toMatchObject({
        cloudStatus: 'CANCELED',
        outcome: 'rolledBack',
        deviceState: 'old',
        verified: true,
        undone: ['begin', 'configure', 'switch', 'make'],
      });
      // One whose answer was lost is sent again. The next case must not cut there: a link that ends twice behind a
      // receipt is a refusal of the channel.
      const isDelivered = (line: string): boolean =>
        line.includes(`"${jobId}"`) && line.includes('receipt delivered');
      await until('the delivery', () => agent.log().split('\n').some(isDelivered), CASE_MS);
    } else expect(receipts()).toEqual([]);
  } catch (error) {
    const place = `${story}, ${cut.kind} behind packet ${cut.after} ${cut.direction}`;
    throw new Error(`${place}: ${(error as Error).message}\n${agent.log().slice(-6000)}`, { cause: error });
  }
}

describe.each(TEST_TRANSPORTS)('%s', (transport) => {
  test('with the link cut behind every packet of a job, all agree', { timeout: 400_000 }, async () => {
    const cases: { story: StoryName; cut: Cut }[] = [];
    await withLane(transport, async (lane) => {
      for (const story of STORIES) {
        for (const warm of [true, false]) {
          await playCut(lane, story, { direction: 'toBroker', after: NEVER, kind: 'close' });
          if (warm) continue;
          for (const direction of DIRECTIONS) {
            const packets = lane.relay.counted[direction];
            expect(packets).toBeGreaterThanOrEqual(PACKETS_MIN);
            for (let after = 1; after <= packets; after += 1)
              for (const kind of ['close', 'swallow'] as const)
                cases.push({ story, cut: { direction, after, kind } });
          }
        }
      }
    });
    let struck = 0;
    const played = cases.length;
    const lanes = Array.from({ length: LANES }, () =>
      withLane(transport, async (lane) => {
        for (let one = cases.shift(); one !== undefined; one = cases.shift()) {
          await playCut(lane, one.story, one.cut);
          if (lane.relay.struck) struck += 1;
        }
      }),
    );
    await Promise.all(lanes);
    // How often the device says what it says is not the same each time, so the last ones may not come.
    expect(struck).toBeGreaterThan(played * 0.8);
  });
});
