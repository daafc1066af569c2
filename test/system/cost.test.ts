import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemClock } from '../../src/host/clock.ts';
import { type Simulator, startSimulator } from '../../src/simulator/index.ts';
import { thingArn } from '../../src/simulator/service/jobs-service.ts';
import { createDevice, type Device, type Site, startSite, updateDocument } from '../support/device.ts';
import { madePart } from '../support/made-part.ts';
import { type Meter, meterTo, type Tally } from '../support/meter.ts';
import { until } from '../support/until.ts';

/**
 * What the agent says and hears on the wire. AWS bills each message in either direction, and a modem each byte.
 * `npm run measure:cost` writes the table of `test/README.md`; else what is measured must not be more than it says.
 */

const README = new URL('../README.md', import.meta.url);
const FAST = new URL('../support/fast-agent.mjs', import.meta.url).pathname;
const COMMAND = 'npm run measure:cost';
/** Nothing has been said for so long: the rest of it is over. */
const QUIET_MS = 2500;
const TEST_MS = 180_000;
const HOUR_MS = 3_600_000;
const SPEED = 40;
/** Figures may be any lower, and so much higher. */
const TOLERANCE = 1.1;
/** Beside that, in the order of the table: one notice may be answered more, and pings may fall into any test. */
const ONE_MORE = [1, 1, 2, 2, 600, 600];

let simulator: Simulator;
let site: Site;
let meter: Meter;
let device: Device;
const measured: [string, Tally][] = [];

beforeAll(async () => {
  simulator = await startSimulator({ clock: systemClock });
  site = await startSite();
  meter = await meterTo(simulator.mqttUrl);
  device = await createDevice('boat-1', meter.url);
  simulator.service.createThing(device.thing);
  await device.start();
  // The broker speaks MQTT 3.1.1 alone, which takes an attempt to find out; from then on it is known.
  await until('the first answer', () => (meter.take().packets['in publish'] ?? 0) > 0);
  await quiet();
});
afterAll(async () => {
  await device.stop('SIGTERM');
  await device.remove();
  await meter.close();
  await site.close();
  await simulator.close();
});

async function quiet(): Promise<void> {
  await sleep(QUIET_MS);
  meter.take();
}

function createJob(jobId: string, document: object): void {
  simulator.service.createJob({
    jobId,
    targets: [thingArn(device.thing)],
    document: JSON.stringify(document),
  });
}

const statusOf = (jobId: string): string | undefined => simulator.service.executions({ jobId })[0]?.status;

const ended = (jobId: string, status: string): Promise<unknown> =>
  until(`${jobId} to be ${status}`, () => statusOf(jobId) === status, 60_000);

async function measure(what: string, act: () => Promise<unknown>): Promise<Tally> {
  meter.take();
  await act();
  await sleep(QUIET_MS);
  const tally = meter.take();
  measured.push([what, tally]);
  return tally;
}

const publishes = ({ packets }: Tally): number => packets['out publish'] ?? 0;

test('a job of one step costs three publishes at most', { timeout: TEST_MS }, async () => {
  const input = { path: device.path('etc/app.conf'), content: 'version = 1.1\n' };
  const step = { action: { name: 'configure', type: 'writeFile', input } };
  const tally = await measure('a job of one step', async () => {
    createJob('trivial', { version: '1.0', steps: [step] });
    await ended('trivial', 'SUCCEEDED');
  });
  expect(publishes(tally)).toBeLessThanOrEqual(3);
});

test('a job of five steps costs one publish a step more', { timeout: TEST_MS }, async () => {
  const tally = await measure('a job of five steps', async () => {
    createJob('five', updateDocument(device, site, 1));
    await ended('five', 'SUCCEEDED');
  });
  expect(publishes(tally)).toBeLessThanOrEqual(7);
});

test('a forced cancel in the fourth step, with its rollback and its receipt', {
  timeout: TEST_MS,
}, async () => {
  const tally = await measure(
    'a forced cancel in the fourth of five steps, with rollback and receipt',
    async () => {
      createJob('cancelled', updateDocument(device, site, 30));
      await until('the long step', async () =>
        (await readFile(device.path('var/migrate.log'), 'utf8').catch(() => '')).includes('migrating\n'),
      );
      await sleep(500);
      simulator.service.cancelExecution(device.thing, 'cancelled', { force: true });
      await until('the receipt', () =>
        JSON.stringify(simulator.shadows.get(device.thing, 'evenkeel') ?? '').includes('cancelled'),
      );
    },
  );
  expect(publishes(tally)).toBeLessThanOrEqual(9);
});

test('an hour without a job, in a fortieth of the time', { timeout: TEST_MS + HOUR_MS / SPEED }, async () => {
  const idle = await createDevice('boat-2', meter.url, { jobs: { requestTimeoutSeconds: 300 } });
  simulator.service.createThing(idle.thing);
  await device.stop('SIGTERM');
  const agent = spawn(process.execPath, [FAST, idle.config, String(SPEED)], { stdio: 'ignore' });
  try {
    await until('the link', () => meter.take().packets['in suback'] !== undefined);
    await sleep(QUIET_MS / 10);
    const tally = await measure('an hour without a job', () => sleep(HOUR_MS / SPEED - QUIET_MS));
    expect(tally.packets['out pingreq']).toBe(tally.packets['in pingresp']);
    expect(publishes(tally)).toBeLessThanOrEqual(6);
  } finally {
    const exited = once(agent, 'exit');
    agent.kill('SIGTERM');
    await exited;
    await idle.remove();
  }
});

test('README.md says so (npm run measure:cost)', async () => {
  const rows = measured.map(([what, tally]) => `| ${[what, ...figuresOf(tally)].join(' | ')} |`);
  const head = [
    '| | publishes out | publishes in | acknowledgements | keep-alive | bytes out | bytes in |',
    '|---|---|---|---|---|---|---|',
  ];
  if (process.env['EVENKEEL_WRITE'] === '1') {
    await madePart(README, COMMAND, [...head, ...rows].join('\n'));
    return;
  }
  const text = await readFile(README, 'utf8');
  for (const [what, tally] of measured) {
    const row = text.split('\n').find((line) => line.startsWith(`| ${what} |`));
    const said = (row ?? '')
      .split('|')
      .slice(2, -1)
      .map((cell) => Number(cell.replaceAll(',', '')));
    expect(said.length, `a row for ${what}`).toBe(6);
    for (const [index, figure] of figures(tally).entries()) {
      expect(figure, `${what}: ${String(index)} of ${head[0]}`).toBeLessThanOrEqual(
        (said[index] ?? 0) * TOLERANCE + (ONE_MORE[index] ?? 0),
      );
    }
  }
});

function figures({ packets, bytesOut, bytesIn }: Tally): number[] {
  const of = (...types: string[]): number => types.reduce((sum, type) => sum + (packets[type] ?? 0), 0);
  return [
    of('out publish'),
    of('in publish'),
    of('out puback', 'in puback'),
    of('out pingreq', 'in pingresp'),
    bytesOut,
    bytesIn,
  ];
}

const figuresOf = (tally: Tally): string[] => figures(tally).map((figure) => figure.toLocaleString('en'));
