import { execFile } from 'node:child_process';
import * as fs from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { fc, test as property } from '@fast-check/vitest';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readDocument } from '../../src/document/document.ts';
import type { PlanStep } from '../../src/document/plan.ts';
import { nodeDisk } from '../../src/host/node-disk.ts';
import { lookOn, withRules } from '../../src/steps/apply-rules.ts';
import { type Found, ruleFor } from '../../src/steps/command-rules.ts';
import { type Bench, createBench, treeOf } from './bench.ts';

/** A rule names every path that its command touches: compared with what the real command does. */

const run = promisify(execFile);
let bench: Bench;
beforeEach(async () => {
  bench = await createBench();
});
afterEach(() => bench.remove());

const DEVICE: Record<string, Found> = {
  '/': { kind: 'directory' },
  '/d': { kind: 'directory' },
  '/d/f': { kind: 'file' },
  '/f': { kind: 'file' },
  '/l': { kind: 'link' },
};
const look = (path: string): Promise<Found> => Promise.resolve(DEVICE[path] ?? { kind: 'absent' });

describe('what a rule says', () => {
  test.each<[string, string[] | undefined]>([
    ['mkdir -p /x/y/z', ['/x']],
    ['mkdir -m 0700 /x', ['/x']],
    ['mkdir -p /d', []],
    ['mkdir --context=x /x', undefined],
    ['cp -a /f /x', ['/x']],
    ['cp /f /d', ['/d/f']],
    ['cp /f /d/', ['/d/f']],
    ['cp /f /l', undefined],
    ['cp -l /f /x', undefined],
    ['cp --backup /f /x', undefined],
    ['cp -t /d /f', undefined],
    ['cp /f /x/', undefined],
    ['mv /f /d', ['/f', '/d/f']],
    ['mv -T /f /x', ['/f', '/x']],
    ['mv /f /l', undefined],
    ['ln -s target /x', ['/x']],
    ['ln -sf target /l', undefined],
    ['ln -sfn target /l', ['/l']],
    ['ln /f /x', undefined],
    ['rm -rf /d', ['/d']],
    ['rm -rf /', undefined],
    ['rm -rf /d/../f', undefined],
    ['rm -rf relative', ['/relative']],
    ['rm -rf ../x', undefined],
    ['rm --no-preserve-root /d', undefined],
    ['rm -- -x', ['/-x']],
    ['chmod 600 /f', ['/f']],
    ['chmod 600 /l', undefined],
    ['chmod -R 600 /d', undefined],
    ['chown -h daemon /l', ['/l']],
    ['/usr/bin/chown daemon:daemon /f', ['/f']],
    ['/opt/bin/chown daemon:daemon /f', undefined],
    ['hostnamectl set-hostname boat', ['/etc/hostname', '/etc/machine-info']],
    ['timedatectl set-timezone UTC', ['/etc/localtime', '/etc/timezone']],
    ['systemctl mask app', ['/etc/systemd/system/app.service']],
    ['systemctl mask --now app', undefined],
    ['systemctl enable unknown', undefined],
    ['systemctl restart app', undefined],
    ['sh -c rm', undefined],
    ['constructor /f', undefined],
  ])('%s', async (words, paths) => {
    expect((await ruleFor(words.split(' '), look))?.paths).toEqual(paths);
  });

  test('nothing where a program of the site has that name', async () => {
    const site = (path: string): Promise<Found> =>
      path === '/usr/local/bin/cp' ? Promise.resolve({ kind: 'file' }) : look(path);
    expect(await ruleFor(['cp', '/f', '/x'], site)).toBeUndefined();
    expect(await ruleFor(['/bin/cp', '/f', '/x'], site)).toBeDefined();
  });
});

async function plant(): Promise<void> {
  await fs.mkdir(bench.path('d/e'), { recursive: true });
  for (const name of ['a', 'b', 'd/a', 'd/e/a']) await fs.writeFile(bench.path(name), name);
  await fs.symlink('a', bench.path('l'));
  await fs.symlink('d', bench.path('ld'));
  await fs.symlink('nowhere', bench.path('d/broken'));
}

/** Changed, made or gone; the time of a directory follows from what is in it. */
function changed(before: readonly string[], after: readonly string[]): string[] {
  const facts = (lines: readonly string[]): Map<string, string> =>
    new Map(lines.map((line) => [line.split(' = ')[0] ?? '', line.replace(/( 40\d+ \S+) \d+$/, '$1')]));
  const [old, now] = [facts(before), facts(after)];
  return [...new Set([...old.keys(), ...now.keys()])].filter((path) => old.get(path) !== now.get(path));
}

const COMMANDS: Record<string, string[][]> = {
  mkdir: [[], ['-p'], ['-m', '700']],
  cp: [[], ['-a'], ['-r'], ['-T'], ['-rT'], ['-f'], ['-P']],
  mv: [[], ['-f'], ['-T'], ['-n']],
  ln: [['-s'], ['-sf'], ['-sfn'], ['-sT'], ['-sfT']],
  rm: [[], ['-r'], ['-rf'], ['-d']],
  chmod: [['600'], ['-R', '700'], ['a+x']],
  chown: [['1'], ['-h', '1:1'], ['-R', '1']],
};
const PLACES = [
  'a',
  'b',
  'd',
  'd/',
  'd/a',
  'd/e',
  'd/new',
  'd/broken',
  'l',
  'ld',
  'ld/a',
  'ld/',
  'new',
  'new/deep',
];
const someCommand = fc.constantFrom(...Object.keys(COMMANDS)).chain((name) =>
  fc.record({
    name: fc.constant(name),
    options: fc.constantFrom(...(COMMANDS[name] ?? [])),
    places: fc.array(fc.constantFrom(...PLACES), { minLength: 1, maxLength: 3 }),
  }),
);

let ruledRuns = 0;
property.prop([someCommand], { numRuns: 150 })(
  'nothing but its paths is changed by a command that has a rule, and its undo brings them back',
  async ({ name, options, places }) => {
    await fs.rm(bench.path('.'), { recursive: true });
    await fs.mkdir(bench.path('.'));
    await plant();
    const argv = [
      name,
      ...options,
      ...places.map((place) => `${bench.path('.')}/${place}`.replace('/./', '/')),
    ];
    const action = { name: 's', type: 'runCommand', input: { command: argv } };
    const read = readDocument({ version: '1.0', steps: [{ action }] }, {});
    if (!read.ok) throw new Error(JSON.stringify(read.problems));
    const bare = read.plan.steps[0]!;
    const step = (await withRules(read.plan, bench.context(bare))).steps[0] as PlanStep & {
      type: 'runCommand';
    };
    if (!step.byRule) {
      expect(step.grade).toBe('none');
      return;
    }
    ruledRuns += 1;
    expect(await bench.survey(step)).toMatchObject({ grade: 'full', problems: [] });
    const old = await bench.tree();
    const before = await bench.prepare(step);
    const done = await bench.do(step, before);
    const now = (await bench.tree()).filter((line) => !line.includes('.evenkeel-'));
    const declared = step.touches.map((id) => id.slice('path:'.length));
    const outside = changed(old, now)
      .map((path) => join(bench.path('.'), path))
      .filter((path) => !declared.some((one) => path === one || path.startsWith(`${one}/`)));
    expect({ argv, outside }).toEqual({ argv, outside: [] });
    await bench.undo(step, before, done.result === 'ok' ? done.after : undefined);
    expect({ argv, changed: changed(old, await bench.tree()) }).toEqual({ argv, changed: [] });
  },
  180_000,
);

test('enough of these commands have a rule', () => {
  expect(ruledRuns).toBeGreaterThan(25);
});

test('a command whose paths are others than when the job was planned does not run', async () => {
  await plant();
  const argv = ['chmod', '600', bench.path('later')];
  const bare = bench.step({ type: 'runCommand', input: { command: argv } });
  const { steps } = await withRules(
    {
      format: 1,
      dialect: 'aws-1.0',
      steps: [bare],
      grade: 'none',
      diskNeedBytes: 0,
      repair: false,
      accept: [],
      includeStdOut: false,
    },
    bench.context(bare),
  );
  expect(steps[0]).toMatchObject({ grade: 'full', touches: [`path:${bench.path('later')}`] });
  await fs.symlink('a', bench.path('later'));
  await expect(bench.prepare(steps[0]!)).rejects.toThrow('name them in snapshotPaths');
});

test('a command whose paths cannot have a before-image keeps the grade none, and is not refused', async () => {
  await fs.mkdir(bench.path('d'));
  await run('mkfifo', [bench.path('d/fifo')]);
  const bare = bench.step({ type: 'runCommand', input: { command: ['rm', '-r', bench.path('d')] } });
  const plan = {
    format: 1,
    dialect: 'aws-1.0',
    steps: [bare],
    grade: 'none',
    diskNeedBytes: 0,
    repair: false,
    accept: [],
    includeStdOut: false,
  } as const;
  expect((await withRules(plan, bench.context(bare))).steps[0]).toEqual(bare);
});

describe('systemctl changes only the links that its rule names', async () => {
  const systemctl = await run('systemctl', ['--version']).then(
    () => true,
    () => false,
  );
  const skip = !systemctl && process.env['CI'] === undefined;
  test.each([
    [
      'enable',
      'one.service',
      '[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\nAlias=uno.service\n',
    ],
    ['enable', 'one', '[Service]\nExecStart=/bin/true\n[Install]\nRequiredBy=a.target b.target\n'],
    ['disable', 'one.service', '[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n'],
    ['mask', 'one.service', '[Service]\nExecStart=/bin/true\n'],
    ['unmask', 'one.service', '[Service]\nExecStart=/bin/true\n'],
  ])('%s %s', { skip }, async (verb, unit, text) => {
    const etc = bench.path('etc/systemd/system');
    const lib = bench.path('usr/lib/systemd/system');
    await fs.mkdir(join(etc, 'other.target.wants'), { recursive: true });
    await fs.mkdir(lib, { recursive: true });
    await fs.writeFile(join(lib, 'one.service'), text);
    await fs.symlink('/usr/lib/systemd/system/one.service', join(etc, 'other.target.wants/one.service'));
    const opposite = { disable: 'enable', unmask: 'mask' }[verb];
    if (opposite !== undefined) await run('systemctl', [`--root=${bench.path('.')}`, opposite, unit]);
    const ruled = await ruleFor(
      ['systemctl', verb, unit],
      lookOn(nodeDisk, bench.path('.').replace(/\/\.?$/, '')),
    );
    const old = await treeOf(bench.path('.'));
    await run('systemctl', [`--root=${bench.path('.')}`, verb, unit]);
    const now = await treeOf(bench.path('.'));
    const made = changed(old, now).filter((path) => !path.endsWith('.wants') && !path.endsWith('.requires'));
    expect(made.length).toBeGreaterThan(0);
    expect(made.filter((path) => !ruled?.paths.includes(path))).toEqual([]);
  });
});
