import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Simulator } from '../../src/simulator/index.ts';
import { startTestCloud } from '../support/cloud.ts';
import { asked, type Typed, type, typed } from '../support/command.ts';
import { storiesIn } from '../support/journals.ts';
import { until } from '../support/until.ts';
import {
  cloudStatus,
  createSmallJob,
  deviceState,
  isClosed,
  receiptOf,
  type Stage,
  settled,
  smallDocument,
  stage,
} from '../system/small-job.ts';

/** `evenkeel run-local`, with the real agent: the same engine, the same promise, and the device as the judge. */

const TEST_MS = 90_000;
const RECORDS_MAX = 40;
/** Fewer would mean that the loop ended before the job did. */
const RECORDS_MIN = 12;

let simulator: Simulator;
let scene: Stage;
beforeAll(async () => {
  simulator = await startTestCloud();
});
afterAll(() => simulator.close());
beforeEach(async () => {
  scene = await stage(simulator);
});
afterEach(async () => {
  await scene.device.stop('SIGTERM');
  await scene.device.remove();
});

async function start(): Promise<void> {
  await scene.device.start();
  await until('the agent', async () => (await typed(scene.device, 'allow')).code === 0);
}

async function written(document: object): Promise<string> {
  const path = join(scene.device.root, 'job.json');
  await writeFile(path, JSON.stringify(document));
  return path;
}

const small = (lastCommand?: string): Promise<string> => written(smallDocument(scene.device, lastCommand));

const has = async (text: string): Promise<boolean> =>
  (await scene.device.files()).some((line) => line.startsWith(text));
const inLastStep = (): Promise<unknown> => until('the last step', () => has('var/made.txt'));

test('it commits after verifying, a job of the cloud waits, and a receipt tells of it', {
  timeout: TEST_MS,
}, async () => {
  await start();
  const path = await small(`while [ ! -e ${scene.device.path('go')} ]; do sleep 0.05; done`);
  const running = type(scene.device, 'run-local', path);
  await inLastStep();
  createSmallJob(scene);
  const second = await typed(scene.device, 'run-local', path);
  expect(second).toMatchObject({ code: 1, stderr: expect.stringMatching(/local-\w+#1 is open/) as string });
  expect(cloudStatus(scene)).toBe('QUEUED');
  await writeFile(scene.device.path('go'), '');
  const { code, stdout } = await running.ended;
  expect({ code, stdout }).toEqual({
    code: 0,
    stdout: expect.stringMatching(
      /^local-\w{8} runs: 4 steps, whose undo is worth: full\n(.*\n)*.*4\/4 make: done\nlocal-\w+#1 has succeeded/,
    ) as string,
  });
  const receipt = await until('its receipt', () => receiptOf(scene));
  expect(receipt).toMatchObject({
    cloudStatus: 'none',
    outcome: 'committed',
    deviceState: 'new',
    cause: { kind: 'local' },
  });
  await until('the job of the cloud', () => cloudStatus(scene) === 'SUCCEEDED');
});

test('without a link it runs all the same; the receipt comes later', { timeout: TEST_MS }, async () => {
  let isCut = true;
  const heal = simulator.faults.onRequest(() => ({ kind: isCut ? 'disconnect' : 'process' }));
  try {
    await start();
    expect((await typed(scene.device, 'run-local', await small())).code).toBe(0);
    expect(await deviceState(scene)).toBe('new');
    expect(receiptOf(scene)).toBeUndefined();
    isCut = false;
    expect(await until('its receipt', () => receiptOf(scene))).toMatchObject({ outcome: 'committed' });
  } finally {
    heal();
  }
});

test('a step that fails: the device is back, exit code 3', { timeout: TEST_MS }, async () => {
  await start();
  const { code, said } = await asked(scene.device, 'run-local', await small('exit 7'));
  expect({ code, said }).toMatchObject({
    code: 3,
    said: {
      end: { outcome: 'rolledBack', cloudStatus: 'none', cause: expect.stringContaining('7') as string },
    },
  });
  expect(await deviceState(scene)).toBe('old');
});

test('evenkeel cancel, and Ctrl-C where nobody can be asked', { timeout: TEST_MS }, async () => {
  await start();
  const running: Typed = type(scene.device, 'run-local', await small('sleep 600'));
  await inLastStep();
  running.signal('SIGINT');
  const left = await running.ended;
  expect(left).toMatchObject({ code: 6, stderr: expect.stringContaining('is left running') as string });
  expect(await has('var/made.txt')).toBe(true);
  const { code, stdout } = await typed(scene.device, 'cancel', '--reason', 'enough');
  expect({ code, stdout }).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('rolled back (enough)') as string,
  });
  expect(await deviceState(scene)).toBe('old');
  expect(await until('its receipt', () => receiptOf(scene))).toMatchObject({ outcome: 'rolledBack' });
});

test('what will not be run is said, and why', { timeout: TEST_MS }, async () => {
  await start();
  const invalid = await written({ version: '1.0', steps: [{ action: { type: 'dance' } }] });
  expect(await typed(scene.device, 'run-local', invalid)).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('documentInvalid') as string,
  });
  await writeFile(invalid, 'no JSON');
  expect(await typed(scene.device, 'run-local', invalid)).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('is no JSON') as string,
  });
  await typed(scene.device, 'inhibit', '--reason', 'at sea');
  expect(await typed(scene.device, 'run-local', await small())).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('inhibited: at sea') as string,
  });
  expect(await deviceState(scene)).toBe('old');
  await scene.device.stop('SIGTERM');
  expect((await typed(scene.device, 'run-local', await small())).code).toBe(2);
});

test('a URL with a query, which nobody could give again, is fetched also after a restart', {
  timeout: TEST_MS,
}, async () => {
  const queries: string[] = [];
  let isOpen = false;
  const site = createServer((request, response) => {
    queries.push(request.url ?? '');
    if (isOpen) response.end('fetched');
    else response.writeHead(503).end();
  }).listen(0, '127.0.0.1');
  try {
    await start();
    const url = `http://127.0.0.1:${(site.address() as AddressInfo).port}/app?key=1`;
    const action = {
      name: 'fetch',
      type: 'downloadFile',
      input: { url, path: scene.device.path('var/app') },
    };
    const path = await written({ version: '1.0', steps: [{ action }] });
    const running = type(scene.device, 'run-local', path);
    await until('the first try', () => queries.length > 0);
    await scene.device.stop('SIGKILL');
    isOpen = true;
    await scene.device.start();
    expect((await running.ended).code).toBe(0);
    expect(new Set(queries)).toEqual(new Set(['/app?key=1']));
    expect(await readFile(scene.device.path('var/app'), 'utf8')).toBe('fetched');
  } finally {
    site.close();
  }
});

test.each([
  { name: 'a job that commits', command: 'true', code: 0, state: 'new' },
  { name: 'a job that fails', command: 'exit 3', code: 3, state: 'old' },
])(
  '$name ends right after a SIGKILL at every record, and the command sees it',
  {
    timeout: 240_000,
  },
  async ({ command, code, state }) => {
    let killed = 0;
    for (let record = 1; record <= RECORDS_MAX; record += 1) {
      await scene.device.remove();
      scene = await stage(simulator);
      const path = await small(command);
      // The agent dies at the record, which only the command makes it write.
      let typing: Promise<{ code: number | null }> | undefined;
      const there = await scene.device.startUntil(record, 'kill', async () => {
        typing ??= until('the command to be taken', async () => {
          const ended = await typed(scene.device, 'run-local', path, '--detach');
          // Who was refused would wait for ever.
          expect(ended).not.toMatchObject({ code: 1 });
          return ended.code === 2 && !(await hasJournal()) && scene.device.running ? undefined : ended;
        });
        await Promise.race([typing, sleep(1)]);
        return await isClosed(scene);
      });
      await scene.device.stop('SIGTERM');
      await typing;
      await scene.device.start();
      if (await hasJournal()) {
        await settled(scene);
        const [story] = await storiesIn(join(scene.device.root, 'state'));
        expect(story?.progress.cloudStatus).toBe('none');
        expect({ record, state: await deviceState(scene) }).toEqual({ record, state });
        expect(await until('its receipt', () => receiptOf(scene))).toMatchObject({
          deviceState: state,
          outcome: code === 0 ? 'committed' : 'rolledBack',
        });
      } else {
        expect({ record, state: await deviceState(scene) }).toEqual({ record, state: 'old' });
      }
      await scene.device.stop('SIGTERM');
      if (!there) break;
      killed += 1;
    }
    expect(killed).toBeGreaterThanOrEqual(RECORDS_MIN);
  },
);

async function hasJournal(): Promise<boolean> {
  return (await storiesIn(join(scene.device.root, 'state'))).length > 0;
}
