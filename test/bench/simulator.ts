import { readFile, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { connectFleet, type Deed, type Fleet, untilAll } from '../support/fleet.ts';
import { type Call, forEach, listed, operatorOf } from './operator.ts';
import { type Measured, startMeasured } from './process.ts';
import { exponentOf, table } from './report.ts';

/**
 * `npm run bench:simulator [-- --quick]`: what a fleet costs the simulator, from 100 things to 10,000. Each size has a
 * simulator of its own, as a process; things are real MQTT connections, operators real HTTP calls. Ends with 1 when
 * processor time or memory grows faster than the fleet.
 */

const SIZES = [100, 300, 1000, 3000, 10_000];
const QUICK = [100, 300, 1000];
/** Linear is 1; this is what the noise of a busy machine may add. */
const EXPONENT_MAX = 1.1;
/** L12 */
const PER_MINUTE = 1000;
const README = new URL('README.md', import.meta.url);
const [BEGIN, END] = ['<!-- made by npm run bench:simulator -->', '<!-- end of bench:simulator -->'];
const LIMIT_MS = 600_000;

interface Phase {
  name: string;
  seconds: number;
  cpuSeconds: number;
}

interface Run {
  things: number;
  phases: Phase[];
  seconds: number;
  cpuSeconds: number;
  /** Above that of the simulator before the first thing. */
  peakBytes: number;
  idleBytes: number;
  messages: number;
}

const ACCOUNT = 'arn:aws:iot:us-east-1:123456789012';
/** What becomes of each thing's execution, in turn: done, ended by force, ended while queued, removed. */
const DEEDS: readonly Deed[] = ['SUCCEEDED', 'hold', 'leave', 'hold'];

async function run(size: number): Promise<Run> {
  const simulator = await startMeasured(['--virtual-clock']);
  const operator = operatorOf(simulator.httpUrl);
  try {
    return await measured(size, simulator, operator.call);
  } finally {
    operator.close();
    await simulator.stop();
  }
}

async function measured(size: number, simulator: Measured, call: Call): Promise<Run> {
  const names = Array.from({ length: size }, (_, at) => `thing-${at}`);
  const classOf = (thing: string): number => Number(thing.slice('thing-'.length)) % DEEDS.length;
  const ofClass = (wanted: number): string[] => names.filter((thing) => classOf(thing) === wanted);
  const phases: Phase[] = [];
  const phase = async (name: string, act: () => Promise<unknown>): Promise<void> => {
    const [startMs, startCpu] = [performance.now(), await simulator.cpuSeconds()];
    await act();
    const cpuSeconds = (await simulator.cpuSeconds()) - startCpu;
    phases.push({ name, seconds: (performance.now() - startMs) / 1000, cpuSeconds });
  };
  const { nowBytes: idleBytes } = await simulator.memory();
  const fleet: { now?: Fleet } = {};
  const devices = () => fleet.now?.devices ?? [];
  /** Messages of notify and notify-next that each thing has had: two when a job comes, two when it is gone. */
  const news = (of: (kind: number) => number): Promise<void> =>
    untilAll('notifications', devices(), ({ thing, news }) => news.length === of(classOf(thing)), LIMIT_MS);
  const started = (count: number): Promise<void> =>
    untilAll(
      'the start',
      devices(),
      ({ thing, answers }) =>
        classOf(thing) === 2 || answers.filter((one) => one === 'start-next/accepted').length === count,
      LIMIT_MS,
    );

  await phase('register', async () => {
    await call('POST', '/thing-groups/all', {});
    await forEach(names, async (thingName) => {
      await call('POST', `/things/${thingName}`, {});
      await call('PUT', '/thing-groups/addThingToThingGroup', { thingName, thingGroupName: 'all' });
    });
  });
  await phase('connect', async () => {
    const deed = (thing: string): Deed => DEEDS[classOf(thing)] ?? 'leave';
    fleet.now = await connectFleet({ mqttUrl: simulator.mqttUrl, things: names, deed });
  });
  await phase('one job, all things', async () => {
    const targets = [`${ACCOUNT}:thinggroup/all`];
    await call('PUT', '/jobs/of-all', { targets, document: '{}', targetSelection: 'CONTINUOUS' });
    for (let made = PER_MINUTE; made < size; made += PER_MINUTE)
      await call('POST', '/_simulator/clock/advance', { seconds: 60 });
    await started(1);
    await news((kind) => (kind === 0 ? 4 : 2));
  });
  await phase('cancel and leave', async () => {
    await forEach([...ofClass(1), ...ofClass(2)], (thing) =>
      call('PUT', `/things/${thing}/jobs/of-all/cancel?force=${classOf(thing) === 1}`, {}),
    );
    await forEach(names, (thingName) =>
      call('PUT', '/thing-groups/removeThingFromThingGroup', { thingName, thingGroupName: 'all' }),
    );
    await news(() => 4);
  });
  await phase('a job each', async () => {
    await forEach(names, (thing) =>
      call('PUT', `/jobs/of-${thing}`, { targets: [`${ACCOUNT}:thing/${thing}`], document: '{}' }),
    );
    await started(2);
    await news((kind) => (kind === 0 ? 8 : 6));
  });
  await phase('cancel each job', async () => {
    await forEach([...ofClass(1), ...ofClass(2), ...ofClass(3)], (thing) =>
      call('PUT', `/jobs/of-${thing}/cancel?force=${classOf(thing) !== 2}`, {}),
    );
    await news(() => 8);
  });
  await phase('read', async () => {
    await checkResults(size, call);
  });
  const { messages } = fleet.now as unknown as Fleet;
  await phase('delete', async () => {
    await call('DELETE', '/jobs/of-all?force=true');
    await forEach(names, (thing) => call('DELETE', `/jobs/of-${thing}?force=true`));
    await fleet.now?.close();
    await forEach(names, (thing) => call('DELETE', `/things/${thing}`));
  });
  const sum = (of: (one: Phase) => number): number => phases.reduce((total, one) => total + of(one), 0);
  return {
    things: size,
    phases,
    seconds: sum(({ seconds }) => seconds),
    cpuSeconds: sum(({ cpuSeconds }) => cpuSeconds),
    peakBytes: (await simulator.memory()).peakBytes - idleBytes,
    idleBytes,
    messages,
  };
}

/** A benchmark of something that went wrong says nothing. */
async function checkResults(size: number, call: Call): Promise<void> {
  const quarter = size / DEEDS.length;
  const { job } = (await call('GET', '/jobs/of-all')) as { job: { jobProcessDetails: object } };
  const executions = await listed(call, '/jobs/of-all/things?maxResults=250', 'executionSummaries');
  const [completed, canceled, things] = [
    await listed(call, '/jobs?status=COMPLETED&maxResults=250', 'jobs'),
    await listed(call, '/jobs?status=CANCELED&maxResults=250', 'jobs'),
    await listed(call, '/things?maxResults=250', 'things'),
  ];
  const found = {
    ...job.jobProcessDetails,
    lists: [executions, completed, canceled, things].map((one) => one.length),
  };
  const wanted = {
    numberOfCanceledThings: 2 * quarter,
    numberOfSucceededThings: quarter,
    numberOfFailedThings: 0,
    numberOfRejectedThings: 0,
    numberOfQueuedThings: 0,
    numberOfInProgressThings: 0,
    numberOfRemovedThings: quarter,
    numberOfTimedOutThings: 0,
    lists: [size, quarter, 3 * quarter, size],
  };
  for (const [name, value] of Object.entries(wanted)) {
    const other = (found as Record<string, unknown>)[name];
    if (JSON.stringify(other) !== JSON.stringify(value))
      throw new Error(`${name}: ${JSON.stringify(other)} instead of ${JSON.stringify(value)}`);
  }
}

const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(0);

function report(runs: readonly Run[]): { text: string; isLinear: boolean } {
  const exponents = {
    cpu: exponentOf(runs.map(({ things, cpuSeconds }) => [things, cpuSeconds])),
    memory: exponentOf(runs.map(({ things, peakBytes }) => [things, peakBytes])),
  };
  const costs = table(
    ['things', 'time s', 'CPU s', 'CPU ms/thing', 'RSS MiB above idle', 'KiB/thing', 'MQTT messages'],
    runs.map(({ things, seconds, cpuSeconds, peakBytes, messages }) => [
      String(things),
      seconds.toFixed(1),
      cpuSeconds.toFixed(1),
      ((1000 * cpuSeconds) / things).toFixed(2),
      mib(peakBytes),
      (peakBytes / 1024 / things).toFixed(0),
      String(messages),
    ]),
  );
  const names = runs[0]?.phases.map(({ name }) => name) ?? [];
  const spent = (name: string, { phases }: Run): number =>
    phases.find((one) => one.name === name)?.cpuSeconds ?? 0;
  const parts = table(
    ['CPU ms/thing', ...runs.map(({ things }) => String(things))],
    names.map((name) => [name, ...runs.map((one) => ((1000 * spent(name, one)) / one.things).toFixed(2))]),
  );
  const isLinear = Object.values(exponents).every((one) => one <= EXPONENT_MAX);
  const growth = `Growth from ${runs[0]?.things} to ${runs.at(-1)?.things} things: processor time as n^${exponents.cpu.toFixed(2)}, memory as n^${exponents.memory.toFixed(2)} (1 is linear).`;
  const machine = `Node ${process.versions.node}, ${cpus().length} × ${cpus()[0]?.model.trim()}; the simulator alone has ${mib(runs[0]?.idleBytes ?? 0)} MiB.`;
  return { text: [costs, growth, parts, machine].join('\n\n'), isLinear };
}

const { values: wanted } = parseArgs({ options: { quick: { type: 'boolean' }, sizes: { type: 'string' } } });
const isWhole = wanted.quick !== true && wanted.sizes === undefined;
const sizes = wanted.sizes?.split(',').map(Number) ?? (isWhole ? SIZES : QUICK);
const runs: Run[] = [];
for (const size of sizes) {
  runs.push(await run(size));
  process.stderr.write(`${size} things: ${runs.at(-1)?.seconds.toFixed(1)} s\n`);
}
const { text, isLinear } = report(runs);
process.stdout.write(`${text}\n`);
if (isWhole) {
  const page = await readFile(README, 'utf8');
  const [before = '', rest = ''] = page.split(BEGIN);
  const [, after = ''] = rest.split(END);
  await writeFile(README, `${before}${BEGIN}\n\n${text}\n\n${END}${after}`);
}
if (sizes.length > 1 && !isLinear) {
  process.stderr.write('it grows faster than the fleet\n');
  process.exitCode = 1;
}
