import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import * as fs from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { until } from './until.ts';

/**
 * A throw-away Debian: a copy-on-write view of this machine's root in a mount namespace of its own, with its apt and
 * dpkg, an empty package database, and a repository of packages that the test makes. Nothing in it reaches the machine.
 */

const run = promisify(execFile);

/** In CI a missing tool is a failure, not a reason to skip. */
export const hasDebianRoot =
  process.env['CI'] !== undefined ||
  (process.geteuid?.() === 0 &&
    ['/usr/bin/apt-get', '/usr/bin/unshare', '/usr/bin/nsenter'].every(existsSync));

export interface DebianRoot {
  /** Reached by the same name from inside and from outside, on a real disk. */
  shared: string;
  /** What a command begins with to run inside. */
  inside: readonly string[];
  sh(script: string): Promise<string>;
  publish(...packages: readonly TestPackage[]): Promise<void>;
  /** apt has not heard of them yet. */
  publishUnseen(...packages: readonly TestPackage[]): Promise<void>;
  unpublish(name: string, version: string): Promise<void>;
  /** The package database, and everything in /etc and /srv, as lines. */
  world(): Promise<string[]>;
  end(): Promise<void>;
}

export interface TestPackage {
  name: string;
  version: string;
  depends?: string;
  /** `all`, unless it is said. */
  architecture?: string;
  multiArch?: 'same';
  /** By path; conffiles where they lie in /etc. */
  files?: Record<string, string>;
  scripts?: Partial<Record<'preinst' | 'postinst' | 'prerm' | 'postrm', string>>;
}

const SETUP = `
set -e
base=$1
top="$base/top"
view() {
  mkdir "$top/upper" "$top/work" "$top/root"
  mount -t overlay overlay -o "lowerdir=/,upperdir=$top/upper,workdir=$top/work$1" "$top/root"
}
# On one file system with the root, files and directories have one device number; not every root can be written beside.
view "" 2>/dev/null || { mount -t tmpfs tmpfs "$top"; view ,xino=on; }
for each in proc sys dev; do mount --rbind "/$each" "$base/top/root/$each"; done
mount -t tmpfs tmpfs "$base/top/root/run"
mount --bind "$base/shared" "$base/top/root$base/shared"
exec chroot "$base/top/root" /bin/sh -c "$2" sh "$base"
`;

/** Empty databases of dpkg and apt, and the one repository; whatever policy the machine has for apt stays. */
const EMPTY = `
set -e
mkdir -p /run/lock
rm -rf /var/lib/dpkg /var/lib/apt /var/cache/apt /etc/apt/sources.list /etc/apt/sources.list.d /etc/apt/preferences.d
mkdir -p /var/lib/dpkg/info /var/lib/dpkg/updates /var/lib/dpkg/triggers /var/lib/dpkg/alternatives
mkdir -p /var/lib/apt/lists/partial /var/cache/apt/archives/partial /etc/apt/sources.list.d /srv
touch /srv/.keep
: > /var/lib/dpkg/status; : > /var/lib/dpkg/available
rm -f /etc/apt/apt.conf.d/*
printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d
echo "deb [trusted=yes] file:$1/shared/repository ./" > /etc/apt/sources.list
echo ready > "$1/shared/ready"
exec sleep 1000000
`;

const WORLD = `
awk 'BEGIN { RS = ""; FS = "\\n" } { gsub("\\n", " | "); print "status: " $0 }' /var/lib/dpkg/status | sort
ls /var/lib/dpkg/info | sort | sed 's/^/info: /'
ls /var/lib/dpkg/updates | sed 's/^/update: /'
apt-mark showauto | sort | sed 's/^/auto: /'
apt-mark showhold | sort | sed 's/^/hold: /'
dpkg --audit | sed 's/^/audit: /'
find /etc /srv -printf '%p %y %m %U:%G %l\\n' | sort
find /etc /srv -type f -print0 | sort -z | xargs -0 sha256sum
`;

export async function createDebianRoot(): Promise<DebianRoot> {
  const base = await fs.mkdtemp('/var/tmp/evenkeel-root-');
  const shared = join(base, 'shared');
  await fs.mkdir(join(base, 'top'));
  await fs.mkdir(join(shared, 'repository'), { recursive: true });
  const holder = spawn(
    'unshare',
    ['--mount', '--propagation', 'private', 'sh', '-c', SETUP, 'sh', base, EMPTY],
    {
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  );
  let complaint = '';
  holder.stderr.on('data', (chunk: Buffer) => {
    complaint += chunk.toString();
  });
  await until('the throw-away root', () => {
    if (holder.exitCode !== null) throw new Error(`cannot make a throw-away root: ${complaint}`);
    return existsSync(join(shared, 'ready'));
  });
  const inside = ['nsenter', '--target', String(holder.pid), '--mount', '--root', '--wd=/'];
  const sh = async (script: string): Promise<string> => {
    const [program, ...args] = [...inside, 'sh', '-ec', script];
    const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' };
    return (await run(program, args, { env, maxBuffer: 64 * 1024 * 1024 })).stdout;
  };
  const repository = join(shared, 'repository');
  const index = async (): Promise<void> => {
    await writeIndex(repository);
    await sh('apt-get update -qq');
  };
  return {
    shared,
    inside,
    sh,
    async publish(...packages) {
      for (const one of packages) await buildPackage(one, repository);
      await index();
    },
    async publishUnseen(...packages) {
      for (const one of packages) await buildPackage(one, repository);
      await writeIndex(repository);
    },
    async unpublish(name, version) {
      await fs.rm(join(repository, `${name}_${version}_all.deb`));
      await index();
    },
    world: async () => (await sh(WORLD)).trimEnd().split('\n'),
    async end() {
      await endHolder(holder);
      await fs.rm(base, { recursive: true, force: true });
    },
  };
}

async function endHolder(holder: ChildProcess): Promise<void> {
  if (holder.exitCode !== null || holder.signalCode !== null) return;
  const exited = once(holder, 'exit');
  holder.kill('SIGKILL');
  await exited;
}

/** Builds the `.deb` of a package into a directory. */
export async function buildPackage(
  { name, version, depends, architecture = 'all', multiArch, files = {}, scripts = {} }: TestPackage,
  into: string,
): Promise<void> {
  const tree = await fs.mkdtemp('/var/tmp/evenkeel-package-');
  await fs.chmod(tree, 0o755);
  const write = async (path: string, content: string, mode: number): Promise<void> => {
    await fs.mkdir(join(tree, path, '..'), { recursive: true, mode: 0o755 });
    await fs.writeFile(join(tree, path), content);
    await fs.chmod(join(tree, path), mode);
  };
  const control = [
    `Package: ${name}`,
    `Version: ${version}`,
    `Architecture: ${architecture}`,
    ...(multiArch === undefined ? [] : [`Multi-Arch: ${multiArch}`]),
    'Maintainer: Test <test@example.org>',
    ...(depends === undefined ? [] : [`Depends: ${depends}`]),
    `Description: ${name} of a test`,
  ];
  await write('DEBIAN/control', `${control.join('\n')}\n`, 0o644);
  const conffiles = Object.keys(files).filter((path) => path.startsWith('/etc/'));
  if (conffiles.length > 0) await write('DEBIAN/conffiles', `${conffiles.join('\n')}\n`, 0o644);
  for (const [path, content] of Object.entries(files)) await write(path, content, 0o644);
  for (const [script, body] of Object.entries(scripts))
    await write(`DEBIAN/${script}`, `#!/bin/sh\n${body}\n`, 0o755);
  await run('dpkg-deb', [
    '--root-owner-group',
    '-Znone',
    '--build',
    tree,
    join(into, `${name}_${version}_${architecture}.deb`),
  ]);
  await fs.rm(tree, { recursive: true });
}

/** The Packages file of a flat repository. */
export async function writeIndex(repository: string): Promise<void> {
  const stanzas: string[] = [];
  for (const name of (await fs.readdir(repository)).filter((one) => one.endsWith('.deb')).sort()) {
    const path = join(repository, name);
    const { stdout: fields } = await run('dpkg-deb', ['-f', path]);
    const { stdout: sum } = await run('sha256sum', [path]);
    const { size } = await fs.stat(path);
    stanzas.push(
      `${fields.trimEnd()}\nFilename: ./${name}\nSize: ${size}\nSHA256: ${sum.split(' ')[0] ?? ''}\n`,
    );
  }
  await fs.writeFile(join(repository, 'Packages'), stanzas.join('\n'));
}
