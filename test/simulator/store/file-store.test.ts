import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openFileStore } from '../../../src/simulator/store/file-store.ts';
import type { Store } from '../../../src/simulator/store/port.ts';

let directory: string;
let log: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'simulator-store-'));
  log = join(directory, 'simulator.log');
});
afterEach(() => rm(directory, { recursive: true }));

const contents = (store: Store): unknown =>
  ['a', 'b'].map((name) => [...store.collection<unknown>(name).entries()]);

async function reopened(): Promise<unknown> {
  const store = await openFileStore(directory);
  const found = contents(store);
  await store.close();
  return found;
}

test('what was saved is there again, in its order, with its last value; what was deleted is not', async () => {
  const store = await openFileStore(directory);
  const a = store.collection<{ n: number }>('a');
  const one = { n: 1 };
  a.set('one', one);
  a.set('two', { n: 2 });
  store.collection('b').set('ü\n', 'text');
  await store.saved();
  one.n = 11;
  a.set('one', one);
  a.set('three', { n: 3 });
  a.delete('two');
  await store.close();
  expect(await reopened()).toEqual([
    [
      ['one', { n: 11 }],
      ['three', { n: 3 }],
    ],
    [['ü\n', 'text']],
  ]);
});

test('cut off at any byte, the log gives what some save had, and takes new changes', {
  timeout: 120_000,
}, async () => {
  const store = await openFileStore(directory);
  const states: string[] = [JSON.stringify(contents(store))];
  const ends: number[] = [(await readFile(log)).length];
  const a = store.collection<string>('a');
  const b = store.collection<string>('b');
  for (let step = 0; step < 8; step += 1) {
    a.set(`k${step % 3}`, `v${step}`);
    b.set('both', `v${step}`);
    if (step === 5) a.delete('k0');
    await store.saved();
    states.push(JSON.stringify(contents(store)));
    ends.push((await readFile(log)).length);
  }
  await store.close();
  const whole = await readFile(log);
  for (let length = 0; length <= whole.length; length += 1) {
    await writeFile(log, whole.subarray(0, length));
    const saves = ends.filter((end) => end <= length).length;
    const found = await openFileStore(directory);
    expect(JSON.stringify(contents(found)), `cut at ${length}`).toBe(states[Math.max(0, saves - 1)]);
    found.collection('a').set('after', 'the cut');
    await found.close();
    expect(JSON.stringify(await reopened())).toContain('the cut');
  }
});

test('a rotten byte in the last record costs that record alone, and never anything before it', async () => {
  const store = await openFileStore(directory);
  store.collection('a').set('first', 1);
  await store.saved();
  const before = (await readFile(log)).length;
  store.collection('a').set('second', 2);
  await store.close();
  const whole = await readFile(log);
  for (let at = before; at < whole.length; at += 1) {
    const rotten = Buffer.from(whole);
    rotten[at] = (rotten[at] ?? 0) ^ 0x10;
    await writeFile(log, rotten);
    expect(await reopened()).toEqual([[['first', 1]], []]);
  }
});

test('many who save at once share few writes', async () => {
  const store = await openFileStore(directory);
  const a = store.collection<number>('a');
  const saves: Promise<void>[] = [];
  for (let n = 0; n < 1000; n += 1) {
    a.set(`k${n}`, n);
    saves.push(store.saved());
  }
  await Promise.all(saves);
  expect((await readFile(log, 'utf8')).split('\n').length).toBeLessThan(10);
  await store.close();
});

test('a log of which most is out of date is rewritten, and loses nothing', async () => {
  const store = await openFileStore(directory);
  const a = store.collection<string>('a');
  let last = '';
  for (let n = 0; n < 120; n += 1) {
    last = `${n}`.padEnd(100_000, 'x');
    a.set('k', last);
    await store.saved();
  }
  expect((await readFile(log)).length).toBeLessThan(8_000_000);
  await store.close();
  expect(await reopened()).toEqual([[['k', last]], []]);
});

test('one at a time: a second store is refused, and one that died is no hindrance', async () => {
  const store = await openFileStore(directory);
  await expect(openFileStore(directory)).rejects.toThrow('another simulator');
  await store.close();
  const child = spawn(process.execPath, [
    '--eval',
    "require('node:net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))",
    join(directory, 'owner'),
  ]);
  await once(child, 'exit');
  await expect(access(join(directory, 'owner'))).resolves.toBeUndefined();
  await (await openFileStore(directory)).close();
});

test('a log of another version is refused, and left as it is', async () => {
  await (await openFileStore(directory)).close();
  const { encodeRecord } = await import('../../../src/simulator/store/record.ts');
  const foreign = encodeRecord([['format', 'version', 1]]);
  await writeFile(log, foreign);
  await expect(openFileStore(directory)).rejects.toThrow('another version');
  expect(await readFile(log, 'utf8')).toBe(foreign);
  await appendFile(log, '');
});
