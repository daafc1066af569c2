import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Clock, systemClock } from '../../src/host/clock.ts';
import type { Simulator } from '../../src/simulator/index.ts';
import { thingArn } from '../../src/simulator/service/jobs-service.ts';
import { type ArmedAgent, armedAgent } from '../support/armed-agent.ts';
import { restoreDevice } from '../support/device.ts';
import { type Story, storiesIn } from '../support/journals.ts';
import { type SeenReceipt, type Stage, smallDocument, stage } from './small-job.ts';

/** One device with one agent that does one case of a table after the other; lanes stand beside each other. */
export interface Lane extends Stage {
  agent: ArmedAgent;
  /** Every receipt that has come in, in order. */
  receipts: readonly SeenReceipt[];
  /** How often the agent has asked for the front of its queue. */
  readonly looks: number;
  /** A new job id, and the device in its old state. */
  next(): Promise<string>;
  createJob(jobId: string, document: object, more?: object): void;
  document(fails: boolean): object;
  /** Its last step takes longer than any test. */
  longDocument(): object;
  stories(jobId: string): Promise<Story[]>;
  /** A notification as the cloud would send it, whether it is true or not. */
  publish(kind: 'notify' | 'notify-next', body: object): void;
  /** The cloud's clock stands a second later. */
  passASecond(): void;
  end(): Promise<void>;
}

const HISTORY_KEEP = 2;

/** The clock of a simulator whose seconds can be made to pass. */
export interface TestClock extends Clock {
  passASecond(): void;
}

export function testClock(): TestClock {
  let aheadMs = 0;
  return {
    ...systemClock,
    wallMs: () => systemClock.wallMs() + aheadMs,
    monotonicMs: () => systemClock.monotonicMs() + aheadMs,
    passASecond: () => {
      aheadMs += 1000;
    },
  };
}

export async function createLane(
  simulator: Simulator,
  clock: TestClock,
  settings: Record<string, object> = {},
): Promise<Lane> {
  const scene = await stage(simulator, {
    state: { historyKeep: HISTORY_KEEP },
    jobs: { requestTimeoutSeconds: 0.4, queueRetrySeconds: 1 },
    ...settings,
  });
  const { device } = scene;
  const receipts: SeenReceipt[] = [];
  let looks = 0;
  let jobs = 0;
  const unhook = simulator.faults.onRequest(({ thing, operation, target, body }) => {
    if (thing === device.thing && operation === 'describe' && target === '$next') looks += 1;
    if (thing === device.thing && operation === 'shadowUpdate') {
      const { reported } = body['state'] as { reported: { receipt: SeenReceipt } };
      receipts.push(reported.receipt);
    }
    return { kind: 'process' };
  });
  const agent = armedAgent(device.config);
  return {
    ...scene,
    agent,
    receipts,
    get looks() {
      return looks;
    },
    async next() {
      jobs += 1;
      // Some cases remove the thing; and a job that has succeeded leaves the device new.
      simulator.service.createThing(device.thing);
      await restoreDevice(device);
      return `${device.thing}-job-${jobs}`;
    },
    createJob(jobId, document, more = {}) {
      simulator.service.createJob({
        jobId,
        targets: [thingArn(device.thing)],
        document: JSON.stringify(document),
        ...more,
      });
    },
    publish: (kind, body) => simulator.publish(`$aws/things/${device.thing}/jobs/${kind}`, body),
    passASecond: () => clock.passASecond(),
    document: (fails) => smallDocument(device, fails ? 'exit 3' : 'true'),
    longDocument: () => smallDocument(device, 'sleep 300'),
    async stories(jobId) {
      const all = await storiesIn(join(device.root, 'state'));
      return all
        .filter(({ progress }) => progress.identity.jobId === jobId)
        .sort((a, b) => (a.records[0]?.at ?? 0) - (b.records[0]?.at ?? 0));
    },
    async end() {
      unhook();
      await agent.stop();
      await rm(device.root, { recursive: true, force: true });
    },
  };
}
