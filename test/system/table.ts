import { expect } from 'vitest';
import { thingArn } from '../../src/simulator/service/jobs-service.ts';
import type { Story } from '../support/journals.ts';
import { until } from '../support/until.ts';
import type { Lane } from './lane.ts';
import { deviceState } from './small-job.ts';

/** The table of design section 4: where a job can be, how the cloud can end it there, and how the device hears of it. */

export const CASE_MS = 30_000;
const LOOK_MS = 50;
const STEPS = 4;
const NAMES = ['begin', 'configure', 'switch', 'make'];
const each = (type: string): string[] => Array.from({ length: STEPS }, (_, step) => `${type} ${step + 1}`);

/** Every place of the job that succeeds: its journal records, and what has no record. */
export const FORWARD = [
  'received',
  'validated',
  'surveyed',
  'recorded',
  'started',
  ...[1, 2, 3, 4].flatMap((step) => [
    `ready ${step}`,
    `attempt ${step}`,
    ...(step === STEPS ? [`process ${step}`] : []),
    `done ${step}`,
  ]),
  'verifying',
  'prepared',
  'proposed',
  'in doubt',
  'committed',
  'finished',
  'reported',
  'closed',
];

/** Places at which the cloud has had the device's own last word, and refuses to end anything. */
const OVER = ['committed', 'finished', 'reported', 'closed'];
/** Places at which the cloud still says QUEUED, so that no timer runs. */
export const QUEUED = ['received', 'validated', 'surveyed', 'recorded'];

/** Every place behind the one-way door of the job whose last step fails. */
export const BACKWARD = [
  `failed ${STEPS}`,
  'aborted',
  ...[4, 3, 2, 1].flatMap((step) => [`undo ${step}`, `undone ${step}`]),
  'settled',
  'judged',
  'reported',
  'closed',
];

/** Places at which the next thing that the device does may be its vote. */
const VOTING = [`done ${STEPS}`, 'verifying', 'prepared', 'proposed', 'in doubt'];

/** The phases of design section 4, and the places at which a job is in them. */
export const PHASES: Record<string, readonly string[]> = {
  received: ['received'],
  validated: ['validated'],
  surveyed: ['surveyed'],
  started: ['recorded', 'started'],
  ready: each('ready'),
  attempt: each('attempt'),
  done: each('done'),
  verifying: ['verifying'],
  prepared: ['prepared'],
  proposed: ['proposed'],
  'in doubt': ['in doubt'],
  'rolling back': ['aborted', ...each('undo'), ...each('undone'), 'settled', 'judged'],
};

export const NOTICED = ['while connected', 'after a reconnect', 'after a restart'] as const;
export type Noticed = (typeof NOTICED)[number];

interface End {
  /** What the cloud says of the execution afterwards. */
  told: string;
  /** What the job is made with. */
  job?: object;
  /** Throws where the cloud does not let it happen. */
  act(lane: Lane, jobId: string): void;
  /** Another execution of the same job follows. */
  successor?: 'same' | 'other';
}

const OTHER_DOCUMENT = {
  version: '1.0',
  steps: [{ action: { name: 'other', type: 'runCommand', input: { command: 'true' } } }],
};

function timeOut({ simulator, device }: Lane, jobId: string): void {
  if (simulator.service.execution(device.thing, jobId).status !== 'IN_PROGRESS')
    throw new Error('it is not in progress');
  simulator.service.timeOut(device.thing, jobId);
}

function createAgain(lane: Lane, jobId: string, document: string): void {
  lane.simulator.service.deleteJob(jobId, true);
  // The cloud tells whole seconds, and a deletion takes longer than one.
  lane.passASecond();
  lane.simulator.service.createJob({ jobId, targets: [thingArn(lane.device.thing)], document });
}

/** Every way in which the cloud can end an execution. */
export const ENDS: Record<string, End> = {
  'cancelled by force': {
    told: 'CANCELED',
    act: ({ simulator, device }, jobId) =>
      simulator.service.cancelExecution(device.thing, jobId, { force: true }),
  },
  'timed out': { told: 'TIMED_OUT', act: timeOut },
  'timed out, and tried again as the next execution': {
    told: 'TIMED_OUT',
    job: { jobExecutionsRetryConfig: { criteriaList: [{ failureType: 'TIMED_OUT', numberOfRetries: 1 }] } },
    act: timeOut,
    successor: 'same',
  },
  'removed with its thing': {
    told: 'REMOVED',
    act: ({ simulator, device }) => simulator.service.removeThing(device.thing),
  },
  'deleted by force': {
    told: 'deleted',
    act: ({ simulator }, jobId) => simulator.service.deleteJob(jobId, true),
  },
  'deleted, and created again with another document': {
    told: 'deleted',
    act: (lane, jobId) => createAgain(lane, jobId, JSON.stringify(OTHER_DOCUMENT)),
    successor: 'other',
  },
  'deleted, and created again with the same document': {
    told: 'deleted',
    act: (lane, jobId) => createAgain(lane, jobId, lane.simulator.service.job(jobId).document),
    successor: 'same',
  },
};

export interface Case {
  place: string;
  noticed: Noticed;
  end: string;
  /** The job's last step fails. */
  fails: boolean;
  /** How `cloudStatus` reads where the cloud does not say how it ended it. */
  told?: string;
}

interface Strike {
  /** The execution was open, and the cloud has ended it. */
  struck: boolean;
  status: string;
}

/** Plays one case and checks that it ends as I2 says, with a true receipt. */
export async function playCase(lane: Lane, one: Case): Promise<void> {
  const end = ENDS[one.end]!;
  const jobId = await lane.next();
  const looks = lane.looks;
  const strike = await playUntilEnded(lane, jobId, one, end);
  const first = strike.queuedAt;
  try {
    await settled(lane, jobId, one, looks);
    await checkOutcome(lane, jobId, one, strike, first);
  } catch (error) {
    const told = JSON.stringify(one);
    const records = (await lane.stories(jobId)).map((story) => story.records.map(({ type }) => type));
    throw new Error(
      `${told}: ${(error as Error).message}\n${JSON.stringify(records)}\n${lane.agent.log().slice(-6000)}`,
      {
        cause: error,
      },
    );
  } finally {
    strike.unmute();
  }
}

async function playUntilEnded(
  lane: Lane,
  jobId: string,
  { place, noticed, fails }: Case,
  end: End,
): Promise<Strike & { queuedAt: number; unmute(): void }> {
  const { agent, simulator, device } = lane;
  const restart = noticed === 'after a restart';
  let unmute = (): void => undefined;

  const strikeNow = (): Strike => {
    if (noticed === 'after a reconnect') {
      unmute = simulator.faults.onNotification(({ thing }) => ({
        kind: thing === device.thing ? 'drop' : 'process',
      }));
    }
    const status = simulator.service.execution(device.thing, jobId).status;
    let struck = status === 'QUEUED' || status === 'IN_PROGRESS';
    try {
      if (struck) end.act(lane, jobId);
    } catch {
      struck = false;
    }
    if (noticed === 'after a reconnect') simulator.disconnect(device.thing);
    return { struck, status };
  };

  agent.start();
  await agent.arm(place, restart ? 'kill' : 'pause', `done ${STEPS}`);
  const create = (): void => lane.createJob(jobId, lane.document(fails), end.job);
  let strike: Strike;
  let queuedAt: number;
  const queued = (): number => Math.floor(simulator.service.execution(device.thing, jobId, 1).queuedAt);
  if (place === 'received' || place === 'in doubt') {
    const there = reachedByMessage(lane, place, jobId);
    create();
    queuedAt = queued();
    await inTime(there, place, lane);
    if (restart) await agent.kill();
    strike = strikeNow();
  } else {
    const there = agent.reached();
    create();
    queuedAt = queued();
    await inTime(there, place, lane);
    strike = strikeNow();
    if (!restart) agent.release();
  }
  if (restart) agent.start();
  return { ...strike, queuedAt, unmute: () => unmute() };
}

/** Places that a message marks: the job on its way to the device, and the vote, which the cloud never gets. */
function reachedByMessage({ simulator, device }: Lane, place: string, jobId: string): Promise<void> {
  return new Promise((resolve) => {
    if (place === 'received') {
      const unhook = simulator.faults.onNotification(({ thing, kind, body }) => {
        const { execution } = body as { execution?: { jobId: string } };
        if (thing === device.thing && kind === 'notify-next' && execution?.jobId === jobId) {
          unhook();
          setImmediate(resolve);
        }
        return { kind: 'process' };
      });
      return;
    }
    const unhook = simulator.faults.onRequest(({ target, body }) => {
      if (target !== jobId || body['status'] !== 'SUCCEEDED') return { kind: 'process' };
      unhook();
      resolve();
      return { kind: 'drop' };
    });
  });
}

async function inTime(there: Promise<void>, place: string, { agent }: Lane): Promise<void> {
  let came = false;
  void there.then(() => {
    came = true;
  });
  await until(`the place "${place}"`, () => came).catch((error: unknown) => {
    throw new Error(`${(error as Error).message}\n${agent.log().slice(-6000)}`);
  });
}

/** Everything that the device knows of the job is closed, and the cloud waits for nothing. */
async function settled(lane: Lane, jobId: string, one: Case, looksBefore: number): Promise<void> {
  const { simulator, device } = lane;
  // So early that the device may never have heard of the job, or have lost it with its memory.
  const mayBeUnknown =
    one.place === 'received' ||
    (one.noticed === 'after a restart' && ['validated', 'surveyed'].includes(one.place));
  const isSettled = async (): Promise<boolean> => {
    if (simulator.service.pending(device.thing).length > 0) return false;
    const stories = await lane.stories(jobId);
    if (stories.length === 0 && !(mayBeUnknown && lane.looks > looksBefore)) return false;
    return stories.every(({ progress }) => progress.phase === 'closed');
  };
  await until('the end of the case', isSettled, CASE_MS, LOOK_MS);
}

async function checkOutcome(
  lane: Lane,
  jobId: string,
  one: Case,
  { struck, status }: Strike,
  queuedAt: number,
): Promise<void> {
  const end = ENDS[one.end]!;
  const stories = await lane.stories(jobId);
  const isFirst = ({ progress: { identity } }: Story): boolean =>
    identity.executionNumber === 1 && identity.queuedAt === queuedAt;
  const first = stories.find(isFirst);
  const others = stories.filter((story) => !isFirst(story));
  const state = await deviceState(lane);
  const receipts = (): Lane['receipts'] =>
    lane.receipts.filter(
      (receipt) => receipt.jobId === jobId && receipt.queuedAt === queuedAt && receipt.executionNumber === 1,
    );

  if (!struck) {
    // The device's own word was first, and the execution itself has carried it.
    expect({ state, receipts: receipts() }).toEqual({ state: one.fails ? 'old' : 'new', receipts: [] });
    const wasOpen = status === 'QUEUED' || status === 'IN_PROGRESS';
    const told = wasOpen ? lane.simulator.service.execution(lane.device.thing, jobId, 1).status : status;
    expect(told).toBe(one.fails ? 'FAILED' : 'SUCCEEDED');
    return;
  }
  if (first && !wasTakenForAnother(first, one)) {
    const receipt = await until('the receipt', () => receipts().at(-1));
    const { verdict, commit } = first.progress;
    const inDoubt = commit === 'endedInDoubt';
    if (inDoubt) {
      // Only what is lost after the vote makes a doubt, and the device may have voted while it was being lost (I2).
      expect(first.records.map(({ type }) => type)).toContain('proposed');
      expect(VOTING).toContain(one.place);
    }
    expect(receipt).toMatchObject({
      cloudStatus: one.told ?? end.told,
      outcome: inDoubt ? 'committed' : 'rolledBack',
      deviceState: inDoubt ? 'new' : 'old',
      verified: true,
      notUndone: [],
      items: [],
    });
    expect(receipt.exception).toBe(inDoubt ? 'endedInDoubt' : undefined);
    if (!inDoubt) {
      expect(verdict?.outcome).toBe('rolledBack');
      // All steps that were begun, and no other.
      const begun = first.progress.steps.filter(({ attempts }) => attempts > 0).length;
      expect(begun).toBeGreaterThanOrEqual(begunAt(one));
      expect(receipt.undone).toEqual(NAMES.slice(0, begun));
    }
    if (end.successor === undefined) expect(state).toBe(inDoubt ? 'new' : 'old');
  } else if (end.successor === undefined) {
    expect(state).toBe('old');
  }
  if (end.successor !== undefined) await checkSuccessor(lane, jobId, one, end.successor, first, others);
}

/** Before the first update: the job was replaced under its id, and that update was accepted for the new execution. */
function wasTakenForAnother({ progress }: Story, { place }: Case): boolean {
  const early = QUEUED.includes(place);
  return early && (progress.cause?.by === 'replaced' || progress.commit === 'accepted');
}

async function checkSuccessor(
  lane: Lane,
  jobId: string,
  one: Case,
  kind: 'same' | 'other',
  first: Story | undefined,
  others: readonly Story[],
): Promise<void> {
  const { status } = lane.simulator.service.execution(lane.device.thing, jobId);
  const state = await deviceState(lane);
  if (first && wasTakenForAnother(first, one)) {
    expect({ status, state }).toEqual(
      kind === 'same' && !one.fails
        ? { status: 'SUCCEEDED', state: 'new' }
        : { status: 'FAILED', state: 'old' },
    );
    return;
  }
  expect(others).toHaveLength(1);
  const doubled = first?.progress.commit === 'endedInDoubt';
  const wanted = one.fails && kind === 'same' ? 'FAILED' : 'SUCCEEDED';
  expect(status).toBe(wanted);
  if (!doubled) expect(state).toBe(kind === 'same' && !one.fails ? 'new' : 'old');
  // I3: the second began when the first was over.
  if (first) expect(others[0]!.records[0]!.at).toBeGreaterThanOrEqual(first.records.at(-1)!.at);
}

/** One place in each phase that comes before the vote is heard, the middle one. */
const AT_ONE_PLACE = Object.values(PHASES).flatMap((places) => places[Math.floor(places.length / 2)] ?? []);

/**
 * The forward places that are played. Every end comes at every place while connected, and a forced cancel does so
 * however it is noticed; for the others one place in each phase is enough then, since the device learns of all of them
 * by the same questions. What comes too late is played with one kind of end.
 */
export function forwardPlaces(end: string, noticed: Noticed): string[] {
  const isForced = end === 'cancelled by force';
  const late = isForced ? [] : OVER;
  const early = ENDS[end]?.told === 'TIMED_OUT' ? QUEUED : [];
  const played = isForced || noticed === 'while connected' ? FORWARD : AT_ONE_PLACE;
  return FORWARD.filter((place) => played.includes(place) && !late.includes(place) && !early.includes(place));
}

/** Behind the one-way door an end changes only what is reported: one kind at every record, the others at some. */
export function backwardPlaces(end: string, noticed: Noticed): string[] {
  if (end === 'cancelled by force') return BACKWARD;
  return noticed === 'while connected' ? ['aborted', 'undo 2', 'judged'] : ['undo 2'];
}

/** How many steps had been begun at a place. */
function begunAt({ place, fails }: Case): number {
  if (fails) return STEPS;
  const index = FORWARD.indexOf(place);
  return FORWARD.slice(0, index + 1).filter((one) => one.startsWith('attempt')).length;
}
