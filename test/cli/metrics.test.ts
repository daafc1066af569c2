import { execFileSync } from 'node:child_process';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { NO_COUNTERS, SECONDS, withClosed } from '../../src/cli/metrics/counters.ts';
import { histogramSamples, observed } from '../../src/cli/metrics/exposition.ts';
import { metricsText } from '../../src/cli/metrics/families.ts';
import type { StorySummary } from '../../src/cli/story/story.ts';
import type { Simulator } from '../../src/simulator/index.ts';
import { thingArn } from '../../src/simulator/service/jobs-service.ts';
import { startTestCloud } from '../support/cloud.ts';
import { createDevice, type Device } from '../support/device.ts';
import { until } from '../support/until.ts';

/** The file for Prometheus: right by its rules, true over crashes and restarts, and silent when nothing happens. */

vi.setConfig({ testTimeout: 120_000 });

const THING = 'metered';
const IDLE = {
  version: '1.0.0',
  linkUp: true,
  receiptsWaiting: 0,
  journalBytes: 0,
  underWay: 0,
  needsHelp: 0,
};

let simulator: Simulator;
let device: Device;
let file: string;

beforeEach(async () => {
  simulator = await startTestCloud();
  simulator.service.createThing(THING);
  device = await createDevice(THING, simulator.mqttUrl);
  file = join(device.root, 'evenkeel.prom');
  await device.configure({ metrics: { file } });
});
afterEach(async () => {
  await device.stop('SIGKILL');
  await device.remove();
  await simulator.close();
});

/** Every sample by name and labels; throws where the text breaks a rule that `promtool check metrics` has. */
function samplesOf(text: string): Map<string, number> {
  const samples = new Map<string, number>();
  let family = '';
  let type = '';
  let helped = '';
  expect(text.endsWith('\n')).toBe(true);
  for (const line of text.trimEnd().split('\n')) {
    const head = /^# (HELP|TYPE) ([a-z_]+) (.+)$/.exec(line);
    if (head?.[1] === 'HELP') helped = head[2]!;
    else if (head) {
      family = head[2]!;
      type = head[3]!;
      expect(helped, 'HELP comes first').toBe(family);
      expect(['counter', 'gauge', 'histogram']).toContain(type);
      expect(family.endsWith('_total'), family).toBe(type === 'counter');
      if (type === 'histogram') expect(family).toMatch(/_seconds$/);
      expect(family).not.toMatch(/milli|_ms\b|minutes|kilobytes/);
    } else {
      const sample = /^([a-z_]+)(\{(?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)+\})? (-?[\d.e+]+)$/.exec(line);
      expect(sample, line).not.toBeNull();
      const name = sample![1]!;
      expect(type === 'histogram' ? name.replace(/_(bucket|sum|count)$/, '') : name).toBe(family);
      const key = `${name}${sample![2] ?? ''}`;
      expect(samples.has(key), `${key} stands there twice`).toBe(false);
      samples.set(key, Number(sample![3]));
    }
  }
  return samples;
}

async function written(): Promise<Map<string, number>> {
  const text = await readFile(file, 'utf8').catch(() => undefined);
  return text === undefined ? new Map<string, number>() : samplesOf(text);
}

async function has(sample: string, value: number): Promise<void> {
  let seen: number | undefined;
  await until(
    `${sample} ${value}`,
    async () => {
      seen = (await written()).get(sample);
      return seen === value;
    },
    40_000,
  ).catch((error: unknown) => {
    throw new Error(`${(error as Error).message}; it is ${seen}`);
  });
}

function createJob(jobId: string, command: string, more: object = {}): void {
  const action = { name: 'do', type: 'runCommand', input: { command: ['/bin/sh', '-c', command] }, ...more };
  const document = { version: '1.0', steps: [{ action }] };
  simulator.service.createJob({ jobId, targets: [thingArn(THING)], document: JSON.stringify(document) });
}

test('the text is right by the rules of Prometheus, with every sample there from the start', () => {
  const samples = samplesOf(metricsText(NO_COUNTERS, { ...IDLE, version: 'a"b\\c\nd' }));
  expect(samples.get('evenkeel_build_info{version="a\\"b\\\\c\\nd"}')).toBe(1);
  expect(samples.get('evenkeel_jobs_total{outcome="inconsistent"}')).toBe(0);
  expect(samples.get('evenkeel_rollbacks_total{grade="none",result="notReversed"}')).toBe(0);
  expect(samples.get('evenkeel_undo_duration_seconds_bucket{le="+Inf"}')).toBe(0);
  expect(samples.size).toBeGreaterThan(40);
  let promtool = true;
  try {
    execFileSync('promtool', ['--version'], { stdio: 'ignore' });
  } catch {
    promtool = false;
  }
  if (promtool) execFileSync('promtool', ['check', 'metrics'], { input: metricsText(NO_COUNTERS, IDLE) });
});

test('a histogram is cumulative; a bound belongs to its bucket', () => {
  let seen = { counts: [] as number[], sum: 0 };
  for (const value of [0.05, 0.1, 0.2, 7, 100_000]) seen = observed(seen, SECONDS, value);
  const samples = histogramSamples(seen, SECONDS);
  const at = (le: string): number | undefined => samples.find(({ labels }) => labels?.['le'] === le)?.value;
  expect([at('0.1'), at('0.5'), at('5'), at('10'), at('1800'), at('+Inf')]).toEqual([2, 3, 3, 4, 4, 5]);
  expect(samples.find(({ suffix }) => suffix === '_count')?.value).toBe(5);
});

test('each execution is counted once, however often it is seen, and what is forgotten stays counted', () => {
  const one = {
    key: 'a',
    state: 'closed',
    outcome: 'rolledBack',
    grade: 'full',
    undoMs: 1500,
  } as StorySummary;
  const open = { ...one, key: 'b', state: 'underWay' } as StorySummary;
  const once = withClosed(NO_COUNTERS, [one, open]);
  const twice = withClosed(once, [one, { ...open, state: 'closed', outcome: 'committed' } as StorySummary]);
  expect(once.rollbacks).toEqual({ 'full rolledBack': 1 });
  expect(twice.jobs).toEqual({ rolledBack: 1, committed: 1 });
  expect(withClosed(twice, []).jobs).toEqual(twice.jobs);
  expect(withClosed(twice, []).counted).toEqual([]);
});

test('a real agent: a success, a cancel, a rejection and a new link are counted, over kills; idle writes nothing', async () => {
  await device.start();
  await has('evenkeel_link_up', 1);
  createJob('good', 'true');
  await has('evenkeel_jobs_total{outcome="committed"}', 1);
  createJob('long', 'sleep 60', { snapshotPaths: [device.path('var')] });
  await has('evenkeel_jobs_running', 1);
  await until('its step', async () => simulator.service.execution(THING, 'long').status === 'IN_PROGRESS');
  simulator.service.cancelExecution(THING, 'long', { force: true });
  await has('evenkeel_rollbacks_total{grade="full",result="rolledBack"}', 1);
  createJob('bad', 'true', { runAsUser: 'nobody-of-that-name' });
  await has('evenkeel_jobs_total{outcome="rejected"}', 1);
  simulator.disconnect(THING);
  await has('evenkeel_reconnects_total', 1);
  await has('evenkeel_outbox_receipts', 0);
  const samples = await written();
  expect(samples.get('evenkeel_cancel_latency_seconds_count')).toBe(1);
  expect(samples.get('evenkeel_undo_duration_seconds_count')).toBe(1);
  expect(samples.get('evenkeel_journal_bytes')).toBeGreaterThan(4096);
  expect((await stat(file)).mode & 0o777).toBe(0o644);

  const before = [await stat(file), await stat(join(device.root, 'state/metrics.json'))];
  await sleep(4000);
  const after = [await stat(file), await stat(join(device.root, 'state/metrics.json'))];
  expect(after.map(({ mtimeMs, ino }) => [mtimeMs, ino])).toEqual(
    before.map(({ mtimeMs, ino }) => [mtimeMs, ino]),
  );

  await device.stop('SIGTERM');
  expect((await written()).get('evenkeel_link_up')).toBe(0);
  await device.start();
  await has('evenkeel_link_up', 1);
  createJob('good-2', 'true');
  await has('evenkeel_jobs_total{outcome="committed"}', 2);
  expect((await written()).get('evenkeel_reconnects_total')).toBe(1);
  expect((await written()).get('evenkeel_jobs_total{outcome="rolledBack"}')).toBe(1);
  await device.stop('SIGKILL');
  await device.start();
  await has('evenkeel_link_up', 1);
  expect((await written()).get('evenkeel_jobs_total{outcome="committed"}')).toBe(2);
});

test('without metrics.file nothing is counted; a file that cannot be written is said once, and ends nothing', async () => {
  await device.configure({ metrics: { file: join(device.root, 'nowhere/evenkeel.prom') } });
  await device.start();
  createJob('good', 'true');
  await until('its end', () => simulator.service.execution(THING, 'good').status === 'SUCCEEDED', 40_000);
  await until('the word', () => device.log().includes('cannot write metrics'));
  await sleep(2500);
  expect(device.log().split('cannot write metrics').length).toBe(2);
  await device.stop('SIGTERM');
  await device.configure({ metrics: {} });
  await device.start();
  createJob('good-2', 'true');
  await until('its end', () => simulator.service.execution(THING, 'good-2').status === 'SUCCEEDED', 40_000);
  await device.stop('SIGTERM');
  expect(await stat(file).catch(() => 'none')).toBe('none');
});
