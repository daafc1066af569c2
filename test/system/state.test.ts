import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import type { Simulator } from '../../src/simulator/index.ts';
import { startTestCloud } from '../support/cloud.ts';
import { until } from '../support/until.ts';
import { createLane, type Lane, type TestClock, testClock } from './lane.ts';
import { isNew } from './small-job.ts';

/** The state directory: lost, shared, volatile, from a newer agent, or on a disk that no longer writes. I4, I6. */

const TEST_MS = 60_000;
const MAIN = new URL('../../dist/cli/main.js', import.meta.url).pathname;

let simulator: Simulator;
let clock: TestClock;
let lane: Lane;
beforeAll(async () => {
  clock = testClock();
  simulator = await startTestCloud({ clock });
});
afterAll(() => simulator.close());
beforeEach(async () => {
  lane = await createLane(simulator, clock);
});
afterEach(() => lane.end());

const execution = (jobId: string) => simulator.service.execution(lane.device.thing, jobId);

/** A job that the agent is in the middle of when it dies. */
async function diedAt(place: string): Promise<string> {
  lane.agent.start();
  const jobId = await lane.next();
  await lane.agent.arm(place, 'kill', '');
  const there = lane.agent.reached();
  lane.createJob(jobId, lane.document(false));
  await there;
  return jobId;
}

async function runs(jobId: string): Promise<void> {
  lane.createJob(jobId, {
    version: '1.0',
    steps: [{ action: { name: 'a', type: 'runCommand', input: { command: 'true' } } }],
  });
  await until(`${jobId} to run`, () => execution(jobId).status === 'SUCCEEDED');
}

/** Runs another `evenkeel` to its end. */
async function otherAgent(config: string): Promise<{ code: number | null; said: string }> {
  const child = spawn(process.execPath, [MAIN, 'run', '--config', config], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
  const [code] = (await once(child, 'exit')) as [number | null];
  return { code, said };
}

test('a state directory that is lost in the middle of a job: REJECTED, a receipt, and never run again', {
  timeout: TEST_MS,
}, async () => {
  const jobId = await diedAt('attempt 2');
  await rm(join(lane.device.root, 'state'), { recursive: true });
  const before = await lane.device.files();
  lane.agent.start();
  await until('the refusal', () => execution(jobId).status === 'REJECTED');
  expect(execution(jobId).statusDetails).toMatchObject({ code: 'localStateLost' });
  const receipt = await until('the receipt', () => lane.receipts.at(-1));
  expect(receipt).toMatchObject({
    jobId,
    cloudStatus: 'REJECTED',
    outcome: 'localStateLost',
    exception: 'localStateLost',
    deviceState: 'unknown',
    verified: false,
  });
  await runs('after-the-loss');
  expect(await lane.device.files()).toEqual(before);
  expect(await lane.stories(jobId)).toEqual([]);
});

test('a second agent on one state directory refuses, and the first goes on', {
  timeout: TEST_MS,
}, async () => {
  lane.agent.start();
  await runs('before-the-second');
  const { code, said } = await otherAgent(lane.device.config);
  expect(code).toBe(1);
  expect(said).toMatch(/cannot use .*state: another agent is running on it/);
  await runs('after-the-second');
  expect(lane.agent.log()).not.toContain('transport.down');
});

test('a state directory on tmpfs is refused', { timeout: TEST_MS }, async () => {
  const directory = await mkdtemp('/dev/shm/evenkeel-state-');
  try {
    const config = parse(await readFile(lane.device.config, 'utf8')) as object;
    const path = join(lane.device.root, 'tmpfs.yaml');
    await writeFile(path, stringify({ ...config, state: { directory } }));
    const { code, said } = await otherAgent(path);
    expect(code).toBe(1);
    expect(said).toContain(`cannot keep state in ${directory}: it is on tmpfs`);
  } finally {
    await rm(directory, { recursive: true });
  }
});

test('SIGTERM in the middle of a step is no failure: it goes on after the start', {
  timeout: TEST_MS,
}, async () => {
  await reconfigure({ drainSeconds: 0 });
  lane.agent.start();
  const jobId = await lane.next();
  const flag = lane.device.path('var/waits');
  const script = `touch ${flag}; [ -e ${lane.device.path('var/second')} ] || sleep 60; rm ${flag} ${lane.device.path('var/second')}; echo made > ${lane.device.path('var/made.txt')}`;
  const document = lane.document(false) as { steps: object[] };
  const step = {
    action: {
      name: 'make',
      type: 'runCommand',
      input: { command: ['/bin/sh', '-c', script] },
      snapshotPaths: [flag, lane.device.path('var/made.txt')],
    },
  };
  lane.createJob(jobId, { ...document, steps: [...document.steps.slice(0, 3), step] });
  await until('the step', async () =>
    (await lane.device.files()).some((line) => line.startsWith('var/waits')),
  );
  await lane.agent.stop();
  expect(execution(jobId).status).toBe('IN_PROGRESS');
  await writeFile(lane.device.path('var/second'), '');
  lane.agent.start();
  await until('the job to succeed', () => execution(jobId).status === 'SUCCEEDED');
  await isNew(lane);
  const [story] = await lane.stories(jobId);
  expect(story!.records.map(({ type }) => type)).toEqual(
    expect.arrayContaining(['interrupted', 'undo', 'undone']),
  );
  expect(story!.records.map(({ type }) => type)).not.toContain('failed');
});

test('a journal of a newer format: nothing is touched, nothing is started, and it says so', {
  timeout: TEST_MS,
}, async () => {
  const jobId = await diedAt('attempt 2');
  const [key] = await keys();
  const path = join(lane.device.root, 'state/executions', key!, 'journal');
  await makeNewer(path);
  const [journal, files] = [await readFile(path), await lane.device.files()];
  const version = execution(jobId).versionNumber;
  lane.agent.start();
  await until('its word', () => /newerFormat.*has format 2/.test(lane.agent.log()));
  lane.createJob('waits-behind', lane.document(false));
  const looks = lane.looks;
  const ups = (): number => lane.agent.log().split('transport.up').length - 1;
  await until('the link', () => ups() === 2);
  simulator.disconnect(lane.device.thing);
  await until('the link again', () => ups() === 3);
  expect(lane.looks).toBe(looks);
  expect(execution(jobId)).toMatchObject({ status: 'IN_PROGRESS', versionNumber: version });
  expect(execution('waits-behind').status).toBe('QUEUED');
  expect(await readFile(path)).toEqual(journal);
  expect(await lane.device.files()).toEqual(files);
  expect(lane.receipts).toEqual([]);
});

test('a disk that refuses to sync the journal ends the process by SIGKILL, and the next life goes on', {
  timeout: TEST_MS,
}, async () => {
  const jobId = await diedAt('ready 2');
  const [key] = await keys();
  const journal = join(lane.device.root, 'state/executions', key!, 'journal');
  // Every thread counts for itself; the first sync makes what was read durable, so each is refused from the start.
  const inject = [
    '-f',
    '-qq',
    '-e',
    'trace=fdatasync',
    '-P',
    journal,
    '-e',
    'inject=fdatasync:error=EIO:when=2+',
  ];
  const child = spawn('strace', [...inject, process.execPath, MAIN, 'run', '--config', lane.device.config], {
    stdio: 'ignore',
    env: { ...process.env, UV_THREADPOOL_SIZE: '1' },
  });
  const [, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  expect(signal).toBe('SIGKILL');
  expect(['IN_PROGRESS']).toContain(execution(jobId).status);
  lane.agent.start();
  await until('the job to succeed', () => execution(jobId).status === 'SUCCEEDED');
  await isNew(lane);
});

async function reconfigure(change: object): Promise<void> {
  const config = parse(await readFile(lane.device.config, 'utf8')) as object;
  await writeFile(lane.device.config, stringify({ ...config, ...change }));
}

async function keys(): Promise<string[]> {
  return readdir(join(lane.device.root, 'state/executions'));
}

/** Gives the first block the next format, with a checksum that is right. */
async function makeNewer(path: string): Promise<void> {
  const file = await open(path, 'r+');
  try {
    const block = Buffer.alloc(4096);
    await file.read(block, 0, block.length, 0);
    block.writeUInt32LE(2, 4);
    const length = block.readUInt32LE(12);
    block.writeUInt32LE(crc32(block.subarray(20, 20 + length), crc32(block.subarray(0, 16))), 16);
    await file.write(block, 0, block.length, 0);
  } finally {
    await file.close();
  }
}
