import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { VirtualClock } from '../../../src/simulator/clock.ts';
import { groupArn } from '../../../src/simulator/service/arns.ts';
import type { JobsService } from '../../../src/simulator/service/jobs-service.ts';
import { Things } from '../../../src/simulator/service/things.ts';
import { openFileStore } from '../../../src/simulator/store/file-store.ts';
import { type World, world } from './world.ts';

/** With a data directory everything that was acknowledged survives SIGKILL and a power cut. */

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'simulator-data-'));
});
afterEach(() => rm(directory, { recursive: true }));

const THINGS = ['t', 'u'];

async function opened(clock: VirtualClock, things: Things): Promise<World & { close(): Promise<void> }> {
  const store = await openFileStore(directory);
  const w = world({ store, clock, directory: things }, []);
  return {
    ...w,
    async close() {
      w.service.close();
      await store.close();
    },
  };
}

/** Everything that can be asked. */
function picture(service: JobsService): string {
  return JSON.stringify({
    jobs: service
      .jobs()
      .map((job) => [job, service.jobProcessDetails(job.jobId), service.isConcurrent(job.jobId)]),
    executions: service.executions({}),
    pending: THINGS.map((thing) => service.pending(thing).map((one) => [one, service.secondsLeft(one)])),
    events: service.eventConfigurations(),
  });
}

function fixed(): { clock: VirtualClock; things: Things } {
  const things = new Things();
  for (const thing of THINGS) things.addThing(thing);
  things.join('g', 't');
  return { clock: new VirtualClock(), things };
}

const retries = { criteriaList: [{ failureType: 'ALL' as const, numberOfRetries: 1 }] };
const targets = THINGS.map((thing) => `arn:aws:iot:us-east-1:123456789012:thing/${thing}`);

/** One act each; every way in which state changes is among them. */
const SCRIPT: ((w: World) => unknown)[] = [
  ({ service }) => service.updateEventConfigurations({ JOB: { Enabled: true } }),
  (w) => w.create('one', { targets, timeoutConfig: { inProgressTimeoutInMinutes: 5 } }),
  (w) => w.create('two', { targets, jobExecutionsRetryConfig: retries, tags: [{ Key: 'k' }] }),
  (w) => w.create('group', { targets: [groupArn('g')], targetSelection: 'CONTINUOUS' }),
  (w) => w.create('slow', { targets, jobExecutionsRolloutConfig: { maximumPerMinute: 1 } }),
  (w) =>
    w.create('window', {
      targets,
      schedulingConfig: { maintenanceWindows: [{ startTime: 'cron(2 * * * ? *)', durationInMinutes: 1 }] },
    }),
  (w) => w.create('later', { targets, schedulingConfig: { startTime: '2026-01-01T00:03' } }),
  ({ service }) => service.startNext('t', { stepTimeoutInMinutes: 2 }),
  ({ service }) => service.update('t', 'one', { status: 'IN_PROGRESS', statusDetails: { a: '1' } }),
  ({ service }) => service.startNext('t', { stepTimeoutInMinutes: 3 }),
  ({ service }) => service.update('u', 'two', { status: 'FAILED' }),
  ({ service }) => service.cancelExecution('u', 'one', { force: true, statusDetails: { why: 'x' } }),
  ({ advance }) => advance(1),
  ({ service }) => service.updateJob('two', { description: 'new' }),
  ({ service }) => service.thingLeft('g', 't'),
  ({ service }) => service.thingJoined('g', 't'),
  ({ service }) => service.associateTargets('group', ['arn:aws:iot:us-east-1:123456789012:thing/u']),
  ({ service }) => service.associateTargets('group', targets),
  (w) => {
    w.things.join('h', 't');
    w.create('night', {
      targets: [groupArn('h')],
      targetSelection: 'CONTINUOUS',
      schedulingConfig: { maintenanceWindows: [{ startTime: 'cron(4 * * * ? *)', durationInMinutes: 1 }] },
    });
  },
  ({ things, service }) => {
    things.join('h', 'u');
    service.thingJoined('h', 'u');
  },
  ({ advance }) => advance(1),
  ({ advance }) => advance(1.5),
  ({ service }) => service.deleteExecution('t', 'two', 1, true),
  ({ service }) => service.cancelJob('slow', { force: false, reasonCode: 'R', comment: 'c' }),
  ({ service }) => service.deleteJob('slow', true),
  ({ service }) => service.updateJob('group', { timeoutConfig: { inProgressTimeoutInMinutes: 9 } }),
  ({ service }) => service.thingDeleted('u'),
];

test('after each act a restart finds exactly what there was', async () => {
  const { clock, things } = fixed();
  let w = await opened(clock, things);
  for (const [at, act] of SCRIPT.entries()) {
    await act(w);
    const before = picture(w.service);
    await w.close();
    w = await opened(clock, things);
    expect(picture(w.service), `after act ${at}`).toBe(before);
  }
  await w.close();
});

test('cut off at any byte, the log gives the state after some act', { timeout: 120_000 }, async () => {
  const { clock, things } = fixed();
  const w = await opened(clock, things);
  const log = join(directory, 'simulator.log');
  const states = [picture(w.service)];
  const ends = [(await readFile(log)).length];
  // Without time: the state that is read back is looked at now.
  for (const act of SCRIPT.filter((one) => !String(one).includes('advance'))) {
    await act(w);
    await w.service.saved();
    states.push(picture(w.service));
    ends.push((await readFile(log)).length);
  }
  await w.close();
  const whole = await readFile(log);
  // Every byte around the end of a save, and every 13th between.
  for (let length = 0; length <= whole.length; length += 1) {
    if (length % 13 !== 0 && !ends.some((end) => Math.abs(end - length) < 3)) continue;
    await writeFile(log, whole.subarray(0, length));
    const saves = ends.filter((end) => end <= length).length;
    const again = await opened(clock, things);
    expect(picture(again.service), `cut at ${length}`).toBe(states[Math.max(0, saves - 1)]);
    await again.close();
  }
});

describe('what was under way goes on after a restart', () => {
  test('S21 S24: a timer that ran out meanwhile ends its execution', async () => {
    const { clock, things } = fixed();
    const w = await opened(clock, things);
    w.create('one', { targets, timeoutConfig: { inProgressTimeoutInMinutes: 5 } });
    w.service.startNext('t', {});
    await w.close();
    await clock.advance(10 * 60_000);
    const again = await opened(clock, things);
    await again.advance(0);
    await again.advance(1);
    expect(again.service.execution('t', 'one').status).toBe('TIMED_OUT');
    await again.service.saved();
    await again.advance(0);
    expect(again.news()).toEqual(['notify', 'next none']);
    await again.close();
  });

  test('P10: and the order of what is queued', async () => {
    const { clock, things } = fixed();
    const w = await opened(clock, things);
    for (const jobId of ['a', 'b', 'c']) w.create(jobId, { targets });
    await w.close();
    const again = await opened(clock, things);
    again.create('d', { targets });
    expect(again.service.pending('t').map(({ jobId }) => jobId)).toEqual(['a', 'b', 'c', 'd']);
    expect(again.service.executions({ thing: 't' }).map(({ order }) => order)).toEqual([1, 3, 5, 7]);
    await again.close();
  });

  test('S29: so does a rollout', async () => {
    const { clock, things } = fixed();
    const w = await opened(clock, things);
    w.create('slow', { targets, jobExecutionsRolloutConfig: { maximumPerMinute: 1 } });
    await w.close();
    const again = await opened(clock, things);
    expect(again.service.executions({ jobId: 'slow' }).length).toBe(1);
    await again.advance(1);
    expect(again.service.executions({ jobId: 'slow' }).length).toBe(2);
    await again.close();
  });

  test('C20: and a deletion', async () => {
    const { clock, things } = fixed();
    const w = await opened(clock, things);
    w.create('one', { targets });
    w.service.switches.rolloutDelayMs = 1000;
    w.service.deleteJob('one', true);
    await w.close();
    const again = await opened(clock, things);
    expect(again.service.jobs()).toEqual([]);
    await again.close();
  });
});

test('N20: nothing is made known before it is durable', async () => {
  const { clock, things } = fixed();
  const w = await opened(clock, things);
  w.create('one', { targets });
  expect(w.heard).toEqual([]);
  await w.service.saved();
  await clock.advance(0);
  expect(w.heard.length).toBe(4);
  await w.close();
});

const CHILD = `
  import { openFileStore } from './src/simulator/store/file-store.ts';
  import { JobsService, thingArn } from './src/simulator/service/jobs-service.ts';
  import { systemClock } from './src/host/clock.ts';
  const store = await openFileStore(process.argv[1]);
  const none = () => undefined;
  const service = new JobsService({ clock: systemClock, store, notifier: { notify: none, notifyNext: none, event: none } });
  service.createThing('t');
  for (let n = 0; ; n += 1) {
    service.createJob({ jobId: 'j' + n, targets: [thingArn('t')], document: '{}' });
    service.update('t', 'j' + n, { status: 'SUCCEEDED' });
    await service.saved();
    process.stdout.write(n + '\\n');
  }
`;

test('SIGKILL at any moment loses nothing that was acknowledged', { timeout: 120_000 }, async () => {
  for (const lines of [1, 7, 40]) {
    const child = spawn(
      process.execPath,
      ['--import', 'tsx', '--input-type=module', '--eval', CHILD, directory],
      { cwd: new URL('../../../', import.meta.url).pathname, stdio: ['ignore', 'pipe', 'inherit'] },
    );
    let acknowledged = -1;
    for await (const line of createInterface({ input: child.stdout })) {
      acknowledged = Number(line);
      if (acknowledged >= lines) break;
    }
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    expect(acknowledged).toBeGreaterThanOrEqual(lines);
    const { clock, things } = fixed();
    const w = await opened(clock, things);
    for (let n = 0; n <= acknowledged; n += 1) {
      expect(w.service.execution('t', `j${n}`)).toMatchObject({ status: 'SUCCEEDED', versionNumber: 2 });
      expect(w.service.job(`j${n}`).status).toBe('COMPLETED');
    }
    await w.close();
    await rm(join(directory, 'simulator.log'));
  }
});
