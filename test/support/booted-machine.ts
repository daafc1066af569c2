import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '../../src/host/clock.ts';
import { debianRoot, type Suite } from './booted-root.ts';
import { until } from './until.ts';

/**
 * A machine with a systemd of its own as PID 1, in a container (systemd-nspawn) on a copy of a Debian root: it boots,
 * restarts and loses its power as a device does. Its network is this machine's loopback and whatever else is here.
 */
export interface BootedMachine {
  /** Its `/`, as it is seen from here. */
  root: string;
  /** How often it has booted. */
  readonly boots: number;
  readonly isOn: boolean;
  /** Runs a program in it, as root, with a clean environment. */
  exec(...argv: string[]): Promise<{ code: number | null; stdout: string; stderr: string }>;
  /** As `exec`; throws where the program fails. */
  run(...argv: string[]): Promise<string>;
  /** Boots it, where it is off, and waits until systemd has come to rest. */
  start(): Promise<void>;
  /** SIGKILL of its PID 1, and with it of all that runs in it. It stays off. */
  powerCut(): Promise<void>;
  log(): string;
  destroy(): Promise<void>;
}

/** systemd-nspawn says so when the machine has asked for a restart and is not to do that by itself (--keep-unit). */
const REBOOT_CODE = 133;
const BOOT_LIMIT_MS = 120_000;
const LOG_CHARS_MAX = 100_000;
const PROJECT = new URL('../..', import.meta.url).pathname.replace(/\/$/, '');
const CGROUPS = '/sys/fs/cgroup';
/** They want a network, or a clock that passes. */
const MASKED = [
  'apt-daily.timer',
  'apt-daily-upgrade.timer',
  'e2scrub_all.timer',
  'dpkg-db-backup.timer',
  'fstrim.timer',
  'systemd-networkd-wait-online.service',
];
const INSIDE_ENV = [
  'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  'HOME=/root',
  'TERM=dumb',
  'LC_ALL=C',
  'SYSTEMD_PAGER=',
];

let machines = 0;

/**
 * A booted machine; the project lies in it where it lies here, and `evenkeel` is installed from there. `bare` leaves
 * that out, and `prepare` changes its root before the first boot.
 */
export async function createBootedMachine(
  suite: Suite,
  options: { bare?: boolean; prepare?(root: string): Promise<void> } = {},
): Promise<BootedMachine> {
  machines += 1;
  const name = `evenkeel-${process.pid}-${machines}`;
  const root = join('/var/tmp', name);
  const pristine = await debianRoot(suite);
  await run('cp', '-a', '--reflink=auto', pristine, root);
  const cgroups = await makeCgroups(name);
  let child: ChildProcess | undefined;
  let boots = 0;
  let log = '';
  let wanted = false;

  const isOn = (): boolean => child !== undefined && child.exitCode === null && child.signalCode === null;

  const boot = (): void => {
    boots += 1;
    const enter = cgroups.map((path) => `echo $$ > ${path}/cgroup.procs`).join('; ');
    child = spawn('/bin/sh', ['-c', `${enter}; exec "$@"`, 'sh', ...nspawn(name, root)], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'], SYSTEMD_NSPAWN_UNIFIED_HIERARCHY: '1' },
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        log = (log + chunk.toString()).slice(-LOG_CHARS_MAX);
      });
    }
    child.once('exit', (code) => {
      // As a device does: it goes down, and comes up again.
      if (code === REBOOT_CODE && wanted) boot();
    });
  };

  const leader = async (): Promise<string> => {
    const pid = String(child?.pid);
    const children = await fs.readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
    return children.trim().split(' ')[0] ?? '';
  };

  const exec: BootedMachine['exec'] = async (...argv) => {
    const pid = await leader();
    if (pid === '') return { code: null, stdout: '', stderr: 'the machine is off' };
    return await output('nsenter', ['-t', pid, '-a', '--', '/usr/bin/env', '-i', ...INSIDE_ENV, ...argv]);
  };

  const ended = async (): Promise<void> => {
    wanted = false;
    const pid = await leader();
    const exited = isOn() ? once(child!, 'exit') : undefined;
    try {
      if (pid !== '') process.kill(Number(pid), 'SIGKILL');
      else child?.kill('SIGKILL');
    } catch {
      // It has ended meanwhile.
    }
    await exited;
  };

  const machine: BootedMachine = {
    root,
    get boots() {
      return boots;
    },
    get isOn() {
      return isOn();
    },
    exec,
    async run(...argv) {
      const { code, stdout, stderr } = await exec(...argv);
      if (code !== 0)
        throw new Error(`${argv.join(' ')} ended with ${code ?? 'a signal'}: ${stderr}${stdout}`);
      return stdout;
    },
    async start() {
      wanted = true;
      if (!isOn()) boot();
      let said = '';
      const rested = async (): Promise<boolean> => {
        said = (await exec('systemctl', 'is-system-running')).stdout.trim();
        return ['running', 'degraded'].includes(said);
      };
      await until(`systemd of ${suite} to run`, rested, BOOT_LIMIT_MS).catch((error: unknown) => {
        throw new Error(`${(error as Error).message} (${said})\n${log}`);
      });
    },
    powerCut: ended,
    log: () => log,
    async destroy() {
      await ended();
      await removeCgroups(cgroups);
      await fs.rm(root, { recursive: true, force: true, maxRetries: 5 });
    },
  };
  try {
    await furnish(root);
    if (options.bare !== true) await installFromHere(root);
    await options.prepare?.(root);
    await machine.start();
    return machine;
  } catch (error) {
    await machine.destroy();
    throw error;
  }
}

function nspawn(name: string, root: string): string[] {
  return [
    // A test run that is killed leaves no machine behind.
    'setpriv',
    '--pdeathsig=KILL',
    'systemd-nspawn',
    '--quiet',
    `--directory=${root}`,
    '--boot',
    '--register=no',
    '--keep-unit',
    `--machine=${name}`,
    '--console=read-only',
    '--resolv-conf=off',
    '--timezone=off',
    '--link-journal=no',
    `--bind-ro=${process.execPath}:/usr/local/bin/node`,
    `--bind=${PROJECT}`,
  ];
}

async function furnish(root: string): Promise<void> {
  if (root === '/' || root === '') throw new Error('never on this machine itself');
  await fs.writeFile(join(root, 'etc/machine-id'), '');
  await fs.writeFile(join(root, 'etc/hosts'), '127.0.0.1 localhost\n');
  await fs.mkdir(join(root, 'var/log/journal'), { recursive: true });
  for (const unit of MASKED) {
    const link = join(root, 'etc/systemd/system', unit);
    await fs.rm(link, { force: true });
    await fs.symlink('/dev/null', link);
  }
}

/** As the package does, with links to what is built here. */
async function installFromHere(root: string): Promise<void> {
  const home = join(root, 'usr/lib/evenkeel');
  await fs.mkdir(home, { recursive: true });
  await fs.copyFile(join(PROJECT, 'systemd/notify-launcher'), join(home, 'notify-launcher'));
  await fs.symlink(join(PROJECT, 'dist'), join(home, 'dist'));
  await fs.symlink('/usr/local/bin/node', join(root, 'usr/bin/node'));
  const wrapper = `#!/bin/sh\nexec /usr/local/bin/node ${PROJECT}/dist/cli/main.js "$@"\n`;
  await fs.writeFile(join(root, 'usr/bin/evenkeel'), wrapper, { mode: 0o755 });
  await fs.copyFile(
    join(PROJECT, 'systemd/evenkeel.service'),
    join(root, 'etc/systemd/system/evenkeel.service'),
  );
}

/** A group of its own in each hierarchy that systemd uses: without one it would share this process's. */
async function makeCgroups(name: string): Promise<string[]> {
  const places = [join(CGROUPS, 'systemd'), join(CGROUPS, 'unified')];
  const there: string[] = [];
  for (const place of places) if (await exists(join(place, 'cgroup.procs'))) there.push(place);
  if (there.length === 0) there.push(CGROUPS);
  const made = there.map((place) => join(place, name));
  for (const path of made) await fs.mkdir(path, { recursive: true });
  return made;
}

async function removeCgroups(paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    // What has just ended in it may be counted for a moment.
    for (let tried = 0; tried < 20; tried += 1) {
      await output('find', [path, '-depth', '-type', 'd', '-exec', 'rmdir', '{}', ';']);
      if (!(await exists(path))) break;
      await systemClock.sleep(100);
    }
  }
}

async function exists(path: string): Promise<boolean> {
  return fs.access(path).then(
    () => true,
    () => false,
  );
}

async function run(program: string, ...args: string[]): Promise<void> {
  const { code, stderr } = await output(program, args);
  if (code !== 0) throw new Error(`${program} ${args.join(' ')}: ${stderr}`);
}

/** Everything that a program said; never rejects. */
export async function output(
  program: string,
  args: readonly string[],
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const said = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk: Buffer) => {
    said.stdout += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    said.stderr += chunk.toString();
  });
  const code = await new Promise<number | null>((resolve) => {
    child.once('error', (error) => {
      said.stderr += error.message;
      resolve(null);
    });
    child.once('close', resolve);
  });
  return { code, ...said };
}
