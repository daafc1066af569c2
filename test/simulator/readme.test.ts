import { execFile, spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { connect } from 'mqtt';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { until } from '../support/until.ts';

/** What README.md says of the simulator, done word by word with the package as it is built (`npm run build`). */

const ROOT = new URL('../..', import.meta.url).pathname;
const TIMEOUT_MS = 120_000;
const run = promisify(execFile);
const readme = await readFile(join(ROOT, 'README.md'), 'utf8');

/** A project beside this one that has the package installed. */
let project: string;
beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), 'evenkeel-user-'));
  await mkdir(join(project, 'node_modules'));
  await symlink(ROOT, join(project, 'node_modules', 'evenkeel'));
});
afterAll(() => rm(project, { recursive: true, force: true }));

function blockWith(words: string): string {
  const blocks = [...readme.matchAll(/^```\w*\n(.*?)^```$/gms)].map(([, text = '']) => text);
  const found = blocks.filter((text) => text.includes(words));
  expect(found, words).toHaveLength(1);
  return found[0] ?? '';
}

test('the example of the library does what it says, in five lines', { timeout: TIMEOUT_MS }, async () => {
  const example = blockWith("from 'evenkeel/simulator'");
  const [, ...lines] = example.split('\n').filter((line) => line !== '');
  expect(lines).toHaveLength(5);
  await writeFile(join(project, 'example.mjs'), example);
  const { stdout } = await run(process.execPath, ['example.mjs'], { cwd: project });
  const [, promised] = /console\.log.* \/\/ (.*)$/m.exec(example) ?? [];
  expect(stdout).toBe(`${promised}\n`);
});

test('the example of the library has its types', { timeout: TIMEOUT_MS }, async () => {
  const check = async (text: string): Promise<string> => {
    await writeFile(join(project, 'example.mts'), text);
    const flags = ['--noEmit', '--strict', '--skipLibCheck', '--module', 'nodenext', '--target', 'es2023'];
    const types = ['--lib', 'es2023', '--types', 'node', '--typeRoots', join(ROOT, 'node_modules/@types')];
    const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
    const done = run(process.execPath, [tsc, ...flags, ...types, 'example.mts'], { cwd: project });
    return await done.then(
      () => 'right',
      (failure: unknown) => (failure as { stdout: string }).stdout,
    );
  };
  const example = blockWith("from 'evenkeel/simulator'");
  expect(await check(example)).toBe('right');
  // Types that are not found would be any, and everything right.
  expect(await check(example.replace("'update-1'", '1'))).toContain('TS2322');
});

test('evenkeel simulate prints what is written there, all of it can be pasted, and it tells on clients', {
  timeout: TIMEOUT_MS,
}, async () => {
  const [asked, ...written] = blockWith('$ npx evenkeel simulate').split('\n');
  expect(asked).toBe('$ npx evenkeel simulate');
  const args = [join(ROOT, 'dist/cli/main.js'), 'simulate', '--mqtt-port', '0', '--http-port', '0'];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let printed = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    printed += text;
  });
  try {
    await until('the whole of it', () => printed.includes('cancel-job-execution'));
    const portOf = (scheme: string): string =>
      new RegExp(`${scheme}://127[.]0[.]0[.]1:(\\d+)`).exec(printed)?.[1] ?? 'none';
    const [mqtt, http] = [portOf('mqtt'), portOf('http')];
    const normal = printed.replaceAll(`:${mqtt}`, ':1883').replaceAll(`:${http}`, ':8080');
    expect(normal.trim()).toBe(written.join('\n').trim());

    const pasted = printed.slice(printed.indexOf('# the AWS CLI'));
    // A shim of aws may be first in PATH.
    const script = `set -e\nPATH=/usr/bin:$PATH\n${pasted}\naws iot describe-job-execution --thing-name my-thing --job-id job-1 --query execution.status --endpoint-url $AWS_ENDPOINT_URL_IOT`;
    const { stdout } = await run('/bin/sh', ['-c', script]);
    expect(stdout.trim().split('\n').at(-1)).toBe('"CANCELED"');

    const client = connect(`mqtt://127.0.0.1:${mqtt}`, { clientId: 'five', protocolVersion: 5 });
    client.on('error', () => undefined);
    const complaint = 'client five is refused: MQTT 5 is not spoken here';
    await until('the complaint', () => printed.includes(complaint));
    await client.endAsync(true);
    expect(printed.split('\n').find((line) => line.startsWith(complaint))).toContain('--broker');
  } finally {
    child.kill('SIGTERM');
  }
});
