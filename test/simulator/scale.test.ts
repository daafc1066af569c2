import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemClock } from '../../src/host/clock.ts';
import { type Simulator, type SimulatorClock, startSimulator } from '../../src/simulator/index.ts';
import { groupArn, thingArn } from '../../src/simulator/service/arns.ts';
import type { Execution, Status } from '../../src/simulator/service/types.ts';
import { connectFleet, type Deed, type Fleet, type FleetDevice, untilAll } from '../support/fleet.ts';
import { rawClient } from '../support/raw-mqtt.ts';
import { until } from '../support/until.ts';

/** A thousand things at once, each with a real MQTT connection; waves of cancels, and what each thing ends with. */

const SIZE = 1000;
const LIMIT_MS = 240_000;

/** What becomes of a thing, in turn: what it does by itself, and who ends what it does not. */
const FATES = [
  { deed: 'SUCCEEDED', end: 'itself', status: 'SUCCEEDED' },
  { deed: 'FAILED', end: 'itself', status: 'FAILED' },
  { deed: 'hold', end: 'execution, force', status: 'CANCELED' },
  { deed: 'leave', end: 'execution', status: 'CANCELED' },
  { deed: 'leave', end: 'job', status: 'CANCELED' },
  { deed: 'hold', end: 'itself, after the job', status: 'SUCCEEDED' },
  { deed: 'hold', end: 'job, force', status: 'CANCELED' },
  { deed: 'REJECTED', end: 'itself', status: 'REJECTED' },
] as const satisfies readonly { deed: Deed; end: string; status: Status }[];
type Fate = (typeof FATES)[number];

const things = Array.from({ length: SIZE }, (_, at) => `thing-${at}`);
const fateOf = (thing: string): Fate => FATES[Number(thing.slice(6)) % FATES.length] ?? FATES[0];
const having = (end: Fate['end']): string[] => things.filter((thing) => fateOf(thing).end === end);
const countOf = (status: Status): number => things.filter((thing) => fateOf(thing).status === status).length;

/** Waits of the simulator that are not over. */
let sleeping = 0;
const clock: SimulatorClock = {
  ...systemClock,
  async sleep(delayMs, signal) {
    sleeping += 1;
    await systemClock.sleep(delayMs, signal).finally(() => {
      sleeping -= 1;
    });
  },
};

let simulator: Simulator;
let fleet: Fleet;
let resources: readonly string[];
beforeEach(async () => {
  resources = openResources();
  simulator = await startSimulator({ clock });
  for (const thing of things) simulator.service.createThing(thing);
  fleet = await connectFleet({ mqttUrl: simulator.mqttUrl, things, deed: (thing) => fateOf(thing).deed });
}, LIMIT_MS);
afterEach(async () => {
  await fleet.close();
  await simulator.close();
});

/** What keeps this process alive: sockets, servers, timers, files. */
function openResources(): string[] {
  return process.getActiveResourcesInfo().filter((kind) => /^(TCP|TLS|Timeout|Pipe)/.test(kind));
}

const clients = async (): Promise<{ client: string; subscriptions: string[] }[]> => {
  const answer = await fetch(`${simulator.httpUrl}/_simulator/clients`);
  return ((await answer.json()) as { clients: { client: string; subscriptions: string[] }[] }).clients;
};

const device = (thing: string): FleetDevice => fleet.devices[Number(thing.slice(6))] as FleetDevice;

/** The events of all jobs and executions by their topics, below `$aws/events/`. */
async function watchEvents(): Promise<{ counts: () => Record<string, number>; close: () => void }> {
  const watcher = await rawClient(simulator.mqttUrl, { clientId: 'watcher' });
  await watcher.next('connack');
  watcher.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: '$aws/events/#', qos: 0 }] });
  await watcher.next('suback');
  simulator.service.updateEventConfigurations({ JOB: { Enabled: true }, JOB_EXECUTION: { Enabled: true } });
  return {
    counts() {
      const counts: Record<string, number> = {};
      for (const packet of watcher.packets) {
        if (packet.cmd !== 'publish') continue;
        const [, , kind, , operation] = packet.topic.split('/');
        const name = `${kind} ${operation}`;
        counts[name] = (counts[name] ?? 0) + 1;
      }
      return counts;
    },
    close: () => watcher.close(),
  };
}

/** All that a thing must have heard of its one job, in order; the last word is the same for every end. */
const newsOf = (jobId: string): string[] => [
  `notify QUEUED ${jobId}`,
  `notify-next ${jobId} QUEUED`,
  'notify',
  'notify-next',
];
/** What it asked and was told; a device whose execution was ended under it has tried to report. */
function answersOf(thing: string, jobId: string): string[] {
  const { deed, end } = fateOf(thing);
  const started = deed === 'leave' ? [] : ['start-next/accepted'];
  if (end.startsWith('itself')) return [...started, `${jobId}/update/accepted`];
  return [...started, `${jobId}/update/rejected InvalidStateTransition`];
}

async function finished(jobIdOf: (thing: string) => string): Promise<void> {
  const isOver = ({ thing, news, answers }: FleetDevice): boolean =>
    news.length >= 4 && answers.length >= answersOf(thing, jobIdOf(thing)).length;
  await untilAll('the end of all executions', fleet.devices, isOver, LIMIT_MS);
  // What comes too often comes late: behind this nothing is on its way any more.
  await Promise.all(fleet.devices.map((one) => one.ping()));
  for (const { thing, news, answers } of fleet.devices) {
    expect(news, thing).toEqual(newsOf(jobIdOf(thing)));
    expect(answers, thing).toEqual(answersOf(thing, jobIdOf(thing)));
  }
}

function checkExecutions(jobIdOf: (thing: string) => string): void {
  for (const thing of things) {
    const { status, end, deed } = fateOf(thing);
    const all = simulator.service.executions({ thing });
    const steps = deed === 'leave' ? 0 : 1;
    const expected: Partial<Execution> = {
      jobId: jobIdOf(thing),
      status,
      executionNumber: 1,
      retryAttempt: 0,
      // S12, S13: one more with each report, and with the service's own end.
      versionNumber: 2 + steps,
    };
    expect(all.length, thing).toBe(1);
    expect(all[0], thing).toMatchObject(expected);
    expect(all[0]?.forceCanceled ?? false, thing).toBe(end.endsWith('force'));
    expect(simulator.service.pending(thing), thing).toEqual([]);
  }
}

const counters = (of: (status: Status) => number): object => ({
  numberOfSucceededThings: of('SUCCEEDED'),
  numberOfFailedThings: of('FAILED'),
  numberOfRejectedThings: of('REJECTED'),
  numberOfCanceledThings: of('CANCELED'),
  numberOfQueuedThings: of('QUEUED'),
  numberOfInProgressThings: of('IN_PROGRESS'),
  numberOfRemovedThings: 0,
  numberOfTimedOutThings: 0,
});

/** Every thing has come as far as it comes by itself. */
const settled = (): Promise<void> =>
  untilAll(
    'what the things do by themselves',
    fleet.devices,
    ({ thing, news, answers }) => {
      const { deed } = fateOf(thing);
      if (deed === 'leave') return news.length === 2;
      return deed === 'hold' ? answers.length === 1 : news.length === 4 && answers.length === 2;
    },
    LIMIT_MS,
  );

/** The waves, each behind the one before: executions by force and without, then jobs without force and with. */
async function cancelInWaves(cancelJobs: (force: boolean) => void, jobIdOf: (thing: string) => string) {
  const { service } = simulator;
  const cancel = (thing: string, force: boolean): void =>
    service.cancelExecution(thing, jobIdOf(thing), { force });
  // C13: without force what is in progress stays.
  expect(() => cancel(having('execution, force')[0] ?? '', false)).toThrow('IN_PROGRESS');
  for (const thing of having('execution, force')) cancel(thing, true);
  for (const thing of having('execution')) cancel(thing, false);
  cancelJobs(false);
  for (const thing of having('itself, after the job')) device(thing).update(jobIdOf(thing), 'SUCCEEDED');
  await untilAll(
    'reports after CancelJob',
    having('itself, after the job').map(device),
    ({ news }) => news.length === 4,
    LIMIT_MS,
  );
  cancelJobs(true);
  // S6: whoever was ended by others may still believe that it is at work.
  for (const thing of things.filter((one) => !fateOf(one).end.startsWith('itself')))
    device(thing).update(jobIdOf(thing), 'SUCCEEDED');
}

/** Everything that was opened is closed again, by the devices first and then by the simulator. */
async function checkNothingLeft(): Promise<void> {
  expect((await clients()).filter(({ client }) => client.startsWith('thing-')).length).toBe(SIZE);
  await fleet.close();
  expect(await until('no client is left', async () => (await clients()).length === 0)).toBe(true);
  // A new connection under an old name has nothing of the old one's.
  const again = await rawClient(simulator.mqttUrl, { clientId: 'thing-0' });
  expect(await again.next('connack')).toMatchObject({ returnCode: 0, sessionPresent: false });
  simulator.service.createJob({ jobId: 'later', targets: [thingArn('thing-0')], document: '{}' });
  again.send({ cmd: 'pingreq' });
  await again.next('pingresp');
  expect(again.packets.filter(({ cmd }) => cmd === 'publish')).toEqual([]);
  expect(await clients()).toMatchObject([{ client: 'thing-0', subscriptions: [] }]);
  await simulator.close();
  await again.ended();
  expect(sleeping).toBe(0);
  const added = (): string[] => {
    const before = [...resources];
    return openResources().filter((kind) => {
      const at = before.indexOf(kind);
      if (at !== -1) before.splice(at, 1);
      return at === -1;
    });
  };
  // fetch closes its connections a little after the server has.
  await until('the end of all that was opened', () => added().length === 0).catch(() =>
    expect(added()).toEqual([]),
  );
}

test(
  'one job for a group of 1,000 things, cancelled in waves: each thing ends as it must, and is told so once',
  async () => {
    const { service } = simulator;
    const events = await watchEvents();
    const admin = `${simulator.httpUrl}/thing-groups`;
    await fetch(`${admin}/all`, { method: 'POST', body: '{}' });
    for (const thingName of things) {
      const body = JSON.stringify({ thingName, thingGroupName: 'all' });
      expect((await fetch(`${admin}/addThingToThingGroup`, { method: 'PUT', body })).status).toBe(200);
    }
    service.createJob({ jobId: 'job', targets: [groupArn('all')], document: '{"a":1}' });
    await settled();
    const open = (status: 'QUEUED' | 'IN_PROGRESS'): number =>
      things.filter((thing) => fateOf(thing).deed === (status === 'QUEUED' ? 'leave' : 'hold')).length;
    expect(service.jobProcessDetails('job')).toEqual(
      counters((status) =>
        status === 'QUEUED' || status === 'IN_PROGRESS'
          ? open(status)
          : FATES.filter((fate) => fate.end === 'itself' && fate.status === status).length * (SIZE / 8),
      ),
    );
    await cancelInWaves(
      (force) => service.cancelJob('job', { force }),
      () => 'job',
    );
    await finished(() => 'job');
    checkExecutions(() => 'job');
    expect(service.jobProcessDetails('job')).toEqual(counters(countOf));
    expect(service.job('job')).toMatchObject({ status: 'CANCELED', forceCanceled: true });
    const expected = {
      'jobExecution succeeded': countOf('SUCCEEDED'),
      'jobExecution failed': countOf('FAILED'),
      'jobExecution rejected': countOf('REJECTED'),
      'jobExecution canceled': countOf('CANCELED'),
      'job cancellation_in_progress': 2,
      'job canceled': 2,
    };
    await until('all events', () => events.counts()['jobExecution canceled'] === countOf('CANCELED'));
    expect(events.counts()).toEqual(expected);
    events.close();
    await checkNothingLeft();
  },
  LIMIT_MS,
);

test(
  '1,000 jobs of one thing each, cancelled in waves: each job ends as its thing does',
  async () => {
    const { service } = simulator;
    const jobIdOf = (thing: string): string => `job-of-${thing}`;
    const events = await watchEvents();
    for (const thing of things)
      service.createJob({ jobId: jobIdOf(thing), targets: [thingArn(thing)], document: '{"a":1}' });
    await settled();
    await cancelInWaves((force) => {
      const ends: Fate['end'][] = force ? ['job, force'] : ['job', 'itself, after the job', 'job, force'];
      for (const thing of ends.flatMap(having)) service.cancelJob(jobIdOf(thing), { force });
    }, jobIdOf);
    await finished(jobIdOf);
    checkExecutions(jobIdOf);
    for (const thing of things) {
      const { end, status } = fateOf(thing);
      const isCanceled = end.includes('job');
      const job = service.job(jobIdOf(thing));
      expect(job.status, thing).toBe(isCanceled ? 'CANCELED' : 'COMPLETED');
      expect(job.forceCanceled ?? false, thing).toBe(end === 'job, force');
      expect(service.jobProcessDetails(jobIdOf(thing)), thing).toEqual(
        counters((one) => (one === status ? 1 : 0)),
      );
    }
    expect(service.jobs({ status: 'COMPLETED' }).length).toBe((SIZE / 8) * 5);
    const cancelled = (SIZE / 8) * 4;
    await until('all events', () => (events.counts()['job canceled'] ?? 0) >= cancelled);
    expect(events.counts()).toEqual({
      'jobExecution succeeded': countOf('SUCCEEDED'),
      'jobExecution failed': countOf('FAILED'),
      'jobExecution rejected': countOf('REJECTED'),
      'jobExecution canceled': countOf('CANCELED'),
      'job completed': (SIZE / 8) * 5,
      // Twice: without force, which left it in progress, and by force.
      'job cancellation_in_progress': cancelled,
      'job canceled': cancelled,
    });
    events.close();
    await checkNothingLeft();
  },
  LIMIT_MS,
);
