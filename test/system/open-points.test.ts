import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { systemClock } from '../../src/host/clock.ts';
import { VirtualClock } from '../../src/simulator/clock.ts';
import type { Simulator } from '../../src/simulator/index.ts';
import { DEFAULT_SWITCHES, SWITCHES, type Switches, type SwitchName } from '../../src/simulator/options.ts';
import { thingArn } from '../../src/simulator/service/jobs-service.ts';
import { startTestCloud } from '../support/cloud.ts';
import { until } from '../support/until.ts';
import { type Ledger, openLedger, type What } from './ledger.ts';

/**
 * What no public source settles about AWS IoT Jobs, one value after the other, made of the table of switches itself:
 * under each of them cloud, device, journals and receipts agree about every job (I2).
 */

const SETTING_MS = 120_000;
const MINUTE_MS = 60_000;
const LOOK_MS = 100;

/** Every value that is not the default, each alone; then none of them, and all at once. */
function settings(): [string, Partial<Switches>][] {
  const others = (Object.keys(SWITCHES) as SwitchName[]).flatMap((name) => {
    const allowed: { values: readonly unknown[] } | { max: number } = SWITCHES[name];
    const values = 'values' in allowed ? allowed.values : [allowed.max];
    return values.filter((value) => value !== SWITCHES[name].default).map((value) => ({ [name]: value }));
  });
  return [
    ['the defaults', {}],
    ...others.map((one): [string, Partial<Switches>] => [
      Object.entries(one)
        .map(([name, value]) => `${name}=${String(value)}`)
        .join(),
      one,
    ]),
    ['everything other than the defaults', Object.assign({}, ...others) as Partial<Switches>],
  ];
}

/** A cloud with these switches, its clock that can be moved on, and one device. */
interface Stand {
  simulator: Simulator;
  clock: VirtualClock;
  ledger: Ledger;
  switches: Switches;
  /** Makes the next job, and lets so much time pass that its execution exists. */
  create(what: What, more?: object): Promise<string>;
}

async function withStand(changes: Partial<Switches>, use: (stand: Stand) => Promise<void>): Promise<void> {
  const clock = new VirtualClock({ base: systemClock });
  const switches = { ...DEFAULT_SWITCHES, ...changes };
  await using simulator = await startTestCloud({ clock, switches: changes });
  const ledger = await openLedger(simulator);
  let jobs = 0;
  const create: Stand['create'] = async (what, more = {}) => {
    jobs += 1;
    const jobId = `job-${jobs}`;
    const targets = [thingArn(ledger.device.thing)];
    const document = JSON.stringify(ledger.document(jobId, what));
    simulator.service.createJob({ jobId, targets, document, ...more });
    await clock.advance(switches.rolloutDelayMs + 1000);
    return jobId;
  };
  try {
    await use({ simulator, clock, ledger, switches, create });
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${ledger.device.log().slice(-6000)}`, { cause: error });
  } finally {
    await ledger.end();
  }
}

const statusOf = ({ simulator, ledger }: Stand, jobId: string, executionNumber?: number): string =>
  simulator.service.execution(ledger.device.thing, jobId, executionNumber).status;

const runsOnce = ({ ledger }: Stand, jobId: string): Promise<unknown> =>
  until(`${jobId} to run`, async () => (await ledger.runs(jobId)) > 0);

/** Where the front is hidden for a while, the device finds it when the while is over (A5). */
async function ends(stand: Stand, jobId: string, status: string): Promise<void> {
  const { clock, switches, ledger } = stand;
  await clock.advance(switches.consistencyGapMs);
  await until(`${jobId} to be ${status}`, () => statusOf(stand, jobId) === status);
  await until('everything to be settled', () => ledger.isSettled(), SETTING_MS / 4, LOOK_MS);
}

async function cancelledInAStep(stand: Stand): Promise<void> {
  const jobId = await stand.create('hangs');
  await runsOnce(stand, jobId);
  stand.simulator.service.cancelExecution(stand.ledger.device.thing, jobId, { force: true });
  await ends(stand, jobId, 'CANCELED');
}

async function timedOutAndTriedAgain(stand: Stand): Promise<void> {
  const { clock, switches } = stand;
  const jobId = await stand.create('hangsOnce', {
    timeoutConfig: { inProgressTimeoutInMinutes: 1 },
    jobExecutionsRetryConfig: { criteriaList: [{ failureType: 'TIMED_OUT', numberOfRetries: 1 }] },
  });
  await runsOnce(stand, jobId);
  if (switches.lateTimersSeconds > 0) {
    await clock.advance(MINUTE_MS);
    expect(statusOf(stand, jobId, 1)).toBe('IN_PROGRESS');
  }
  await clock.advance(switches.lateTimersSeconds * 1000 + MINUTE_MS);
  await until('the time-out', () => statusOf(stand, jobId, 1) === 'TIMED_OUT');
  await ends(stand, jobId, 'SUCCEEDED');
  expect(stand.simulator.service.execution(stand.ledger.device.thing, jobId).executionNumber).toBe(2);
}

async function cancelledWhileTheAgentIsDead(stand: Stand): Promise<void> {
  const { simulator, ledger } = stand;
  const jobId = await stand.create('hangs');
  await runsOnce(stand, jobId);
  await ledger.device.stop('SIGKILL');
  simulator.service.cancelExecution(ledger.device.thing, jobId, { force: true });
  // And one that nobody has been told of.
  const next = await stand.create('succeeds');
  await ledger.device.start();
  await ends(stand, jobId, 'CANCELED');
  await ends(stand, next, 'SUCCEEDED');
}

async function deletedInAStep(stand: Stand): Promise<void> {
  const { simulator, ledger, clock, switches } = stand;
  const jobId = await stand.create('hangs');
  await runsOnce(stand, jobId);
  simulator.service.deleteJob(jobId, true);
  await clock.advance(switches.rolloutDelayMs);
  const isGone = (): boolean => simulator.service.executions({ jobId }).length === 0;
  await until('the deletion', isGone);
  await until('everything to be settled', () => ledger.isSettled(), SETTING_MS / 4, LOOK_MS);
}

/** J11: its optional parameter `runAsUser` is left out. */
async function madeOfATemplate(stand: Stand): Promise<void> {
  const { simulator, ledger, clock, switches } = stand;
  const jobId = 'job-of-a-template';
  const mark = join(ledger.device.root, 'mark');
  const response = await fetch(`${simulator.httpUrl}/jobs/${jobId}`, {
    method: 'PUT',
    body: JSON.stringify({
      targets: [thingArn(ledger.device.thing)],
      jobTemplateArn: 'arn:aws:iot:us-east-1::jobtemplate/AWS-Run-Command:1.0',
      documentParameters: { command: `touch,${mark}` },
    }),
  });
  expect(response.status, await response.text()).toBe(200);
  await clock.advance(switches.rolloutDelayMs + 1000);
  await until('the execution', () => simulator.service.executions({ jobId }).length === 1);
  await clock.advance(switches.consistencyGapMs);
  await until('the job to succeed', () => statusOf(stand, jobId) === 'SUCCEEDED');
  await access(mark);
}

describe.concurrent.each(settings())('%s', (_name, changes) => {
  test('cloud, device and receipts agree', { timeout: SETTING_MS }, () =>
    withStand(changes, async (stand) => {
      const { ledger, switches } = stand;
      await ledger.device.start();
      await ends(stand, await stand.create('succeeds'), 'SUCCEEDED');
      await ends(stand, await stand.create('fails'), 'FAILED');
      await cancelledInAStep(stand);
      await timedOutAndTriedAgain(stand);
      await cancelledWhileTheAgentIsDead(stand);
      await deletedInAStep(stand);
      const unknownStatus = !switches.terminalCarriesState;
      const agreed = async (): Promise<string[]> => ledger.disagreements({ unknownStatus });
      await until(
        'the last receipt',
        async () => (await agreed()).length === 0,
        SETTING_MS / 4,
        LOOK_MS,
      ).catch(() => undefined);
      expect(await agreed()).toEqual([]);
      await madeOfATemplate(stand);
    }),
  );
});
