import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { askAgent } from '../../src/cli/control/client.ts';
import type { StatusReport } from '../../src/cli/status.ts';
import type { Story, StorySummary } from '../../src/cli/story/story.ts';
import { systemClock } from '../../src/host/clock.ts';
import { nodeDisk } from '../../src/host/node-disk.ts';
import type { Simulator } from '../../src/simulator/index.ts';
import { thingArn } from '../../src/simulator/service/jobs-service.ts';
import { startTestCloud } from '../support/cloud.ts';
import { createDevice, type Device } from '../support/device.ts';
import { until } from '../support/until.ts';

/** What a person reads at the device: status, history, show and logs, of a real agent, while it runs and when it does not. */

const MAIN = new URL('../../dist/cli/main.js', import.meta.url).pathname;
const THING = 'reader';

vi.setConfig({ testTimeout: 120_000 });

let simulator: Simulator;
let device: Device;
const watchers: ChildProcess[] = [];

beforeEach(async () => {
  simulator = await startTestCloud();
  simulator.service.createThing(THING);
  device = await createDevice(THING, simulator.mqttUrl);
});
afterEach(async () => {
  for (const watcher of watchers.splice(0)) watcher.kill('SIGKILL');
  await device.stop('SIGKILL');
  await device.remove();
  await simulator.close();
});

function evenkeel(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [MAIN, ...args, '--config', device.config], (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr });
    });
  });
}

async function json<T>(...args: string[]): Promise<T> {
  return JSON.parse((await evenkeel(...args, '--json')).stdout) as T;
}

/** Writes a file, says something on both streams, and takes its time where it is told to. */
function document(seconds: number, more: object[] = []): object {
  const script = `echo heard; echo complaint >&2; sleep ${seconds}; echo \u001b[31mred`;
  const action = (name: string, type: string, input: object, extra: object = {}): object => ({
    action: { name, type, input, ...extra },
  });
  return {
    version: '1.0',
    steps: [
      action('configure', 'writeFile', { path: device.path('etc/app.conf'), content: 'version = 2\n' }),
      action(
        'migrate',
        'runCommand',
        { command: ['/bin/sh', '-c', script] },
        { snapshotPaths: [device.path('var')], undo: ['/bin/sh', '-c', 'echo taking it back'] },
      ),
      ...more,
    ],
  };
}

function createJob(jobId: string, content: object): void {
  simulator.service.createJob({ jobId, targets: [thingArn(THING)], document: JSON.stringify(content) });
}

const statusOf = (jobId: string): string => simulator.service.execution(THING, jobId).status;

async function closed(jobId: string): Promise<StorySummary> {
  return await until(
    `the end of ${jobId}`,
    async () => {
      const { jobs } = await json<{ jobs: StorySummary[] }>('history');
      return jobs.find((job) => job.jobId === jobId && job.state === 'closed');
    },
    60_000,
  );
}

async function running(jobId: string): Promise<Story> {
  return await until(`step 2 of ${jobId}`, async () => {
    const { current } = await json<StatusReport>('status');
    return current?.jobId === jobId && current.steps[1]?.state === 'attempting' ? current : undefined;
  });
}

test('a job under way, cancelled by force: status, history, show and logs say what became of it', async () => {
  await device.start();
  createJob('update-1', document(60));
  const current = await running('update-1');
  expect(current).toMatchObject({ outcome: 'underWay', device: 'changing', stepsDone: 1, stepsTotal: 2 });
  const now = await evenkeel('status');
  expect(now.code).toBe(0);
  expect(now.stdout).toContain('works on a job');
  expect(now.stdout).toMatch(/^job +update-1#1, begun \d+ s ago$/m);
  expect(now.stdout).toContain('] 1 of 2 steps done');
  expect(now.stdout).toContain('now: runs the step');
  expect(now.stdout).toMatch(/> 2\. migrate {2}RUNS for \d+ s/);

  simulator.service.cancelExecution(THING, 'update-1', { force: true });
  const ended = await closed('update-1');
  expect(ended).toMatchObject({
    outcome: 'rolledBack',
    device: 'old',
    cloudStatus: 'CANCELED',
    reason: 'the cloud ended the execution: CANCELED',
  });
  const shown = (await evenkeel('show', 'update-1')).stdout;
  expect(shown).toMatch(/^update-1#1 {2}the device is as it was$/m);
  expect(shown).toMatch(/because +the cloud ended the execution: CANCELED/);
  expect(shown).toMatch(/2\. {2}migrate +runCommand +full +[\d.]+ s +[\d.]+ s +undone/);
  expect(shown).toContain('ended, since the cloud has ended the job');
  expect(shown).toMatch(/^ {2}old +\/.*etc\/app\.conf$/m);
  const order = [
    'the job has come',
    '1 (configure) is done',
    'TURNS BACK',
    '2 (migrate) is undone',
    'closed',
  ];
  expect(order.map((words) => shown.indexOf(words))).toEqual(
    order.map((words) => shown.indexOf(words)).toSorted((a, b) => a - b),
  );
  expect(order.every((words) => shown.includes(words))).toBe(true);
  const { executions } = await json<{ executions: Story[] }>('show', 'update-1');
  expect(executions).toHaveLength(1);
  expect(executions[0]?.steps.map(({ state }) => state)).toEqual(['undone', 'undone']);
  expect(executions[0]?.resources.find(({ id }) => id.endsWith('app.conf'))).toMatchObject({
    steps: [1],
    now: 'old',
    before: expect.stringContaining('dbab12665d98') as string,
    after: expect.stringContaining('436f6de28726') as string,
  });
  const page = join(device.root, 'story.html');
  expect((await evenkeel('show', 'update-1', '--html', page)).code).toBe(0);
  expect(await readFile(page, 'utf8')).toBe((await evenkeel('show', 'update-1', '--html')).stdout);
  expect(await readFile(page, 'utf8')).toMatch(/^<!doctype html>.*taking it back.*<\/html>\n$/s);
  expect(await evenkeel('show', 'update-1', '--execution', '2')).toMatchObject({
    code: 1,
    stderr: 'no execution 2 of update-1 has run here; these have: 1\n',
  });
  const past = (await evenkeel('history')).stdout;
  expect(past).toMatch(/update-1#1 {2}CANCELED {2}the device is as it was/);

  const said = (await evenkeel('logs', 'update-1')).stdout;
  expect(said).toMatch(
    /step 2 \(migrate\), ended .*\n {2}heard\n! complaint\n.*, undo, ended .*\n {2}taking it back\n/,
  );
  const outputs = await readdir(join(device.root, 'state/executions', ended.key, 'output'));
  expect(outputs.sort()).toEqual(['1-do-1.json', '1-undo-1.json']);
});

test('without an agent the state directory tells the same, and the exit code says that none runs', async () => {
  expect(await evenkeel('status')).toMatchObject({
    code: 3,
    stdout: 'agent    none runs; this is what the state directory says\n\nno job has run here yet\n',
  });
  expect(await json('history')).toEqual({ format: 1, jobs: [] });
  expect(await evenkeel('show', 'nothing')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('no execution of nothing has run here') as string,
  });

  await device.start();
  createJob('update-2', document(60));
  await running('update-2');
  await device.stop('SIGKILL');
  const left = await evenkeel('status');
  expect(left.code).toBe(3);
  expect(left.stdout).toContain(
    'none runs; this is what the state directory says; the job below goes on when one starts',
  );
  expect(left.stdout).toContain('1 of 2 steps done');
  expect((await evenkeel('show', 'update-2')).stdout).toContain('update-2#1  under way');
  await device.start();
  await until('the end of it', () => statusOf('update-2') !== 'IN_PROGRESS' || simulatorCancel('update-2'));
  await closed('update-2');
});

/** Ends a job that would take too long. */
function simulatorCancel(jobId: string): boolean {
  simulator.service.cancelExecution(THING, jobId, { force: true });
  return true;
}

test('what others wrote reaches no terminal as it is', async () => {
  const evil = '\u001b]0;owned\u0007\u202egnp';
  await device.start();
  const failing = {
    action: { name: `x${evil}`, type: 'runCommand', input: { command: ['/bin/sh', '-c', 'exit 7'] } },
  };
  createJob('evil', document(0, [failing]));
  await closed('evil');
  for (const args of [['show', 'evil'], ['logs', 'evil'], ['history'], ['status']]) {
    const { stdout, code } = await evenkeel(...args);
    expect(code, args[0]).toBe(0);
    expect(stdout, args[0]).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202e]/);
  }
  expect((await evenkeel('show', 'evil')).stdout).toContain('x\\u001b]0;owned\\u0007\\u202egnp');
  expect((await evenkeel('logs', 'evil')).stdout).toContain('\\u001b[31mred');
  expect((await json<{ jobs: StorySummary[] }>('history')).jobs[0]).toMatchObject({
    outcome: 'notReversed',
    device: 'unknown',
    verified: false,
    cloudStatus: 'FAILED',
    advice: [expect.stringContaining('what these steps do outside') as string, expect.any(String) as string],
  });
});

test('a journal that cannot be read needs a person: status says so, and its exit code', async () => {
  await device.start();
  createJob('update-3', document(0));
  const { key } = await closed('update-3');
  await device.stop('SIGTERM');
  await writeFile(join(device.root, 'state/executions', key, 'journal'), Buffer.alloc(8192, 7));
  const { code, stdout } = await evenkeel('status');
  expect(code).toBe(4);
  expect(stdout).toMatch(new RegExp(`^${key}: cannot be read: `));
  expect(stdout).toContain('evenkeel bundle');
  expect((await evenkeel('show', key)).stdout).toContain(`${key}  cannot be read`);
});

test('the agent reads for those who may only ask it', async () => {
  await device.start();
  createJob('update-4', document(0));
  const { key } = await closed('update-4');
  const ask = async (command: string, more: object = {}) =>
    await askAgent(join(device.root, 'state'), { command, ...more }, { disk: nodeDisk, clock: systemClock });
  expect(await ask('history')).toMatchObject({ ok: true, value: [{ key, outcome: 'committed' }] });
  expect(await ask('show', { jobId: 'update-4' })).toMatchObject({
    ok: true,
    value: [{ key, steps: [{}, {}] }],
  });
  expect(await ask('logs', { jobId: 'update-4' })).toMatchObject({
    ok: true,
    value: [{ runs: [{ step: 2, stdout: 'heard\n\u001b[31mred\n' }] }],
  });
  expect(await ask('show')).toMatchObject({ ok: false, error: { code: 'badRequest' } });
});

test('status --watch: a line for each change into a pipe, and Ctrl-C ends it well', async () => {
  await device.start();
  const watcher = watching(process.execPath, [MAIN, 'status', '--watch', '--config', device.config]);
  await until('a first line', () => watcher.text().includes('agent idle, link up'));
  createJob('update-5', document(3));
  await until('the job', () => watcher.text().includes('step 2 of 2 (migrate) runs'));
  await closed('update-5');
  await until('the end', () => watcher.text().trimEnd().endsWith('agent idle, link up'));
  expect(watcher.text()).not.toContain('\u001b');
  const lines = watcher.text().trimEnd().split('\n');
  expect(lines.every((line) => /^\d{4}-\d\d-\d\dT[\d:]+Z agent /.test(line))).toBe(true);
  // A line only where something has changed.
  const said = lines.map((line) => line.slice(21));
  expect(said.filter((line, at) => line === said[at - 1])).toEqual([]);
  expect(await watcher.end('SIGINT')).toBe(0);
});

test('status --watch in a terminal: one picture, drawn over itself, and the cursor comes back', async () => {
  const command = `stty cols 60 rows 12; exec ${process.execPath} ${MAIN} status --watch --config ${device.config}`;
  const watcher = watching('script', ['-qfec', command, '/dev/null']);
  await until('two pictures', () => watcher.text().split('\u001b[J').length > 2);
  expect(watcher.text()).toContain('\u001b[?25l');
  expect(watcher.text()).toMatch(/\u001b\[\d+A\r\u001b\[J/);
  watcher.write('\u0003');
  expect(await watcher.ended()).toBe(0);
  expect(watcher.text()).toContain('\u001b[?25h');
  const plain = watcher.text().replace(/\u001b\[[?\d;]*[A-Za-z]/g, '');
  expect(Math.max(...plain.split(/\r?\n|\r/).map((line) => line.length))).toBeLessThanOrEqual(60);
});

function watching(command: string, args: string[]) {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  watchers.push(child);
  const exited = once(child, 'exit');
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  const ended = async (): Promise<number | null> => {
    const [code] = (await exited) as [number | null];
    return code;
  };
  return {
    text: () => text,
    write: (keys: string) => void child.stdin.write(keys),
    ended,
    end(signal: NodeJS.Signals) {
      child.kill(signal);
      return ended();
    },
  };
}
