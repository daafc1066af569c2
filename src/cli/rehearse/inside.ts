import { type ExecFileException, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import type { LifeOrder } from './life.ts';

/**
 * The first process of a view's own PID namespace: closes what would lead out, then starts one life for each order on
 * its stdin. It ends with its stdin, and everything in the view ends with it.
 */

/** Beside what a life prints itself. */
export interface LifeExit {
  exited: { code: number | null; signal: string | null; stderr: string };
}

/** The lives wait here for a word after each record, where they are told to. */
export const WAIT_DESCRIPTOR = 3;

/** What root may do on a machine and nothing in a view may: mounts, devices, clocks, kernel, other name spaces. */
const DROPPED = [
  'audit_control',
  'audit_read',
  'block_suspend',
  'bpf',
  'checkpoint_restore',
  'dac_read_search',
  'ipc_lock',
  'lease',
  'linux_immutable',
  'mac_admin',
  'mac_override',
  'mknod',
  'net_admin',
  'perfmon',
  'sys_admin',
  'sys_boot',
  'sys_chroot',
  'sys_module',
  'sys_nice',
  'sys_pacct',
  'sys_ptrace',
  'sys_rawio',
  'sys_resource',
  'sys_time',
  'sys_tty_config',
  'syslog',
  'wake_alarm',
];
const PROTECTED = ['/proc/sys', '/proc/sysrq-trigger', '/proc/irq', '/proc/bus', '/proc/fs', '/proc/acpi'];
const STDERR_CHARS_MAX = 4000;

const run = promisify(execFile);

export async function inside(program: string): Promise<void> {
  for (const path of PROTECTED) await protect(path);
  // An empty network has at least itself; without the tool it has not even that.
  await run('ip', ['link', 'set', 'lo', 'up']).catch(() => undefined);
  // Also in the middle of a life: whoever wanted to know is gone.
  process.stdin.once('end', () => process.exit());
  for await (const line of createInterface({ input: process.stdin })) {
    const exit: LifeExit = await live(program, JSON.parse(line) as LifeOrder);
    process.stdout.write(`${JSON.stringify(exit)}\n`);
  }
}

async function live(program: string, order: LifeOrder): Promise<LifeExit> {
  const dropped = DROPPED.map((name) => `-${name}`).join(',');
  const child = spawn(
    'setpriv',
    [
      `--bounding-set=${dropped}`,
      `--inh-caps=${dropped}`,
      process.execPath,
      program,
      'rehearse-part',
      'life',
      JSON.stringify(order),
    ],
    { stdio: ['ignore', 'inherit', 'pipe', WAIT_DESCRIPTOR] },
  );
  let stderr = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr = (stderr + chunk.toString()).slice(-STDERR_CHARS_MAX);
  });
  const [code, signal] = (await once(child, 'exit')) as [number | null, string | null];
  return { exited: { code, signal, stderr } };
}

/** Read only from here on: what is written there reaches the machine's own kernel. */
async function protect(path: string): Promise<void> {
  try {
    await run('mount', ['--bind', path, path]);
  } catch (error) {
    // Not every kernel has all of them.
    if (/does not exist|special device/.test((error as ExecFileException & { stderr: string }).stderr))
      return;
    throw error;
  }
  await run('mount', ['-o', 'remount,bind,ro', path]);
}
