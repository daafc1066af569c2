import { execFile } from 'node:child_process';
import * as fs from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readDocument } from '../../src/document/document.ts';
import { parseDump } from '../../src/host/attributes.ts';
import { systemClock } from '../../src/host/clock.ts';
import { nodeDisk } from '../../src/host/node-disk.ts';
import type { Processes } from '../../src/host/processes.ts';
import { observe } from '../../src/steps/observe.ts';
import { stepTypeOf } from '../../src/steps/registry.ts';
import type { StepContext } from '../../src/steps/step.ts';
import { noSystemd } from '../support/memory-systemd.ts';

/** I1: extended attributes and ACLs are part of what comes back, and of what is compared. */

const run = promisify(execFile);
const names = [
  'etc',
  'etc/plain',
  'etc/acl',
  'etc/one',
  'etc/two',
  'etc/tree',
  'etc/tree/inner',
  'etc/tree/=\\\n',
];

let root: string;
let context: StepContext;
const path = (name: string): string => join(root, name);

beforeEach(async () => {
  root = await fs.mkdtemp('/var/tmp/evenkeel-attributes-');
  await fs.mkdir(path('etc/tree'), { recursive: true });
  await fs.mkdir(path('execution'));
  await fs.writeFile(path('etc/plain'), 'plain', { mode: 0o640 });
  for (const name of ['acl', 'one', 'tree/inner', 'tree/=\\\n']) {
    await fs.writeFile(path(`etc/${name}`), name);
    await run('setfattr', ['-n', 'user.k=\n', '-v', '0sAAEC', path(`etc/${name}`)]);
    await run('setfacl', ['-m', 'u:daemon:r,g:games:rw', path(`etc/${name}`)]);
  }
  await fs.link(path('etc/one'), path('etc/two'));
  await run('setfacl', ['-d', '-m', 'u:daemon:rwx', path('etc/tree')]);
  // Whatever is made in here from now on inherits an ACL: an image must not.
  await run('setfacl', ['-d', '-m', 'u:games:rwx', path('etc')]);
  context = {
    disk: nodeDisk,
    clock: systemClock,
    processes: {} as Processes,
    systemd: noSystemd,
    key: 'k',
    directory: path('execution'),
    settings: {
      handlerDirectory: '/nowhere',
      allowHttp: true,
      graceMs: 1,
      outputBytesMax: 1,
      treeEntriesMax: 100,
      treeBytesMax: 1e6,
      archiveRatioMax: 200,
    },
    homeOf: dirname,
    freshUrl: () => Promise.reject(new Error('no url')),
  };
});
afterEach(() => fs.rm(root, { recursive: true }));

/** Everything that `getfacl` and `getfattr` say of the device, with its files. */
async function dump(): Promise<string> {
  const acls = await run('getfacl', ['-R', '--absolute-names', path('etc')]);
  const attributes = await run('getfattr', ['-R', '-h', '-d', '-m', '-', '--absolute-names', path('etc')]);
  const contents = await Promise.all(
    names.map(async (name) => fs.readFile(path(name), 'utf8').catch((error: unknown) => String(error))),
  );
  return [acls.stdout, attributes.stdout, ...contents].join('\n');
}

function stepOf(action: object) {
  const read = readDocument({ version: '1.0', steps: [{ action }] }, {});
  if (!read.ok) throw new Error(JSON.stringify(read.problems));
  return read.plan.steps[0]!;
}

const attempt = { number: 1, record: () => Promise.resolve() };

describe.each<[string, () => object]>([
  [
    'a file with an ACL is written',
    () => ({ type: 'writeFile', input: { path: path('etc/acl'), content: 'x' } }),
  ],
  [
    'a plain file is written',
    () => ({ type: 'writeFile', input: { path: path('etc/plain'), content: 'x' } }),
  ],
  [
    'one of two names is written',
    () => ({ type: 'writeFile', input: { path: path('etc/one'), content: 'x' } }),
  ],
  ['a tree is removed', () => ({ type: 'removeFile', input: { path: path('etc/tree') } })],
])('%s', (_, action) => {
  test('and its undo brings its attributes and ACLs back', async () => {
    const old = await dump();
    const step = stepOf(action());
    const type = stepTypeOf(step);
    const prepared = await type.prepare(step, context);
    if (!prepared.ok) throw new Error(prepared.reason);
    const { signal } = new AbortController();
    const done = await type.do(step, prepared.before, attempt, context, signal);
    if (done.result !== 'ok') throw new Error(JSON.stringify(done));
    expect(await dump()).not.toBe(old);
    const undone = await type.undo(step, prepared.before, done.after, attempt, context, signal);
    expect(undone).toEqual({ result: 'ok', kept: [] });
    await type.discard(step, context);
    expect(await dump()).toBe(old);
  });
});

test('what a command added to one of two names is taken away again in the same inode', async () => {
  const old = await dump();
  const command = { type: 'runCommand', input: { command: 'true' }, snapshotPaths: [path('etc/one')] };
  const step = stepOf(command);
  const type = stepTypeOf(step);
  const prepared = await type.prepare(step, context);
  if (!prepared.ok) throw new Error(prepared.reason);
  await fs.appendFile(path('etc/one'), 'more');
  await run('setfattr', ['-n', 'user.more', '-v', '1', path('etc/one')]);
  await run('setfacl', ['-m', 'u:games:rw', path('etc/two')]);
  await type.undo(step, prepared.before, undefined, attempt, context, new AbortController().signal);
  await type.discard(step, context);
  expect(await dump()).toBe(old);
});

test.each([
  ['an ACL is changed', () => run('setfacl', ['-m', 'u:daemon:rw', path('etc/acl')])],
  ['an ACL is taken away', () => run('setfacl', ['-b', path('etc/acl')])],
  ['an attribute is added', () => run('setfattr', ['-n', 'user.more', '-v', '1', path('etc/plain')])],
  ['a default ACL deep in a tree is changed', () => run('setfacl', ['-k', path('etc/tree')])],
])('the fingerprint differs when %s', async (_, change) => {
  const ids = [`path:${path('etc/acl')}`, `path:${path('etc/plain')}`, `path:${path('etc/tree')}`];
  const before = [...(await observe(ids, context))];
  await change();
  const after = [...(await observe(ids, context))];
  expect(after.filter(([, found], index) => found !== before[index]?.[1])).toHaveLength(1);
});

test("names with the dump's own characters are read back as they are", () => {
  const text =
    '# file: /a\\012b\\134c\nuser.k\\075\\012=0sAAEC\nsecurity.selinux=0seA==\n\n# file: /é\nuser.ü=0s\n';
  expect([...parseDump(text)]).toEqual([
    ['/a\nb\\c', { 'user.k=\n': 'AAEC' }],
    ['/é', { 'user.ü': '' }],
  ]);
});
