import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { DeviceRequest } from '../../src/simulator/device/device-plane.ts';
import type { Simulator } from '../../src/simulator/index.ts';
import { type Switches, TERMINAL } from '../../src/simulator/service/types.ts';
import { startTestCloud } from '../support/cloud.ts';
import { until } from '../support/until.ts';
import { createLane, type Lane, testClock } from './lane.ts';
import { CASE_MS, NOTICED, PHASES, playCase } from './table.ts';

/**
 * Every answer that AWS IoT Jobs may give about an execution that it has ended (design section 5), in every phase: the
 * device ends as I2 says, whatever the words. I7, I8; E3-E9, E13, E14.
 */

interface Variant {
  switches?: Partial<Switches>;
  /** What the device can know of the end; by default that it was cancelled. */
  told?: string;
  /** What becomes of a request about an execution that has ended; `asked` counts them, from 0. */
  fault?(
    request: DeviceRequest,
    asked: number,
  ): { kind: 'process' } | { kind: 'drop' } | { kind: 'reject'; code: string };
  /** Whether `fault` is for requests about open executions too. */
  always?: true;
}

const firstTimes = (count: number, fault: { kind: 'drop' } | { kind: 'reject'; code: string }): Variant => ({
  fault: (_, asked) => (asked < count ? fault : { kind: 'process' }),
});

const VARIANTS: Record<string, Variant> = {
  'InvalidStateTransition without a state': {
    switches: { terminalCarriesState: false },
    told: 'unknown',
  },
  'VersionMismatch with the terminal state': { switches: { terminalBeforeVersion: false } },
  'VersionMismatch with the state, and InvalidStateTransition without': {
    switches: { terminalBeforeVersion: false, terminalCarriesState: false },
  },
  TerminalStateReached: {
    told: 'unknown',
    fault: () => ({ kind: 'reject', code: 'TerminalStateReached' }),
  },
  'ResourceNotFound, though it was cancelled': {
    told: 'deleted',
    fault: () => ({ kind: 'reject', code: 'ResourceNotFound' }),
  },
  'RequestThrottled, three times first': firstTimes(3, { kind: 'reject', code: 'RequestThrottled' }),
  'InternalError, three times first': firstTimes(3, { kind: 'reject', code: 'InternalError' }),
  'a code that nobody knows, three times first': firstTimes(3, { kind: 'reject', code: 'TooManyMoons' }),
  'no answer, twice first': firstTimes(2, { kind: 'drop' }),
  'InvalidRequest to any but the least details': {
    always: true,
    fault: (request) =>
      isDetailed(request) ? { kind: 'reject', code: 'InvalidRequest' } : { kind: 'process' },
  },
};

function isDetailed({ operation, body }: DeviceRequest): boolean {
  const least = ['phase', 'outcome', 'code'];
  return (
    operation === 'update' && Object.keys(body['statusDetails'] ?? {}).some((key) => !least.includes(key))
  );
}

/** One place in each phase. */
const PLACES = Object.entries(PHASES).map(([phase, places]) => ({
  phase,
  place: places[Math.floor(places.length / 2)]!,
  fails: phase === 'rolling back',
}));

const clock = testClock();
const simulators: Simulator[] = [];
afterAll(async () => {
  for (const simulator of simulators) await simulator.close();
});

async function cloudWith(switches: Partial<Switches> | undefined): Promise<Simulator> {
  const simulator = await startTestCloud({ clock, ...(switches && { switches }) });
  simulators.push(simulator);
  return simulator;
}

function install({ simulator, device }: Lane, { fault, always }: Variant): void {
  const asked = new Map<string, number>();
  if (!fault) return;
  simulator.faults.onRequest((request) => {
    const { thing, target, operation } = request;
    if (thing !== device.thing || !['describe', 'update'].includes(operation) || target === '$next')
      return { kind: 'process' };
    if (!always && !hasEnded(simulator, thing, target)) return { kind: 'process' };
    const before = asked.get(target) ?? 0;
    asked.set(target, before + 1);
    return fault(request, before);
  });
}

function hasEnded(simulator: Simulator, thing: string, jobId: string): boolean {
  return simulator.service.executions({ thing, jobId }).every(({ status }) => TERMINAL.includes(status));
}

describe.concurrent.each(Object.entries(VARIANTS))('%s', (_name, variant) => {
  test('every phase', { timeout: PLACES.length * CASE_MS }, async () => {
    const lane = await createLane(await cloudWith(variant.switches), clock);
    try {
      install(lane, variant);
      for (const [index, { place, fails }] of PLACES.entries()) {
        await playCase(lane, {
          place,
          fails,
          noticed: NOTICED[index % NOTICED.length]!,
          end: 'cancelled by force',
          ...(variant.told !== undefined && { told: variant.told }),
        });
      }
    } finally {
      await lane.end();
    }
  });
});

describe('what is no evidence leads to no rollback (I7)', () => {
  let lane: Lane;
  beforeAll(async () => {
    lane = await createLane(await cloudWith(undefined), clock, {
      jobs: { requestTimeoutSeconds: 0.4, queueRetrySeconds: 1, heartbeatSeconds: 1 },
    });
    lane.agent.start();
  });
  afterAll(() => lane.end());

  const faulty = (fault: { kind: 'drop' } | { kind: 'reject'; code: string }) => (jobId: string) => {
    let left = 4;
    lane.simulator.faults.onRequest(({ target }) => {
      if (target !== jobId || left === 0) return { kind: 'process' };
      left -= 1;
      return fault;
    });
  };
  const names = (jobId: string) => {
    const { simulator, device } = lane;
    return simulator.service.described(simulator.service.execution(device.thing, jobId), true);
  };

  const CASES: Record<string, (jobId: string) => unknown> = {
    silence: faulty({ kind: 'drop' }),
    throttling: faulty({ kind: 'reject', code: 'RequestThrottled' }),
    'a fault of the service': faulty({ kind: 'reject', code: 'InternalError' }),
    'a notify in which the job is missing': () => lane.publish('notify', { timestamp: 1, jobs: {} }),
    'a notify that names another job first': (jobId) =>
      lane.publish('notify', {
        timestamp: 1,
        jobs: { IN_PROGRESS: [{ ...names(jobId), jobId: 'another' }], QUEUED: [] },
      }),
    'a dropped link': () => lane.simulator.disconnect(lane.device.thing),
    'notify-next that names the running job again': (jobId) =>
      lane.publish('notify-next', { timestamp: 1, execution: names(jobId) }),
    'notify-next without an execution': () => lane.publish('notify-next', { timestamp: 1 }),
    'notify-next that cannot be read': () => lane.publish('notify-next', { execution: 'no' }),
    'an update by a stranger, whose version is adopted': (jobId) => {
      const { simulator, device } = lane;
      const update = { status: 'IN_PROGRESS' as const, statusDetails: { by: 'a-stranger' } };
      simulator.service.update(device.thing, jobId, update);
      simulator.service.update(device.thing, jobId, update);
    },
  };

  test.each(Object.entries(CASES))('%s', { timeout: CASE_MS }, async (_name, act) => {
    const jobId = await lane.next();
    await lane.agent.arm('attempt 3', 'pause', '');
    const there = lane.agent.reached();
    lane.createJob(jobId, lane.document(false));
    await there;
    await act(jobId);
    lane.agent.release();
    const story = await until('the job to end', async () =>
      (await lane.stories(jobId)).find(({ progress }) => progress.phase === 'closed'),
    );
    const { status } = lane.simulator.service.execution(lane.device.thing, jobId);
    const types = story.records.map(({ type }) => type);
    expect({ status, types }).toMatchObject({
      status: 'SUCCEEDED',
      types: expect.not.arrayContaining(['aborted', 'undo']) as unknown,
    });
    expect(lane.receipts).toEqual([]);
  });
});

test('with the least details a job still succeeds, and the cloud has them', {
  timeout: CASE_MS,
}, async () => {
  const lane = await createLane(await cloudWith(undefined), clock);
  try {
    install(lane, VARIANTS['InvalidRequest to any but the least details']!);
    lane.agent.start();
    const jobId = await lane.next();
    lane.createJob(jobId, lane.document(false));
    const execution = await until('the job to succeed', () => {
      const found = lane.simulator.service.execution(lane.device.thing, jobId);
      return found.status === 'SUCCEEDED' ? found : undefined;
    });
    expect(execution.statusDetails).toEqual({ outcome: 'committed' });
  } finally {
    await lane.end();
  }
});
