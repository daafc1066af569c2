import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { fc, test as property } from '@fast-check/vitest';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type ArchiveSite, startArchiveSite } from '../support/archive-site.ts';
import { processesWith } from '../support/device.ts';
import { type MadeEntry, makeTar } from '../support/tar-maker.ts';
import { until } from '../support/until.ts';
import { type Bench, createBench, treeOf } from './bench.ts';

/** `extractArchive`: what tar wrote is what is there; what leads out, or bombs, is refused before anything is extracted. */

const run = promisify(execFile);
const isRoot = process.geteuid?.() === 0;
let site: ArchiveSite;
let bench: Bench;
beforeAll(async () => {
  site = await startArchiveSite();
});
afterAll(() => site.close());
beforeEach(async () => {
  bench = await createBench();
});
afterEach(() => bench.remove());

const extract = (url: string, input: object = {}, more: object = {}) =>
  bench.step({ type: 'extractArchive', input: { url, path: bench.path('app/2'), ...input }, ...more });

/** Surveys, prepares and runs a step; `undo` brings back what was. */
async function played(step: ReturnType<Bench['step']>) {
  expect(await bench.survey(step)).toMatchObject({ grade: 'full', problems: [] });
  const before = await bench.prepare(step);
  const done = await bench.do(step, before);
  return { done, undo: () => bench.undo(step, before, done.result === 'ok' ? done.after : undefined) };
}

/** A release with what archives really hold. */
async function plantRelease(root: string): Promise<void> {
  await fs.mkdir(join(root, 'bin/empty'), { recursive: true });
  await fs.writeFile(join(root, 'bin/app'), Buffer.alloc(700_001, 'x'), { mode: 0o755 });
  await fs.writeFile(join(root, 'empty'), '');
  await fs.writeFile(join(root, 'ünïcode – 名'), 'u');
  const deep = join(root, 'long-'.repeat(20), 'd'.repeat(120));
  await fs.mkdir(deep, { recursive: true });
  await fs.writeFile(join(deep, 'f'.repeat(200)), 'deep');
  await fs.link(join(root, 'bin/app'), join(root, 'same'));
  await fs.symlink('bin/app', join(root, 'run'));
  await fs.symlink('../empty', join(root, 'bin/up'));
  await fs.symlink('nowhere', join(root, 'dangling'));
  await fs.chmod(join(root, 'bin'), 0o750);
  // Whole seconds, since only pax knows others.
  await run('find', [root, '-exec', 'touch', '-h', '-d', '@1600000000', '{}', '+']);
}

const COMPRESSORS = [
  ['tar', ''],
  ['tar.gz', '--gzip'],
  ['tar.xz', '--xz'],
  ['tar.zst', '--zstd'],
] as const;

describe.each(COMPRESSORS)('%s', (end, option) => {
  test.each(['gnu', 'pax', 'ustar'])(
    'of GNU tar in the format %s becomes the same tree, and is undone',
    async (format) => {
      const source = join(bench.root, 'source');
      await plantRelease(source);
      // What ustar cannot say of it.
      if (format === 'ustar') await fs.rm(join(source, 'long-'.repeat(20)), { recursive: true });
      const file = join(bench.root, `release.${end}`);
      const args = [`--format=${format}`, ...(option === '' ? [] : [option]), '-cf', file, '-C', source, '.'];
      await run('tar', args);
      const bytes = await fs.readFile(file);
      const old = await bench.tree();
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      const step = extract(site.serve(`release.${end}`, bytes), { sha256, link: bench.path('app/current') });
      const { done, undo } = await played(step);
      expect(done).toMatchObject({ result: 'ok' });
      expect(await treeOf(bench.path('app/2'))).toEqual(await treeOf(source));
      expect(await fs.readlink(bench.path('app/current'))).toBe('2');
      await undo();
      expect(await bench.tree()).toEqual(old);
    },
  );
});

/** The directory that both stand in is not touched itself, but for its time. */
const withoutTimeOfApp = async (): Promise<string[]> =>
  (await bench.tree()).map((line) => (line.startsWith('/app = ') ? line.replace(/ \d+$/, '') : line));

test('an older release and the link to it come back; what was there is replaced as a whole', async () => {
  await fs.mkdir(bench.path('app/2'), { recursive: true });
  await fs.writeFile(bench.path('app/2/leftover'), 'old');
  await fs.symlink('1', bench.path('app/current'));
  const old = await withoutTimeOfApp();
  const url = site.serve('a.tgz', gzipSync(makeTar([{ name: 'app-2/x', content: 'new' }])));
  const { done, undo } = await played(
    extract(url, { link: bench.path('app/current'), stripComponents: 1, format: 'tar.gz' }),
  );
  expect(done).toMatchObject({ result: 'ok' });
  expect((await fs.readdir(bench.path('app/2'))).join()).toBe('x');
  expect(await fs.readlink(bench.path('app/current'))).toBe('2');
  await undo();
  expect(await withoutTimeOfApp()).toEqual(old);
});

test('it belongs to the user that the step runs as, whatever the archive says', {
  skip: !isRoot,
}, async () => {
  const url = site.serve('a.tar.xz', await compressed('xz', makeTar([{ name: 'd/x', content: 'new' }])));
  const { done } = await played(extract(url, {}, { runAsUser: 'daemon' }));
  expect(done).toMatchObject({ result: 'ok' });
  for (const name of ['', 'd', 'd/x']) expect((await fs.stat(bench.path(`app/2/${name}`))).uid).toBe(1);
});

async function compressed(program: string, bytes: Uint8Array): Promise<Buffer> {
  const file = join(bench.root, 'packed');
  await fs.writeFile(file, bytes);
  const { stdout } = await run(program, ['-qc', file], { encoding: 'buffer', maxBuffer: 1e9 });
  return stdout;
}

const FINE: MadeEntry = { name: 'fine', content: 'fine' };
const link = (name: string, target: string): MadeEntry => ({ name, type: '2', target });
const REFUSED: [string, MadeEntry[], RegExp][] = [
  ['an absolute path', [{ name: '/etc/evil' }], /absolute/],
  ['a path with ..', [{ name: 'a/../../evil' }], /\.\./],
  ['a path that is ..', [{ name: '..', type: '5' }], /\.\./],
  ['a link to an absolute path', [link('a', '/etc')], /absolute/],
  ['a link that leads out', [link('a/b', '../../etc')], /outside/],
  [
    'a link that leads out by way of another',
    [link('d/e/up', '../..'), link('x', 'd/e/up/../..')],
    /behind a name/,
  ],
  ['a file behind a link', [link('a', '.'), { name: 'a/evil' }], /goes through a link/],
  ['a file in the place of a link', [link('a', 'b'), { name: 'a' }], /twice/],
  ['a link in the place of a directory', [{ name: 'a', type: '5' }, link('a', 'b')], /twice/],
  ['a hard link to what is outside', [{ name: 'a', type: '1', target: '/etc/shadow' }], /absolute/],
  ['a hard link to nothing before it', [{ name: 'a', type: '1', target: 'later' }], /no file before it/],
  ['a hard link to a link', [link('b', 'fine'), { name: 'a', type: '1', target: 'b' }], /no file before it/],
  ['a character device', [{ name: 'a', type: '3' }], /characterDevice/],
  ['a block device', [{ name: 'a', type: '4' }], /blockDevice/],
  ['a FIFO', [{ name: 'a', type: '6' }], /fifo/],
  ['a setuid file', [{ name: 'a', mode: 0o4755 }], /setuid/],
  ['a setgid directory', [{ name: 'a', type: '5', mode: 0o2755 }], /setuid or setgid/],
  ['a sparse file of GNU', [{ name: 'a', type: 'S' }], /type/],
  ['a volume of several', [{ name: 'a', type: 'M' }], /type/],
  ['a control character', [{ name: 'a\n\u001b[2Jb' }], /control character/],
  [
    'a name that is no UTF-8',
    [{ name: 'x', type: 'L', content: new Uint8Array([0xff, 0]) }, { name: 'a' }],
    /UTF-8/,
  ],
  ['a name of ours', [{ name: 'd/.evenkeel-k/0-0' }], /\.evenkeel-/],
  ['a name that is too long', [{ name: 'n'.repeat(256) }], /too long/],
  ['too deep a directory', [{ name: 'd/'.repeat(61) }], /deeper/],
  [
    'a content that is longer than the archive',
    [{ name: 'a', content: 'x', sizeBytes: 5000 }],
    /ends in its middle|damaged/,
  ],
  ['a content of an exabyte', [{ name: 'a', sizeBytes: 8 ** 11 - 1 }], /treeMegabytesMax/],
  [
    'a path by a global header',
    [{ name: 'g', type: 'g', content: '14 path=/evil\n' }, FINE],
    /global header/,
  ],
  [
    'an absolute path by an extension header',
    [{ name: 'x', type: 'x', content: '14 path=/evil\n' }, FINE],
    /absolute|damaged/,
  ],
  ['a directory with a content', [{ name: 'a', type: '5', content: 'x' }], /has a content/],
];

describe('refused before anything is extracted', () => {
  test.each(REFUSED)('%s', async (_, entries, reason) => {
    const old = await bench.tree();
    const { done, undo } = await played(extract(site.serve('a.tar', makeTar([FINE, ...entries]))));
    expect(done).toMatchObject({ result: 'failed', reason: expect.stringMatching(reason) as string });
    await expect(fs.lstat(bench.path('app/2'))).rejects.toThrow('ENOENT');
    await undo();
    expect(await bench.tree()).toEqual(old);
    expect(await fs.readdir(bench.root)).toEqual(['device', 'execution']);
  });

  const ZEROS = Buffer.alloc(64 * 1024 * 1024);
  test.each([
    ['zeros in gzip', 'tar.gz', 'gzip', [{ name: 'a', content: ZEROS }], {}, /treeMegabytesMax/],
    [
      'zeros in zstd, within the size',
      'tar.zst',
      'zstd',
      [{ name: 'a', content: ZEROS }],
      { treeBytesMax: 1e9 },
      /archiveRatioMax/,
    ],
    ['zeros in xz, behind the end', 'tar.xz', 'xz', [], { treeBytesMax: 1e9 }, /archiveRatioMax/],
    [
      'entries without end',
      'tar.gz',
      'gzip',
      Array.from({ length: 1001 }, (_, n) => ({ name: `f${n}` })),
      {},
      /treeEntriesMax/,
    ],
  ] as const)('a bomb: %s', { timeout: 60_000 }, async (name, end, program, entries, settings, reason) => {
    await bench.remove();
    bench = await createBench(settings);
    const tail = name.includes('behind') ? ZEROS : Buffer.alloc(0);
    const bytes = await compressed(program, Buffer.concat([makeTar(entries), tail]));
    const { done, undo } = await played(extract(site.serve(`a.${end}`, bytes)));
    expect(done).toMatchObject({ result: 'failed', reason: expect.stringMatching(reason) as string });
    await undo();
    expect(await fs.readdir(bench.path('.'))).toEqual([]);
    expect(await processesWith(`${program}\0-dc`)).toEqual([]);
  });

  test.each([
    ['another sha256', makeTar([FINE]), 'tar', { sha256: '0'.repeat(64) }, /sha256 is/],
    ['no archive', Buffer.from('x'.repeat(2000)), 'tar', {}, /no tar archive/],
    ['nothing', Buffer.alloc(0), 'tar', {}, /ends in its middle/],
    ['another compression than it says', makeTar([FINE]), 'tar.gz', {}, /not in gzip format/],
    ['a gzip that is cut', gzipSync(makeTar([FINE])).subarray(0, 60), 'tar.gz', {}, /unexpected end of file/],
    ['a gzip with a wrong checksum', broken(gzipSync(makeTar([FINE]))), 'tar.gz', {}, /crc error/],
  ])('%s', async (_, bytes, end, input, reason) => {
    const { done, undo } = await played(extract(site.serve(`a.${end}`, bytes), input));
    expect(done).toMatchObject({ result: 'failed', reason: expect.stringMatching(reason) as string });
    await undo();
    expect(await fs.readdir(bench.path('.'))).toEqual([]);
  });
});

function broken(gzip: Buffer): Buffer {
  gzip.writeUInt32LE(0, gzip.length - 8);
  return gzip;
}

test('a cancel in its middle leaves no process and nothing behind', { timeout: 30_000 }, async () => {
  await bench.remove();
  bench = await createBench({ treeBytesMax: 1e12, archiveRatioMax: 100_000 });
  const huge = Buffer.concat([
    makeTar([{ name: 'a', sizeBytes: 8 ** 10 }]).subarray(0, 512),
    Buffer.alloc(2 ** 28),
  ]);
  const step = extract(site.serve('a.tar.gz', gzipSync(huge, { level: 1 })));
  const before = await bench.prepare(step);
  const cancel = new AbortController();
  const doing = bench.do(step, before, cancel.signal);
  await until('the decompressor', async () => (await processesWith('gzip\0-dc')).length > 0);
  cancel.abort(new Error('cancelled'));
  expect(await doing).toEqual({ result: 'interrupted', reason: 'cancelled' });
  expect(await processesWith('gzip\0-dc')).toEqual([]);
  await bench.undo(step, before);
  expect(await fs.readdir(bench.path('.'))).toEqual([]);
});

const parts = fc.constantFrom('a', 'b', 'c', '..', '.', '', 'é');
const names = fc.array(parts, { minLength: 1, maxLength: 5 }).map((all) => all.join('/'));
const anyEntry = fc.record({
  name: names,
  type: fc.constantFrom('0', '1', '2', '2', '2', '5'),
  target: names,
});

property.prop([fc.array(anyEntry, { minLength: 1, maxLength: 6 }), fc.nat({ max: 2 })], { numRuns: 300 })(
  'whatever an archive holds: it is refused, or every link of it stays inside',
  async (entries, stripComponents) => {
    const step = extract(site.serve('a.tar', makeTar(entries)), { stripComponents });
    const before = await bench.prepare(step);
    const done = await bench.do(step, before);
    const top = bench.path('app/2');
    if (done.result === 'ok') {
      for (const line of await treeOf(top)) {
        const shown = line.split(' = ')[0] ?? '';
        const real = await fs.realpath(join(top, shown)).catch((error: unknown) => String(error));
        // A link to nothing is harmless here, and must stay so when something is made where it points to.
        expect(real.startsWith(top) || /ENOENT|ELOOP|ENOTDIR/.test(real)).toBe(true);
      }
    }
    expect(await fs.readdir(dirname(bench.path('.')))).toEqual(['device', 'execution']);
    await bench.undo(step, before, done.result === 'ok' ? done.after : undefined);
    expect(await fs.readdir(bench.path('.'))).toEqual([]);
  },
  120_000,
);
