import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fileMounts } from '../../src/cli/rehearse/mounts.ts';
import type { Report } from '../../src/cli/rehearse/report.ts';

/** A rehearsal runs the job for real, finds what an undo forgets, and leaves the machine as it is. */

const MAIN = new URL('../../dist/cli/main.js', import.meta.url).pathname;
const TEST_MS = 240_000;
const run = promisify(execFile);

const mayView = await run('unshare', ['--mount', '--pid', '--fork', 'true']).then(
  () => process.getuid?.() === 0,
  () => false,
);

interface Told {
  code: number;
  stdout: string;
  stderr: string;
}

async function rehearse(...args: string[]): Promise<Told> {
  const options = { timeout: TEST_MS, maxBuffer: 16 * 1024 * 1024 };
  return await run(process.execPath, [MAIN, 'rehearse', ...args], options).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error: unknown) => error as Told,
  );
}

const scratches = async (): Promise<string[]> =>
  (await readdir('/tmp')).filter((name) => name.startsWith('evenkeel-rehearse-'));

describe.skipIf(!mayView)('in views of this machine (needs root and name spaces)', () => {
  let directory = '';

  beforeAll(async () => {
    // On the root file system, as what a job changes is; /tmp may be another.
    directory = await mkdtemp('/var/lib/evenkeel-rehearsed-');
    await mkdir(join(directory, 'releases'));
    for (const release of ['1', '2']) await mkdir(join(directory, 'releases', release));
    await writeFile(join(directory, 'app.conf'), 'old\n');
    await symlink('releases/1', join(directory, 'current'));
  });
  afterAll(async () => await rm(directory, { recursive: true, force: true }));

  async function documentOf(name: string, actions: readonly object[]): Promise<string> {
    const path = join(directory, `${name}.json`);
    await writeFile(path, JSON.stringify({ version: '1.0', steps: actions.map((action) => ({ action })) }));
    return path;
  }
  const shell = (script: string): string => `sh,-c,${script.replaceAll(',', '\\,')}`;

  test('a planted bad undo is found, and the file that it forgets is named', {
    timeout: TEST_MS,
  }, async () => {
    const path = await documentOf('bad', [
      {
        name: 'configure',
        type: 'writeFile',
        input: { path: join(directory, 'app.conf'), content: 'new\n' },
      },
      {
        name: 'migrate',
        type: 'runCommand',
        input: {
          command: shell(`echo a > ${directory}/a; echo b > ${directory}/b; chmod 700 ${directory}/releases`),
        },
        undo: ['rm', '-f', join(directory, 'a')],
      },
      {
        name: 'restart',
        type: 'runCommand',
        input: { command: 'systemctl,restart,app' },
        undo: ['/bin/true'],
      },
    ]);
    const before = (await readdir(directory)).sort();
    const { code, stdout, stderr } = await rehearse('--quick', '--json', path);
    expect(stderr).toBe('');
    const report = JSON.parse(stdout) as Report;
    expect(code).toBe(1);
    expect(report.kept).toBe(false);
    expect(report.failed).toBeUndefined();
    expect(report.steps.map(({ staysBehind }) => staysBehind)).toEqual([
      [],
      [`+ ${directory}/b`, `~ ${directory}/releases`],
      [],
    ]);
    expect(report.steps.map(({ rehearsed }) => rehearsed)).toEqual([true, true, false]);
    const [configure] = report.steps;
    expect(configure?.turnedBack).toBeGreaterThan(3);
    expect(configure?.undone).toBe(configure?.turnedBack);
    expect(configure?.verified).toBe(configure?.turnedBack);
    for (const kind of ['cancelled', 'killedOnTheWayBack'])
      expect(report.runs.some((one) => one.kind === kind && one.result === 'broken')).toBe(true);
    // What was cancelled before the migration had nothing to leave behind.
    expect(
      report.runs.filter(({ title }) => title === 'after step 1: done').map(({ result }) => result),
    ).toEqual(['kept', 'kept']);
    expect((await readdir(directory)).sort()).toEqual(before);
    expect(await readFile(join(directory, 'app.conf'), 'utf8')).toBe('old\n');
  });

  test('an undo that holds is told so after a cancel and a kill at every record', {
    timeout: TEST_MS,
  }, async () => {
    const path = await documentOf('good', [
      {
        name: 'switch',
        type: 'switchLink',
        input: { link: join(directory, 'current'), target: 'releases/2' },
      },
    ]);
    const junit = join(directory, 'junit.xml');
    const { code, stdout } = await rehearse('--junit', junit, path);
    expect(stdout).toContain('The undo holds.');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^cancelled +\d+ runs, \d+ back to the old state$/m);
    expect(stdout).toMatch(/^killed +\d+ runs, .*\d+ on to the new one$/m);
    expect(stdout).toMatch(/^1\. switch +switchLink +full .* -$/m);
    const xml = await readFile(junit, 'utf8');
    for (const at of ['started', 'step 1: attempt', 'step 1: done', 'prepared'])
      expect(xml).toContain(`name="cancelled after ${at}"`);
    for (const at of ['proposed', 'committed', 'finished'])
      expect(xml).toContain(`name="killed after ${at}"`);
    for (const at of ['aborted', 'step 1: undo', 'step 1: undone', 'settled', 'judged'])
      expect(xml).toContain(`name="killed on the way back after ${at}"`);
    expect(xml).toContain('failures="0"');
    expect(await readFile(join(directory, 'app.conf'), 'utf8')).toBe('old\n');
  });

  test('nothing leaves the view: kernel, devices, mounts, processes, network', {
    timeout: TEST_MS,
  }, async () => {
    const swappiness = await readFile('/proc/sys/vm/swappiness', 'utf8');
    const script = [
      `out=${directory}/escapes`,
      'echo 7 > /proc/sys/vm/swappiness && echo sysctl >> $out',
      'mknod /root/disk b 8 0 && echo mknod >> $out',
      'mount -t tmpfs tmpfs /mnt && echo mount >> $out',
      'chroot / true && echo chroot >> $out',
      `kill -0 ${process.pid} && echo kill >> $out`,
      'ls /proc/1/root/etc && echo init >> $out',
      'test -e /run/systemd/private -o -e /run/dbus/system_bus_socket && echo bus >> $out',
      'test -e /dev/sda -o -e /dev/vda -o -e /dev/mem && echo device >> $out',
      'grep -qv -e lo: -e face -e Inter /proc/net/dev && echo network >> $out',
      'true',
    ].join('; ');
    const path = await documentOf('escape', [
      { name: 'escape', type: 'runCommand', input: { command: shell(script) } },
    ]);
    const { stdout } = await rehearse('--quick', '--json', path);
    const report = JSON.parse(stdout) as Report;
    expect(report.failed).toBeUndefined();
    expect(report.steps[0]?.staysBehind).toEqual([]);
    expect(await readFile('/proc/sys/vm/swappiness', 'utf8')).toBe(swappiness);
  });

  test('a job that fails by itself is told with its reason and with what it leaves', {
    timeout: TEST_MS,
  }, async () => {
    const path = await documentOf('failing', [
      { name: 'migrate', type: 'runCommand', input: { command: shell(`touch ${directory}/half; exit 3`) } },
    ]);
    const { code, stdout } = await rehearse(path);
    expect(code).toBe(1);
    expect(stdout).toMatch(/it does not get there: step 1 \(migrate\): .*3/);
  });

  test('what this device would refuse is not run', { timeout: TEST_MS }, async () => {
    const path = await documentOf('refused', [
      { name: 'x', type: 'runHandler', input: { handler: 'no-such-handler.sh', path: directory } },
    ]);
    const scratchesBefore = await scratches();
    const { code, stdout, stderr } = await rehearse(path);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toContain('no-such-handler.sh');
    expect(await scratches()).toEqual(scratchesBefore);
  });
});

test('mounts: kernel interfaces and what is made anew are left out, a later mount hides an earlier one', () => {
  const line = (path: string, type: string): string => `1 0 0:1 / ${path} rw - ${type} source rw`;
  const mountinfo = [
    line('/', 'ext4'),
    line('/proc', 'proc'),
    line('/sys/fs/cgroup', 'cgroup2'),
    line('/run', 'tmpfs'),
    line('/run/user/0', 'tmpfs'),
    line('/runner', 'ext4'),
    line('/data', 'ext4'),
    line('/data', 'xfs'),
    line('/with\\040space', 'ext4'),
    '',
  ].join('\n');
  expect(fileMounts(mountinfo)).toEqual([
    { path: '/', type: 'ext4' },
    { path: '/data', type: 'xfs' },
    { path: '/runner', type: 'ext4' },
    { path: '/with space', type: 'ext4' },
  ]);
});
