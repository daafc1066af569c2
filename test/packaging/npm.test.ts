import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';

/** The package as npm has it: packed of what `npm run build` has made, and installed where no other package is. */

const ROOT = new URL('../..', import.meta.url).pathname;
const AGENT_BYTES_MAX = 1_048_576;
const TIMEOUT_MS = 120_000;
const run = promisify(execFile);
const tool = (name: string): string => join(ROOT, 'node_modules/.bin', name);

let directory: string;
let tarball: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'evenkeel-npm-'));
  // Without scripts: built is what is tested, and other tests run on it meanwhile.
  const args = ['pack', '--ignore-scripts', '--json', '--pack-destination', directory];
  const { stdout } = await run('npm', args, { cwd: ROOT });
  const [packed] = JSON.parse(stdout) as [{ filename: string }];
  tarball = join(directory, packed.filename);
}, TIMEOUT_MS);
afterAll(() => rm(directory, { recursive: true, force: true }));

async function saidBy(program: string, ...args: string[]): Promise<{ code: unknown; said: string }> {
  return await run(program, args, { cwd: directory }).then(
    ({ stdout, stderr }) => ({ code: 0, said: stdout + stderr }),
    (error: unknown) => {
      const { code, stdout, stderr } = error as { code: unknown; stdout: string; stderr: string };
      return { code, said: stdout + stderr };
    },
  );
}

test('publint and attw find nothing', { timeout: TIMEOUT_MS }, async () => {
  expect(await saidBy(tool('publint'), 'run', tarball, '--strict')).toEqual({
    code: 0,
    said: expect.stringContaining('All good!'),
  });
  const types = await saidBy(tool('attw'), tarball, '--profile', 'esm-only', '--no-definitely-typed');
  expect(types.code, types.said).toBe(0);
});

test('npm i -g of it needs no registry, and its command runs', { timeout: TIMEOUT_MS }, async () => {
  const prefix = join(directory, 'prefix');
  // The one dependency, aws-crt, is optional.
  await run('npm', ['install', '-g', '--prefix', prefix, '--offline', '--omit=optional', tarball]);
  const installed = join(prefix, 'lib/node_modules/evenkeel');
  expect(await readdir(join(prefix, 'lib/node_modules'))).toEqual(['evenkeel']);
  await expect(stat(join(installed, 'node_modules'))).rejects.toThrow('ENOENT');
  const evenkeel = join(prefix, 'bin/evenkeel');
  expect((await run(evenkeel, ['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  const config = join(directory, 'evenkeel.yaml');
  const document = join(directory, 'job.json');
  const input = { path: '/etc/x', content: 'x' };
  await writeFile(config, 'thing: boat-1\n');
  const action = { name: 'write', type: 'writeFile', input };
  await writeFile(document, JSON.stringify({ version: '1.0', steps: [{ action }] }));
  const { stdout } = await run(evenkeel, ['check', document, '--config', config]);
  expect(stdout).toContain('touches  /etc/x');
  expect((await stat(join(installed, 'dist/cli/main.js'))).size).toBeLessThan(AGENT_BYTES_MAX);
});

test('evenkeel/simulator runs and has its types where no other package is', {
  timeout: TIMEOUT_MS,
}, async () => {
  const project = join(directory, 'project');
  await mkdir(project);
  await writeFile(join(project, 'package.json'), '{"type":"module"}');
  await run('npm', ['install', '--offline', '--omit=optional', tarball], { cwd: project });
  const lines = [
    "import { createVirtualClock, type FaultRule, startSimulator } from 'evenkeel/simulator';",
    "const faults: FaultRule[] = [{ on: 'answer', action: 'drop', count: 0 }];",
    'const cloud = await startSimulator({ clock: createVirtualClock(), faults });',
    "const arn: string = cloud.service.createThing('boat-1');",
    '// @ts-expect-error: were the types not found, this would be right',
    'cloud.nothing;',
    'console.log(arn, (await fetch(`${cloud.httpUrl}/_simulator/console/page/console.css`)).status);',
    'await cloud.close();',
  ];
  await writeFile(join(project, 'user.mts'), lines.join('\n'));
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
  // Its own declarations are checked as well: no skipLibCheck.
  const flags = ['--strict', '--module', 'nodenext', '--target', 'es2023', '--lib', 'es2023'];
  const types = ['--types', 'node', '--typeRoots', join(ROOT, 'node_modules/@types')];
  const compiled = await saidBy(process.execPath, tsc, ...flags, ...types, join(project, 'user.mts'));
  expect(compiled).toEqual({ code: 0, said: '' });
  const { stdout } = await run(process.execPath, ['user.mjs'], { cwd: project });
  expect(stdout).toBe('arn:aws:iot:us-east-1:123456789012:thing/boat-1 200\n');
});
