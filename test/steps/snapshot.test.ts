import { execFile } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs/promises';
import { createServer } from 'node:net';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { nodeDisk } from '../../src/host/node-disk.ts';
import { type Bench, createBench } from './bench.ts';

/** I1, I4: `snapshotPaths`, the before-image of what a command may change, on a real disk. */

const run = promisify(execFile);
const isRoot = process.geteuid?.() === 0;
let bench: Bench;
beforeEach(async () => {
  bench = await createBench();
});
afterEach(() => bench.remove());

const command = (script: string, ...snapshotPaths: string[]) =>
  bench.step({ type: 'runCommand', input: { command: ['/bin/sh', '-c', script] }, snapshotPaths });

/** A tree with all that an image must keep. */
async function plantTree(): Promise<void> {
  const { path } = bench;
  await fs.mkdir(path('tree/deep/empty'), { recursive: true });
  await fs.writeFile(path('tree/a'), 'a', { mode: 0o640 });
  await fs.writeFile(path('tree/big'), Buffer.alloc(300_000, 7));
  await fs.link(path('tree/a'), path('tree/deep/same-as-a'));
  await fs.symlink('../a', path('tree/deep/link'));
  await fs.symlink('/nowhere', path('tree/dangling'));
  await fs.writeFile(path('tree/deep/setuid'), '#!/bin/sh\n');
  await fs.chmod(path('tree/deep/setuid'), 0o4755);
  await fs.writeFile(path('tree/deep/\u202Eodd \n name'), 'odd');
  await fs.chmod(path('tree/deep'), 0o2711);
  await fs.utimes(path('tree/a'), 1_000_000, 2_000_000);
  await run('setfattr', ['-n', 'user.k', '-v', 'v', path('tree/deep')]);
  await run('setfacl', ['-m', 'u:daemon:r', path('tree/big')]);
  if (isRoot) await fs.lchown(path('tree/dangling'), 1, 1);
  await fs.writeFile(path('beside'), 'beside');
}

const attributes = async (): Promise<string> =>
  (await run('getfattr', ['-R', '-h', '-d', '-m', '-', '--absolute-names', bench.path('.')])).stdout;

describe('a tree that a command has changed comes back to the byte', () => {
  test.each([
    ['a part of it was changed', 'echo more >> tree/a; rm -r tree/deep; mkdir tree/new; chmod 777 tree/big'],
    ['it was removed', 'rm -rf tree'],
    ['it was moved away and another is there', 'mv tree moved; mkdir tree; echo x > tree/x; rm -r moved'],
    ['a file is there', 'rm -rf tree; echo file > tree'],
    ['a link is there', 'rm -rf tree; ln -s /etc tree'],
    ['attributes were taken and given', 'setfattr -x user.k tree/deep; setfacl -b tree/big; chmod 0 tree'],
    [
      'two names became two files',
      'cp tree/a tree/c; mv tree/c tree/deep/same-as-a; ln tree/big tree/bigger',
    ],
  ])('%s', async (_, script) => {
    await plantTree();
    const old = [await bench.tree(), await attributes()];
    const step = command(`cd ${bench.path('.')} && { ${script}; }`, bench.path('tree'));
    expect(await bench.survey(step)).toMatchObject({ grade: 'full', problems: [], notes: [] });
    const before = await bench.prepare(step);
    const done = await bench.do(step, before);
    if (done.result !== 'ok') throw new Error(JSON.stringify(done));
    expect(await bench.tree()).not.toEqual(old[0]);
    expect(await bench.undo(step, before, done.after)).toEqual([]);
    expect([await bench.tree(), await attributes()]).toEqual(old);
  });
});

test('what nobody changed is the same inode afterwards', async () => {
  await plantTree();
  const { ino } = await fs.stat(bench.path('tree'));
  const step = command('true', bench.path('tree'));
  const before = await bench.prepare(step);
  const done = await bench.do(step, before);
  await bench.undo(step, before, done.result === 'ok' ? done.after : undefined);
  expect((await fs.stat(bench.path('tree'))).ino).toBe(ino);
});

describe('what an undo cannot do is said by the survey', () => {
  test('a socket, by its name', async () => {
    await plantTree();
    const server = createServer().listen(bench.path('tree/deep/control'));
    await once(server, 'listening');
    const { problems } = await bench.survey(command('true', bench.path('tree')));
    server.close();
    expect(problems).toMatchObject([
      {
        kind: 'never',
        reason: `${bench.path('tree')}: deep/control in it is a socket, which cannot be put back`,
      },
    ]);
  });

  test('a FIFO, which is never opened', async () => {
    await run('mkfifo', [bench.path('fifo')]);
    const { problems } = await bench.survey(command('true', bench.path('fifo')));
    expect(problems[0]?.reason).toContain('it is a FIFO, which cannot be put back');
  });

  test('a file of a tree that has names outside of it: the grade is bestEffort', async () => {
    await plantTree();
    await fs.link(bench.path('tree/big'), bench.path('outside'));
    const survey = await bench.survey(command('true', bench.path('tree')));
    expect(survey.grade).toBe('bestEffort');
    expect(survey.notes).toEqual([
      `${bench.path('tree')}/big has names outside of ${bench.path('tree')}: its undo parts them`,
    ]);
  });

  test('a file with another name stays full: it is put back under both', async () => {
    await plantTree();
    await fs.link(bench.path('beside'), bench.path('other'));
    const step = command(`echo new > ${bench.path('other')}`, bench.path('beside'));
    const survey = await bench.survey(step);
    expect(survey).toMatchObject({ grade: 'full', notes: [expect.stringContaining('has 2 names')] });
    const old = await bench.tree();
    const before = await bench.prepare(step);
    await bench.do(step, before);
    await bench.undo(step, before);
    expect(await bench.tree()).toEqual(old);
  });

  test('a path with a link in its middle', async () => {
    await plantTree();
    await fs.symlink('tree', bench.path('alias'));
    const { problems } = await bench.survey(command('true', bench.path('alias/a')));
    expect(problems[0]?.reason).toContain('alias is a link');
  });

  test('a mount', { skip: !isRoot }, async (context) => {
    await fs.mkdir(bench.path('mounted'));
    const mounted = await run('mount', ['-t', 'tmpfs', 'none', bench.path('mounted')]).then(
      () => true,
      () => false,
    );
    if (!mounted) context.skip('nothing can be mounted here');
    try {
      const { problems } = await bench.survey(command('true', bench.path('mounted')));
      expect(problems[0]?.reason).toContain('another file system is mounted on it');
    } finally {
      await run('umount', [bench.path('mounted')]);
    }
  });

  test('what this agent cannot write, as under ProtectSystem=', { skip: !isRoot }, async (context) => {
    await fs.mkdir(bench.path('mounted'));
    const mounted = await run('mount', ['-t', 'tmpfs', '-o', 'ro', 'none', bench.path('mounted')]).then(
      () => true,
      () => false,
    );
    if (!mounted) context.skip('nothing can be mounted here');
    try {
      for (const path of [bench.path('mounted/file'), bench.path('mounted/not/there')]) {
        const { problems } = await bench.survey(command('true', path));
        expect(problems[0]?.reason).toContain(`${bench.path('mounted')} is read-only for this agent`);
      }
    } finally {
      await run('umount', [bench.path('mounted')]);
    }
  });
});

describe('an image is bounded', () => {
  test.each([
    ['treeEntriesMax', { treeEntriesMax: 5 }, 'more than 5 entries (steps.treeEntriesMax)'],
    ['treeBytesMax', { treeBytesMax: 1000 }, 'more than 1000 bytes (steps.treeMegabytesMax)'],
  ])('%s, in the survey and again when it is taken', async (_, settings, words) => {
    await bench.remove();
    bench = await createBench(settings);
    const step = command('true', bench.path('tree'));
    await fs.mkdir(bench.path('tree'));
    expect((await bench.survey(step)).problems).toEqual([]);
    await plantTree();
    expect((await bench.survey(step)).problems[0]?.reason).toContain(words);
    await expect(bench.prepare(step)).rejects.toThrow(words);
    expect((await bench.tree()).filter((line) => line.includes('.evenkeel-'))).toEqual([]);
  });
});

test('blocks are shared where the file system can, and the content is the same where it cannot', async () => {
  const [from, to] = [bench.path('from'), bench.path('to')];
  await fs.writeFile(from, Buffer.alloc(200_000, 3));
  await fs.writeFile(to, '');
  const shared = await nodeDisk.reflink(from, to);
  expect((await fs.readFile(to)).length).toBe(shared ? 200_000 : 0);
  await fs.symlink(from, bench.path('link'));
  await expect(nodeDisk.reflink(bench.path('link'), to)).rejects.toThrow('ELOOP');
});
