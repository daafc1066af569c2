import { fc } from '@fast-check/vitest';
import { describe, expect, test } from 'vitest';
import { systemClock } from '../../src/host/clock.ts';
import { VirtualClock } from '../../src/simulator/clock.ts';
import type { FaultRule, Simulator, SimulatorOptions } from '../../src/simulator/index.ts';
import { thingArn } from '../../src/simulator/service/jobs-service.ts';
import { startTestCloud } from '../support/cloud.ts';
import { until } from '../support/until.ts';
import { type Ledger, openLedger, type What } from './ledger.ts';

/**
 * Random jobs with random ends on several devices at once, under one kind of fault at a rate that hurts, until all has
 * settled: nobody disagrees, and no job has been run twice (I1-I3, I6-I8). `EVENKEEL_SEED=n` plays a run again,
 * `EVENKEEL_RUNS=n` plays n runs of each kind.
 */

const SEED = Number(process.env['EVENKEEL_SEED'] ?? Date.now() % 1_000_000);
const RUNS = Number(process.env['EVENKEEL_RUNS'] ?? 1);
const RUN_MS = 120_000;
const DEVICES = 2;
const JOBS = 6;
const RATE = 0.3;
const MINUTE_MS = 60_000;
const LOOK_MS = 200;
const DELAY_MS: [number, number] = [0, 700];

interface Kind {
  rules?: FaultRule[];
  switches?: SimulatorOptions['switches'];
  /** Done again and again while the jobs run. */
  trouble?(simulator: Simulator, thing: string): unknown;
  /** The receipts stay on the device. */
  noReceipts?: true;
}

const rule = (more: Omit<FaultRule, 'probability'>): FaultRule => ({ probability: RATE, ...more });
const of = (...rules: Omit<FaultRule, 'probability'>[]): Kind => ({ rules: rules.map(rule) });

const KINDS: Record<string, Kind> = {
  'notifications are lost': of({ on: 'notification', action: 'drop' }),
  'notifications come twice': of({ on: 'notification', action: 'duplicate' }),
  'notifications are late': of({ on: 'notification', action: 'delay', delayMs: DELAY_MS }),
  'notifications overtake each other': of({ on: 'notification', action: 'reorder', delayMs: 700 }),
  'notifications end the link': of({ on: 'notification', action: 'disconnect' }),
  'answers are lost': of({ on: 'answer', action: 'drop' }),
  'answers come twice': of({ on: 'answer', action: 'duplicate' }),
  'answers are late': of({ on: 'answer', action: 'delay', delayMs: DELAY_MS }),
  'answers overtake each other': of({ on: 'answer', action: 'reorder', delayMs: 700 }),
  'answers come on the next connection': of({ on: 'answer', action: 'late' }),
  'answers end the link': of({ on: 'answer', action: 'disconnect' }),
  'requests are lost': of({ on: 'request', action: 'drop' }),
  'requests arrive twice': of({ on: 'request', action: 'duplicate' }),
  'requests arrive late': of({ on: 'request', action: 'delay', delayMs: DELAY_MS }),
  'requests end the link': of({ on: 'request', action: 'disconnect' }),
  'requests are throttled': of({ on: 'request', action: 'reject', code: 'RequestThrottled' }),
  'the service fails': of({ on: 'request', action: 'reject', code: 'InternalError' }),
  'the link ends again and again': { trouble: (simulator, thing) => simulator.disconnect(thing) },
  'sessions are forgotten': {
    switches: { sessionExpirySeconds: 0 },
    trouble: (simulator, thing) => simulator.disconnect(thing),
  },
  'what was queued is not seen for a while': { switches: { consistencyGapMs: 700 } },
  'timers are late': { switches: { lateTimersSeconds: 30 } },
  'a cancel takes its time': {
    rules: [{ on: 'call', operation: 'CancelJobExecution', action: 'delay', delayMs: DELAY_MS }],
  },
  'receipts are forbidden': {
    rules: [{ on: 'publish', action: 'deny', topic: '$aws/things/+/shadow/name/evenkeel/update' }],
    noReceipts: true,
  },
  'everything at once': of(
    { on: 'notification', action: 'drop' },
    { on: 'notification', action: 'duplicate' },
    { on: 'answer', action: 'reorder', delayMs: 300 },
    { on: 'answer', action: 'duplicate' },
    { on: 'request', action: 'duplicate' },
  ),
};

type End = 'none' | 'cancel' | 'delete' | 'timeOut';

interface PlannedJob {
  what: What;
  /** A `hangs` needs one. */
  end: End;
  /** The end is to meet the job under way, and not wherever it is. */
  underWay: boolean;
  afterMs: number;
  retries: number;
}

/** What happens on one device, job by job; made of the seed alone. */
const plannedJob: fc.Arbitrary<PlannedJob> = fc
  .record({
    what: fc.constantFrom<What>(
      'succeeds',
      'succeeds',
      'takesAWhile',
      'takesAWhile',
      'fails',
      'hangs',
      'hangs',
    ),
    end: fc.constantFrom<End>('none', 'none', 'cancel', 'cancel', 'delete', 'timeOut'),
    underWay: fc.boolean(),
    afterMs: fc.nat(500),
    retries: fc.nat(1),
  })
  .map((job) => ({ ...job, end: job.what === 'hangs' && job.end === 'none' ? 'cancel' : job.end }));

const planOf = (seed: number): PlannedJob[][] =>
  fc.sample(fc.array(plannedJob, { minLength: JOBS, maxLength: JOBS, size: 'max' }), {
    seed,
    numRuns: DEVICES,
  });

interface Stand {
  simulator: Simulator;
  clock: VirtualClock;
  ledger: Ledger;
}

/** Jobs that stand in line behind each other, each ended by the cloud after a while where the plan says so. */
async function playDevice(stand: Stand, jobs: readonly PlannedJob[]): Promise<void> {
  const { simulator, ledger } = stand;
  const { thing } = ledger.device;
  for (const [at, job] of jobs.entries()) {
    const jobId = `${thing}-job-${at + 1}`;
    simulator.service.createJob({
      jobId,
      targets: [thingArn(thing)],
      document: JSON.stringify(ledger.document(jobId, job.what)),
      ...(job.end === 'timeOut' && { timeoutConfig: { inProgressTimeoutInMinutes: 1 } }),
      ...(job.retries > 0 && {
        jobExecutionsRetryConfig: { criteriaList: [{ failureType: 'ALL', numberOfRetries: job.retries }] },
      }),
    });
    // What hangs must not stay, and a second try of it ends in the same way.
    for (let attempts = 0; job.end !== 'none' && attempts <= job.retries; attempts += 1) {
      if (job.what === 'hangs' || job.underWay) await underWay(stand, jobId, attempts + 1);
      await systemClock.sleep(job.afterMs);
      await endIt(stand, jobId, job.end);
    }
  }
}

async function underWay({ simulator, ledger }: Stand, jobId: string, executionNumber: number): Promise<void> {
  await until(
    `${jobId} to be under way`,
    () =>
      simulator.service
        .executions({ thing: ledger.device.thing, jobId })
        .filter((one) => one.executionNumber >= executionNumber)
        .every(({ status }) => status !== 'QUEUED'),
    RUN_MS / 2,
    LOOK_MS,
  );
}

async function endIt({ simulator, clock, ledger }: Stand, jobId: string, end: End): Promise<void> {
  const { service, httpUrl } = simulator;
  const { thing } = ledger.device;
  const latest = service.executions({ thing, jobId }).at(-1);
  if (!latest) return;
  if (end === 'cancel')
    await fetch(`${httpUrl}/things/${thing}/jobs/${jobId}/cancel?force=true`, { method: 'PUT', body: '{}' });
  if (end === 'delete') service.deleteJob(jobId, true);
  if (end !== 'timeOut') return;
  // No timer runs yet.
  if (latest.status === 'QUEUED') service.cancelExecution(thing, jobId, { force: true });
  else await clock.advance(MINUTE_MS + simulator.service.switches.lateTimersSeconds * 1000);
}

async function playRun(
  { rules = [], switches = {}, trouble, noReceipts }: Kind,
  seed: number,
): Promise<void> {
  const clock = new VirtualClock({ base: systemClock });
  await using simulator = await startTestCloud({
    clock,
    switches,
    faults: rules.map((one, at) => ({ ...one, seed: seed + at })),
  });
  const ledgers: Ledger[] = [];
  const over = new AbortController();
  try {
    for (let device = 0; device < DEVICES; device += 1) ledgers.push(await openLedger(simulator));
    for (const { device } of ledgers) await device.start();
    const plans = planOf(seed);
    if (trouble) {
      for (const { device } of ledgers) void again(() => trouble(simulator, device.thing), over.signal);
    }
    await Promise.all(ledgers.map((ledger, at) => playDevice({ simulator, clock, ledger }, plans[at] ?? [])));
    for (const ledger of ledgers)
      await until(`${ledger.device.thing} to settle`, () => ledger.isSettled(), RUN_MS / 2, LOOK_MS);
    over.abort();
    for (const { id, acted } of simulator.faults.rules()) expect(acted, `of ${id}`).toBeGreaterThan(0);
    if (noReceipts !== true) {
      // What waits for a while is tried again with the next connection.
      simulator.faults.clear();
      for (const { device } of ledgers) simulator.disconnect(device.thing);
    }
    const all = async (): Promise<string[]> =>
      (await Promise.all(ledgers.map((ledger) => ledger.disagreements()))).flat();
    await until('everybody to agree', async () => (await all()).length === 0, RUN_MS / 4, LOOK_MS).catch(
      () => undefined,
    );
    expect(await all()).toEqual([]);
  } catch (error) {
    const logs = ledgers.map(({ device }) => device.log().slice(-20_000)).join('\n');
    throw new Error(`EVENKEEL_SEED=${SEED}: ${(error as Error).message}\n${logs}`, { cause: error });
  } finally {
    over.abort();
    for (const ledger of ledgers) await ledger.end();
  }
}

const TROUBLE_MS = 400;

async function again(act: () => unknown, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await systemClock.sleep(TROUBLE_MS * (0.5 + systemClock.random()), signal).catch(() => undefined);
    if (!signal.aborted) act();
  }
}

process.stderr.write(`faults: EVENKEEL_SEED=${SEED}\n`);

describe.concurrent.each(Object.entries(KINDS))('%s', (_name, kind) => {
  test('nobody disagrees, and nothing is run twice', { timeout: RUNS * RUN_MS }, async () => {
    for (let run = 0; run < RUNS; run += 1) await playRun(kind, SEED + run);
  });
});
