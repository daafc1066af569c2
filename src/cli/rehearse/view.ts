import { type ExecFileException, execFile } from 'node:child_process';
import { lstat, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { MountPoint } from './mounts.ts';

/**
 * A throw-away copy-on-write view of this machine: an overlay over each of its file systems, whose changes are kept in
 * memory, with a `/dev`, `/run` and `/sys` of its own. To be made in a mount namespace of its own, where it ends with
 * the last process.
 */
export interface View {
  /** What is `/` in the view. */
  root: string;
  overlays: readonly Overlay[];
  /** Mounts of the machine that cannot be laid under an overlay: seen in the view, but not written there. */
  readOnly: readonly string[];
  remove(): Promise<void>;
}

export interface Overlay {
  /** Where it stands on the machine, and in the view. */
  path: string;
  /** Holds what was changed. */
  upper: string;
}

const run = promisify(execFile);
const DEVICES = ['null', 'zero', 'full', 'random', 'urandom', 'tty'];
const DEVICE_LINKS = { fd: '/proc/self/fd', stdin: 'fd/0', stdout: 'fd/1', stderr: 'fd/2', ptmx: 'pts/ptmx' };

/**
 * Makes a view in `scratch`, an empty directory on a file system of its own (an overlay refuses an upper directory
 * that is part of what is under it). `mounts`: what there is on the machine. `network`: its own, with its resolver.
 */
export async function createView(
  scratch: string,
  { mounts, network }: { mounts: readonly MountPoint[]; network: boolean },
): Promise<View> {
  const root = join(scratch, 'root');
  const overlays: Overlay[] = [];
  const readOnly: string[] = [];
  await mkdir(root);
  for (const [index, mount] of mounts.entries()) {
    const overlay = await overlayOver(mount, join(scratch, String(index)), root);
    if (overlay) overlays.push(overlay);
    else readOnly.push(mount.path);
  }
  if (!overlays.some(({ path }) => path === '/')) {
    throw new Error('cannot lay an overlay over / of this machine: its file system does not allow it');
  }
  await makeRun(root, network);
  await makeDevices(root);
  await mounted('-t', 'sysfs', '-o', 'ro,nosuid,nodev,noexec', 'sysfs', join(root, 'sys')).catch(
    () => undefined,
  );
  return { root, overlays, readOnly, remove: () => unmounted(root) };
}

async function overlayOver({ path }: MountPoint, own: string, root: string): Promise<Overlay | undefined> {
  const target = join(root, path);
  const at = await lstat(path).catch(() => undefined);
  const there = await lstat(target).catch(() => undefined);
  if (!at || !there) return undefined;
  const [upper, work] = [join(own, 'upper'), join(own, 'work')];
  for (const directory of [upper, work]) await mkdir(directory, { recursive: true });
  const plain = !/[,:\\]/.test(path);
  if (at.isDirectory() && plain) {
    const options = `lowerdir=${path},upperdir=${upper},workdir=${work},redirect_dir=on`;
    const made = await mounted('-t', 'overlay', '-o', options, 'overlay', target).then(
      () => true,
      () => false,
    );
    if (made) return { path, upper };
  }
  await mounted('--bind', path, target);
  await mounted('-o', 'remount,bind,ro', target);
  return undefined;
}

/** Nothing of the machine's own `/run` is seen: no socket of systemd, D-Bus or a daemon. */
async function makeRun(root: string, network: boolean): Promise<void> {
  const resolver = network ? await readFile('/etc/resolv.conf', 'utf8').catch(() => undefined) : undefined;
  await mounted('-t', 'tmpfs', '-o', 'mode=755,nosuid,nodev', 'tmpfs', join(root, 'run'));
  await mkdir(join(root, 'run', 'lock'), { mode: 0o1777 });
  if (resolver === undefined) return;
  // The resolver's own file is often a link into `/run`.
  const directory = join(root, 'run', 'systemd', 'resolve');
  await mkdir(directory, { recursive: true });
  for (const name of ['resolv.conf', 'stub-resolv.conf']) await writeFile(join(directory, name), resolver);
}

async function makeDevices(root: string): Promise<void> {
  const dev = join(root, 'dev');
  await mounted('-t', 'tmpfs', '-o', 'mode=755,nosuid', 'tmpfs', dev);
  for (const name of DEVICES) {
    await writeFile(join(dev, name), '');
    await mounted('--bind', join('/dev', name), join(dev, name));
  }
  for (const [name, target] of Object.entries(DEVICE_LINKS)) await symlink(target, join(dev, name));
  for (const [name, type, options] of [
    ['pts', 'devpts', 'newinstance,ptmxmode=0666,mode=620'],
    ['shm', 'tmpfs', 'mode=1777,nosuid,nodev'],
  ] as const) {
    await mkdir(join(dev, name));
    await mounted('-t', type, '-o', options, type, join(dev, name));
  }
}

async function mounted(...args: string[]): Promise<void> {
  try {
    await run('mount', args);
  } catch (error) {
    const { stderr, message } = error as ExecFileException & { stderr?: string };
    throw new Error(`cannot mount ${args.at(-1) ?? ''}: ${stderr?.trim() || message}`);
  }
}

async function unmounted(root: string): Promise<void> {
  await run('umount', ['--recursive', '--lazy', root]);
}
