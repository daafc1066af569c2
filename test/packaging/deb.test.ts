import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

/** The Debian packages, of what `npm run build` has made. */

const ROOT = new URL('../..', import.meta.url).pathname;
const BUILD = join(ROOT, 'systemd/debian/build.mjs');
const EPOCH = '1790000000';
const TIMEOUT_MS = 240_000;
const run = promisify(execFile);

const isThere = async (program: string): Promise<boolean> =>
  await run('sh', ['-c', `command -v ${program}`]).then(
    () => true,
    () => false,
  );
const lacking: string[] = [];
for (const tool of ['dpkg-deb', 'lintian']) if (!(await isThere(tool))) lacking.push(tool);
const why = lacking.length > 0 ? `${lacking.join(', ')} not installed` : undefined;
if (why !== undefined && process.env['CI'] !== undefined) throw new Error(`cannot look at packages: ${why}`);

describe.skipIf(why !== undefined)(`the packages${why === undefined ? '' : ` (${why})`}`, () => {
  let directory: string;
  let paths: string[];
  const build = async (name: string, umask: string): Promise<string[]> => {
    const env = { ...process.env, SOURCE_DATE_EPOCH: EPOCH };
    const argv = [process.execPath, BUILD, join(directory, name)];
    const shell = ['-c', `umask ${umask}; exec "$@"`, 'sh', ...argv];
    const { stdout } = await run('sh', shell, { env, cwd: directory });
    return stdout.trim().split('\n');
  };
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'evenkeel-deb-'));
    paths = await build('first', '022');
  }, TIMEOUT_MS);
  afterAll(() => rm(directory, { recursive: true, force: true }));

  test('are the same bytes each time, whatever the umask', { timeout: TIMEOUT_MS }, async () => {
    const again = await build('again', '077');
    expect(paths.map((path) => path.replace(/.*\//, '').replace(/_[^_]*_/, '_'))).toEqual([
      'evenkeel_all.deb',
      'evenkeel-aws-crt_amd64.deb',
      'evenkeel-aws-crt_arm64.deb',
    ]);
    for (const [index, path] of paths.entries()) {
      expect((await readFile(path)).equals(await readFile(again[index] ?? '')), path).toBe(true);
    }
  });

  test('lintian has nothing to say', { timeout: TIMEOUT_MS }, async () => {
    const { stdout } = await run('lintian', ['--allow-root', '--fail-on', 'warning,error', ...paths]);
    expect(stdout).toBe('');
  });

  test('hold what they should, as root and not writable to others', { timeout: TIMEOUT_MS }, async () => {
    const [agent = '', ...natives] = paths;
    const { stdout } = await run('dpkg-deb', ['--contents', agent]);
    const lines = stdout.trim().split('\n');
    expect(lines.filter((line) => !line.includes(' root/root '))).toEqual([]);
    expect(lines.filter((line) => !line.startsWith('l') && /^.....w|^........w/.test(line))).toEqual([]);
    for (const path of ['etc/evenkeel/evenkeel.yaml', 'usr/lib/systemd/system/evenkeel.service']) {
      expect(stdout).toMatch(new RegExp(`-rw-r--r-- .* \\./${path}\n`));
    }
    const field = async (path: string, name: string): Promise<string> =>
      (await run('dpkg-deb', ['--field', path, name])).stdout.trim();
    expect(await field(agent, 'Depends')).toContain('nodejs (>= 20.19)');
    for (const native of natives) expect(await field(native, 'Depends')).toMatch(/^evenkeel \(>= /);
  });

  test("the agent of the package loads the native library of its package, and needs no node_modules of npm's", {
    timeout: TIMEOUT_MS,
  }, async () => {
    const root = join(directory, 'root');
    const { stdout: arch } = await run('dpkg', ['--print-architecture']);
    const [agent = '', ...natives] = paths;
    const native = natives.find((path) => path.endsWith(`_${arch.trim()}.deb`)) ?? '';
    const main = join(root, 'usr/lib/evenkeel/dist/cli/main.js');
    await run('dpkg-deb', ['-x', agent, root]);
    expect((await run(process.execPath, [main, '--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    await run('dpkg-deb', ['-x', native, root]);
    const script =
      "import('aws-crt').then(({ default: crt }) => { console.log(typeof crt.mqtt5.Mqtt5Client); process.exit(); })";
    const cwd = join(root, 'usr/lib/evenkeel');
    expect((await run(process.execPath, ['-e', script], { cwd })).stdout).toBe('function\n');
  });
});
