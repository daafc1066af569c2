import * as fs from 'node:fs/promises';
import { join } from 'node:path';
import { output } from './booted-machine.ts';

/** Debian roots with systemd, made once from the mirror that apt uses here, and kept for the tests that follow. */

export const SUITES = ['bookworm', 'trixie'] as const;
export type Suite = (typeof SUITES)[number];

const KEPT = '/var/tmp/evenkeel-debian';
const MIRROR = process.env['EVENKEEL_TEST_MIRROR'] ?? 'http://deb.debian.org/debian';
const PACKAGES = 'systemd,systemd-sysv,dbus';
const NEEDED = ['mmdebstrap', 'systemd-nspawn', 'nsenter', 'setpriv', 'flock'];

/** Why no machine can be booted here; `undefined` where one can. */
export async function whyNoMachine(): Promise<string | undefined> {
  if (process.geteuid?.() !== 0) return 'it needs root';
  for (const program of NEEDED) {
    const { code } = await output('/bin/sh', ['-c', `command -v ${program}`]);
    if (code !== 0) return `${program} is not installed`;
  }
  return undefined;
}

const made = new Map<Suite, Promise<string>>();

/** A pristine root, not to be changed. */
export function debianRoot(suite: Suite): Promise<string> {
  const known = made.get(suite) ?? makeRoot(suite);
  made.set(suite, known);
  return known;
}

async function makeRoot(suite: Suite): Promise<string> {
  const root = join(KEPT, suite);
  if (await isThere(root)) return root;
  await fs.mkdir(KEPT, { recursive: true });
  // Test files run beside each other: the first makes it, and the others wait for it.
  const args = ['--variant=minbase', '--mode=root', `--include=${PACKAGES}`, '--skip=output/dev'];
  const script = [
    '[ -d "$1" ] || { building=$1.making; root=$1; mirror=$2; suite=$3; shift 3; rm -rf "$building"',
    'mmdebstrap "$@" "$suite" "$building" "$mirror" && chmod 755 "$building" && mv "$building" "$root"; }',
  ].join('\n');
  const shell = ['/bin/sh', '-c', script, 'sh', root, MIRROR, suite, ...args];
  const { code, stderr } = await output('flock', [`${root}.lock`, ...shell]);
  if (code !== 0) throw new Error(`cannot make a root of ${suite}: ${stderr.slice(-2000)}`);
  return root;
}

async function isThere(path: string): Promise<boolean> {
  return fs.access(path).then(
    () => true,
    () => false,
  );
}
