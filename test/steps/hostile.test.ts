import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs/promises';
import { join, relative } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Admission, admit } from '../../src/agent/admission.ts';
import { defaultConfig } from '../../src/config/config.ts';
import type { Disk } from '../../src/host/disk.ts';
import { nodeDisk } from '../../src/host/node-disk.ts';
import { type ArchiveSite, startArchiveSite } from '../support/archive-site.ts';
import { randomFrom } from '../support/random.ts';
import { makeTar } from '../support/tar-maker.ts';
import { type Bench, createBench, treeOf } from './bench.ts';

/**
 * I9: whatever a document holds is REJECTED or contained. `outside` is what nobody may touch: a directory beside the
 * device, whose every entry is compared.
 */

const run = promisify(execFile);
let site: ArchiveSite;
let bench: Bench;
let outside: string;
let untouched: string[];
beforeAll(async () => {
  site = await startArchiveSite();
});
afterAll(() => site.close());
beforeEach(async () => {
  bench = await createBench();
  outside = join(bench.root, 'outside');
  await fs.mkdir(bench.path('allowed'));
  await plantOutside();
});
afterEach(async () => {
  expect(await treeOf(outside)).toEqual(untouched);
  await bench.remove();
});

async function plantOutside(): Promise<void> {
  await fs.mkdir(join(outside, 'data/deep'), { recursive: true });
  for (const name of ['passwd', 'data/x', 'data/deep/y'])
    await fs.writeFile(join(outside, name), `secret ${name}`);
  untouched = await treeOf(outside);
}

async function admitted(document: unknown, change: object = {}): Promise<Admission> {
  const step = bench.step({ type: 'check', input: { command: 'true' } });
  return admit(document, {
    facts: { thing: 'boat-1' },
    policy: { ...defaultConfig().policy, allowedPaths: [bench.path('allowed')], ...change },
    disk: nodeDisk,
    context: bench.context(step),
    reserveBytes: 0,
  });
}

const one = (type: string, input: unknown, more: object = {}): object => ({
  version: '1.0',
  steps: [{ action: { name: 'hostile', type, input, ...more } }],
});

/** Each says `PATH` where a path stands. */
const PATH_FIELDS: Record<string, (path: string) => object> = {
  'writeFile.path': (path) => one('writeFile', { path, content: 'x' }),
  'downloadFile.path': (path) => one('downloadFile', { url: 'https://h/f', path }),
  'removeFile.path': (path) => one('removeFile', { path }),
  'switchLink.link': (path) => one('switchLink', { link: path, target: 'x' }),
  'extractArchive.path': (path) => one('extractArchive', { url: 'https://h/a.tar', path }),
  'extractArchive.link': (path) =>
    one('extractArchive', { url: 'https://h/a.tar', path: '/x/y', link: path }),
  snapshotPaths: (path) => one('runCommand', { command: 'true' }, { snapshotPaths: [path] }),
  'download-file.sh': (path) =>
    one('runHandler', { handler: 'download-file.sh', args: ['https://h/f', path] }),
};

describe('a path that leads elsewhere is REJECTED in every field', () => {
  const hostile = (): string[] => [
    `${bench.path('allowed')}/../../outside/passwd`,
    `${bench.path('allowed')}/./x`,
    `${bench.path('allowed')}//x`,
    `${bench.path('allowed')}/x/`,
    join(outside, 'passwd'),
    '/',
    '..',
    '-rf',
    'relative',
    '/proc/self/mem',
    '/dev/sda',
    '/etc/evenkeel/evenkeel.yaml',
    `${bench.path('allowed')}/x\0y`,
    `${bench.path('allowed')}/.evenkeel-k/0-0`,
    `${bench.path('allowed')}/${'d/'.repeat(3000)}x`,
    `file://${bench.path('allowed')}`,
  ];
  test.each(Object.keys(PATH_FIELDS))('%s', async (field) => {
    // For this one a slash at the end says that it is a directory.
    const taken = field === 'download-file.sh' ? [`${bench.path('allowed')}/x/`] : [];
    for (const path of hostile().filter((one) => !taken.includes(one))) {
      const admission = await admitted(PATH_FIELDS[field]?.(path));
      expect({ path, kind: admission.kind }).toEqual({ path, kind: 'refused' });
      if (admission.kind === 'refused') expect(admission.reason).toMatch(/^(steps\[0\]\.action|steps)/);
    }
  });
});

describe('what no document should be is REJECTED, and nothing throws', () => {
  const nested = (depth: number): unknown => JSON.parse(`${'['.repeat(depth)}${']'.repeat(depth)}`);
  test.each<[string, () => unknown]>([
    ['32 KiB of nesting', () => nested(16_000)],
    ['nesting in an input', () => one('writeFile', { path: '/x', content: nested(10_000) })],
    ['nesting in an unknown key', () => ({ ...one('check', { command: 'true' }), more: nested(16_000) })],
    [
      'a thousand steps',
      () => ({ version: '1.0', steps: Array.from({ length: 1000 }, () => one('check', {})) }),
    ],
    ['a type of the prototype', () => one('constructor', {})],
    [
      'a type that is __proto__',
      () => JSON.parse('{"version":"1.0","steps":[{"action":{"type":"__proto__","input":{}}}]}') as unknown,
    ],
    ['a handler with a path', () => one('runHandler', { handler: '../../outside/passwd' })],
    ['a handler that is hidden', () => one('runHandler', { handler: '.profile' })],
    ['a handler that is an option', () => one('runHandler', { handler: '-c' })],
    [
      'a handler of a directory that is relative',
      // It is there, seen from where the agent was started.
      () => one('runHandler', { handler: 'true', path: relative(process.cwd(), '/usr/bin') }),
    ],
    ['a handler of a directory with NUL', () => one('runHandler', { handler: 'true', path: '/bin\0/x' })],
    ['a handler that is not there', () => one('runHandler', { handler: 'missing.sh' })],
    [
      'a user that does not exist',
      () => one('runCommand', { command: 'id' }, { runAsUser: 'nobody-by-that-name' }),
    ],
    ['a user that is a number', () => one('runCommand', { command: 'id' }, { runAsUser: '0' })],
    ['a user that is an option', () => one('runCommand', { command: 'id' }, { runAsUser: '--help' })],
    ['a user with a line break', () => one('runCommand', { command: 'id' }, { runAsUser: 'root\nx' })],
    ['another protocol', () => one('downloadFile', { url: 'file:///etc/shadow', path: '/x' })],
    ['a program with white space', () => one('runCommand', { command: 'sh -c x' })],
    ['a program with NUL', () => one('runCommand', { command: ['sh\0x'] })],
    ['numbers where text belongs', () => one('writeFile', { path: 7, content: {} })],
    ['a mode of its own', () => one('writeFile', { path: '/x', content: '', mode: '99999' })],
  ])('%s', async (_, document) => {
    expect(await admitted(document(), { allowedPaths: [] })).toMatchObject({ kind: 'refused' });
  });
});

async function playedThrough(action: object): Promise<string> {
  const step = bench.step(action);
  const survey = await bench.survey(step);
  if (survey.problems.length > 0) return 'refused';
  const before = await bench.prepare(step);
  const done = await bench.do(step, before);
  await bench.undo(step, before, done.result === 'ok' ? done.after : undefined);
  return done.result;
}

describe('arguments are arguments, and names are names', () => {
  const odd = [
    '-rf',
    '--',
    '--help',
    '$(touch x)',
    '`touch x`',
    '; rm -rf /',
    '\u202Etxt',
    'a\nb',
    '*',
    '~',
    '%s',
    '\\',
    "'",
    '"',
  ];

  test('a command gets each as it stands, and no shell reads it', async () => {
    const out = bench.path('allowed/out');
    const script = `for a in "$@"; do printf '%s\\0' "$a"; done > ${out}`;
    const step = bench.step({
      type: 'runCommand',
      input: { command: ['/bin/sh', '-c', script, 'sh', ...odd] },
    });
    expect(await bench.do(step, await bench.prepare(step))).toMatchObject({ result: 'ok' });
    expect((await fs.readFile(out, 'utf8')).split('\0').slice(0, -1)).toEqual(odd);
  });

  test.each(odd)('a file by the name of %j is written and undone', async (name) => {
    if (name.includes('/')) return;
    const old = await bench.tree();
    for (const action of [
      { type: 'writeFile', input: { path: join(bench.path('allowed'), name), content: 'x' } },
      { type: 'switchLink', input: { link: join(bench.path('allowed'), name), target: '-rf' } },
    ])
      expect(await playedThrough(action)).toBe('ok');
    const left = (lines: string[]): string[] => lines.map((line) => line.replace(/ (40\d+ \S+) \d+$/, ' $1'));
    expect(left(await bench.tree())).toEqual(left(old));
  });
});

test('a handler of a directory that others can write is REJECTED, stock or not', async () => {
  const directory = bench.path('anybody');
  await fs.mkdir(directory);
  await fs.chmod(directory, 0o777);
  for (const handler of ['own.sh', 'install-packages.sh', 'reboot.sh', 'echo']) {
    await fs.writeFile(join(directory, handler), '#!/bin/sh\n', { mode: 0o755 });
    const document = one('runHandler', { handler, args: ['x'], path: directory });
    expect(await admitted(document, { allowedPaths: [] })).toMatchObject({
      kind: 'refused',
      reason: expect.stringContaining('must not be writable') as string,
    });
  }
});

test('output without end is drained, bounded, and ends with the step', { timeout: 60_000 }, async () => {
  const command = ['/bin/sh', '-c', 'yes out & yes err >&2 & wait'];
  const step = bench.step({ type: 'runCommand', input: { command }, timeoutSeconds: 2 });
  const done = await bench.do(step, await bench.prepare(step));
  expect(done).toMatchObject({ result: 'failed', reason: expect.stringContaining('not finished') as string });
  const { output } = done as { output: { stdout: string; stderr: string } };
  expect(output.stdout.length + output.stderr.length).toBeLessThanOrEqual(2 * 4096);
});

/** Swaps a directory of the device for a link to `outside` and back, as fast as it can, until it is ended. */
async function startRacer(swapped: string): Promise<ChildProcess> {
  const program = `$| = 1; my ($path, $elsewhere) = @ARGV;
    symlink $elsewhere, "$path.link"; print "ready";
    while (1) {
      rename $path, "$path.real"; rename "$path.link", $path;
      rename $path, "$path.link"; rename "$path.real", $path;
    }`;
  const racer = spawn('perl', ['-e', program, swapped, join(outside, 'data')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(racer.stdout, 'data');
  return racer;
}

const SEED = Number(process.env['EVENKEEL_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const random = randomFrom(SEED);
const RACE_ROUNDS = 4;
/** Operations before which each kind of step is disturbed; `EVENKEEL_RACE_PLACES=1000` takes every one. */
const PLACES = Number(process.env['EVENKEEL_RACE_PLACES'] ?? 24);
const FOR_GOOD = 1e6;

const archive = (): string =>
  site.serve(
    'a.tar.gz',
    gzipSync(
      makeTar([
        { name: 'x', content: 'evil' },
        { name: 'deep/y', content: 'evil' },
      ]),
    ),
  );

/** What is done below a directory that somebody swaps for a link. */
const RACED: [string, (path: string) => object][] = [
  ['writeFile', (path) => ({ type: 'writeFile', input: { path: `${path}/x`, content: 'evil' } })],
  ['writeFile deeper', (path) => ({ type: 'writeFile', input: { path: `${path}/deep/y`, content: 'evil' } })],
  [
    'writeFile in what is not there',
    (path) => ({ type: 'writeFile', input: { path: `${path}/new/y`, content: 'evil' } }),
  ],
  ['downloadFile', (path) => ({ type: 'downloadFile', input: { url: archive(), path: `${path}/x` } })],
  ['removeFile', (path) => ({ type: 'removeFile', input: { path: `${path}/x` } })],
  ['removeFile of a tree', (path) => ({ type: 'removeFile', input: { path } })],
  ['removeFile of the tree above', () => ({ type: 'removeFile', input: { path: bench.path('allowed') } })],
  ['switchLink', (path) => ({ type: 'switchLink', input: { link: `${path}/link`, target: 'x' } })],
  ['extractArchive', (path) => ({ type: 'extractArchive', input: { url: archive(), path: `${path}/deep` } })],
  [
    'snapshotPaths',
    (path) => ({ type: 'runCommand', input: { command: 'true' }, snapshotPaths: [`${path}/x`] }),
  ],
];

async function plantSwapped(swapped: string): Promise<void> {
  await fs.rm(bench.path('allowed'), { recursive: true, force: true });
  await fs.mkdir(join(swapped, 'deep'), { recursive: true });
  for (const name of ['x', 'deep/y']) await fs.writeFile(join(swapped, name), 'mine');
}

/** A disk on which the directory becomes a link before the n-th operation, and a directory again `dwell` operations later. */
function swappingDisk(race: { path: string; at: number; dwell: number; count: number }): Disk {
  return new Proxy(nodeDisk, {
    get(target, name: keyof Disk) {
      const operation = target[name] as (...args: unknown[]) => Promise<unknown>;
      return async (...args: unknown[]): Promise<unknown> => {
        race.count += 1;
        if (race.count === race.at) await swap(race.path);
        if (race.count === race.at + race.dwell) await swapBack(race.path);
        return await operation.apply(target, args);
      };
    },
  });
}

async function swap(path: string): Promise<void> {
  await fs.rename(path, `${path}.real`).then(
    () => fs.symlink(join(outside, 'data'), path),
    () => undefined,
  );
}

async function swapBack(path: string): Promise<void> {
  if (!(await fs.lstat(path).catch(() => undefined))?.isSymbolicLink()) return;
  await fs.unlink(path);
  await fs.rename(`${path}.real`, path);
}

describe('a directory is swapped for a link before operations of a step, one after the other: nothing outside is touched', () => {
  test.each(RACED)('%s', { timeout: 300_000 }, async (_, action) => {
    for (const [dwell, places] of [
      [1, PLACES],
      [FOR_GOOD, PLACES / 4],
    ] as const) {
      const race = { path: '', at: 0, dwell, count: 0 };
      await bench.remove();
      bench = await createBench({}, swappingDisk(race));
      outside = join(bench.root, 'outside');
      await plantOutside();
      race.path = bench.path('allowed/swapped');
      await plantSwapped(race.path);
      expect(await playedThrough(action(race.path))).toBe('ok');
      const operations = race.count;
      expect(operations).toBeGreaterThan(20);
      const every = Math.ceil(operations / places);
      // Another place each time: many runs see them all.
      for (race.at = 1 + random.below(every); race.at <= operations; race.at += every) {
        race.count = 0;
        await plantSwapped(race.path);
        // A step may fail here, and its undo may, for the device is being changed; nothing else may happen.
        await playedThrough(action(race.path)).catch(() => undefined);
        expect({ seed: SEED, at: race.at, dwell, outside: await treeOf(outside) }).toEqual({
          seed: SEED,
          at: race.at,
          dwell,
          outside: untouched,
        });
      }
    }
  });
});

describe('a process swaps a directory for a link as fast as it can: nothing outside is touched', () => {
  test.each(RACED)('%s', { timeout: 120_000 }, async (_, action) => {
    const swapped = bench.path('allowed/swapped');
    for (let round = 0; round < RACE_ROUNDS; round += 1) {
      await plantSwapped(swapped);
      const racer = await startRacer(swapped);
      try {
        await playedThrough(action(swapped)).catch(() => undefined);
      } finally {
        const gone = once(racer, 'exit');
        racer.kill('SIGKILL');
        await gone;
      }
      expect({ round, outside: await treeOf(outside) }).toEqual({ round, outside: untouched });
    }
  });
});

test('our directory beside a target is not taken from somebody else', async () => {
  await fs.writeFile(bench.path('allowed/file'), 'mine');
  const action = { type: 'writeFile', input: { path: bench.path('allowed/file'), content: 'x' } };
  await fs.symlink(join(outside, 'data'), bench.path('allowed/.evenkeel-k'));
  await expect(playedThrough(action)).rejects.toThrow('before-image');
  await fs.unlink(bench.path('allowed/.evenkeel-k'));
  await fs.mkdir(bench.path('allowed/.evenkeel-k'), { mode: 0o777 });
  await run('chmod', ['777', bench.path('allowed/.evenkeel-k')]);
  await expect(playedThrough(action)).rejects.toThrow('it is not ours');
  expect(await fs.readFile(bench.path('allowed/file'), 'utf8')).toBe('mine');
});
