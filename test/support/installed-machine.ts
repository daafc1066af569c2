import { execFile } from 'node:child_process';
import * as fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type BootedMachine, createBootedMachine } from './booted-machine.ts';
import type { Suite } from './booted-root.ts';

/** A booted Debian on which apt installs the packages of `npm run deb`, from a folder, without a network. */
export interface InstalledMachine extends BootedMachine {
  /** apt-get with these words; never asks. `env`: NAME=VALUE. */
  apt(env: readonly string[], ...words: string[]): Promise<{ code: number | null; said: string }>;
  /** A package of another version in the folder; its path on the machine. */
  offer(version: string): Promise<string>;
}

const ROOT = new URL('../..', import.meta.url).pathname;
const run = promisify(execFile);
const FOLDER = '/var/tmp/packages';

export async function createInstalledMachine(suite: Suite): Promise<InstalledMachine> {
  const work = await fs.mkdtemp(join(tmpdir(), 'evenkeel-packages-'));
  const prepare = async (root: string): Promise<void> => {
    await fs.mkdir(join(root, FOLDER), { recursive: true });
    await fs.copyFile(await nodePackage(work), join(root, FOLDER, 'nodejs.deb'));
  };
  const machine = await createBootedMachine(suite, { bare: true, prepare });
  return {
    root: machine.root,
    get boots() {
      return machine.boots;
    },
    get isOn() {
      return machine.isOn;
    },
    exec: machine.exec,
    run: machine.run,
    start: machine.start,
    powerCut: machine.powerCut,
    log: machine.log,
    async apt(env, ...words) {
      const silent = ['DEBIAN_FRONTEND=noninteractive', ...env];
      const options = ['-y', '-q', '--no-install-recommends', '-o', 'Dpkg::Options::=--force-confdef'];
      const done = await machine.exec('env', ...silent, 'apt-get', ...options, ...words);
      return { code: done.code, said: done.stdout + done.stderr };
    },
    async offer(version) {
      const build = join(ROOT, 'systemd/debian/build.mjs');
      const { stdout } = await run(process.execPath, [build, work, version, 'evenkeel']);
      const path = stdout.trim().split('\n')[0] ?? '';
      const name = path.replace(/.*\//, '');
      await fs.copyFile(path, join(machine.root, FOLDER, name));
      return `${FOLDER}/${name}`;
    },
    async destroy() {
      await machine.destroy();
      await fs.rm(work, { recursive: true, force: true });
    },
  };
}

/**
 * A package `nodejs` around the Node.js of this machine, as one from elsewhere is that Debian 12 needs. On Debian 13 it
 * stands in for its own, which the mirror would have to be asked for.
 */
async function nodePackage(work: string): Promise<string> {
  const stage = join(work, 'node');
  await fs.mkdir(join(stage, 'usr/bin'), { recursive: true });
  await fs.mkdir(join(stage, 'DEBIAN'));
  await fs.copyFile(process.execPath, join(stage, 'usr/bin/node'));
  await fs.chmod(join(stage, 'usr/bin/node'), 0o755);
  const { stdout: arch } = await run('dpkg', ['--print-architecture']);
  const lines = [
    'Package: nodejs',
    `Version: ${process.versions.node}-1elsewhere1`,
    `Architecture: ${arch.trim()}`,
    'Maintainer: nobody <nobody@example.invalid>',
    'Description: Node.js from elsewhere',
  ];
  await fs.writeFile(join(stage, 'DEBIAN/control'), `${lines.join('\n')}\n`);
  const path = join(work, 'nodejs.deb');
  await run('dpkg-deb', ['--root-owner-group', '-Znone', '--build', stage, path]);
  return path;
}
