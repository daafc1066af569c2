import { execFile } from 'node:child_process';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';

const HERE = new URL('../../systemd/', import.meta.url);
const SCORE_MAX = 5;
const run = promisify(execFile);

let directory: string;
let unit: string;
let text: string;
beforeAll(async () => {
  directory = await mkdtemp('/var/tmp/evenkeel-unit-');
  // The programs that the unit starts must exist where it is verified.
  const program = join(directory, 'evenkeel');
  await writeFile(program, '#!/bin/sh\n');
  await chmod(program, 0o755);
  text = await readFile(new URL('evenkeel.service', HERE), 'utf8');
  unit = join(directory, 'evenkeel.service');
  await writeFile(unit, text.replace('/usr/lib/evenkeel/notify-launcher', program));
});
afterAll(() => rm(directory, { recursive: true }));

test('systemd-analyze verify says nothing about the unit', async () => {
  const { stdout, stderr } = await run('systemd-analyze', ['verify', '--man=no', unit]);
  expect({ stdout, stderr }).toEqual({ stdout: '', stderr: '' });
});

test(`systemd-analyze security finds an exposure of ${SCORE_MAX} at most`, async () => {
  const args = ['security', '--offline=true', '--no-pager', unit];
  const { stdout } = await run('systemd-analyze', args);
  const [line = '', level = ''] = /Overall exposure level for \S+: ([\d.]+).*/.exec(stdout) ?? [];
  console.log(line);
  expect(Number(level)).toBeGreaterThan(0);
  expect(Number(level)).toBeLessThanOrEqual(SCORE_MAX);
});

test('README.md says of every directive why it is there, and of no other', async () => {
  const readme = await readFile(new URL('README.md', HERE), 'utf8');
  const rows = readme.split('\n').filter((line) => line.startsWith('| `'));
  const explained = rows.flatMap((row) =>
    [...(row.split('|')[1] ?? '').matchAll(/`(\w+)=/g)].map(([, name]) => name),
  );
  const used = [...text.matchAll(/^(\w+)=/gm)].map(([, name]) => name);
  const described = new Set(['Description', 'Documentation', 'WantedBy']);
  expect([...new Set(explained)].sort()).toEqual(
    [...new Set(used)].filter((name) => !described.has(name ?? '')).sort(),
  );
});
