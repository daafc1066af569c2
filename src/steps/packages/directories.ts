import { dirname, join } from 'node:path';
import { readFileBounded, syncDirectory, writeFileAtomic } from '../../store/atomic-file.ts';
import { ask, reasonOf, type Work } from './apt.ts';
import { debName } from './debs.ts';
import type { Arrival } from './simulation.ts';

/**
 * Directories that are there and empty, and that an arriving package has too: dpkg takes them along when it removes the
 * package again, whoever made them.
 */

interface EmptyDirectory {
  path: string;
  mode: number;
  uid: number;
  gid: number;
}

const BYTES_MAX = 4 * 1024 * 1024;
const PERMISSIONS = 0o7777;

export async function keepEmptyDirectories(arrivals: readonly Arrival[], work: Work): Promise<void> {
  const { disk } = work.context;
  const named = new Set<string>();
  for (const arrival of arrivals) {
    const said = await ask(['dpkg-deb', '--contents', join(work.files.new, debName(arrival))], work.context);
    if (said.exitCode !== 0) throw new Error(`cannot list ${arrival.name}: ${reasonOf(said)}`);
    for (const line of said.stdout.split('\n')) {
      const path = /^d\S* +\S+ +\d+ +\S+ +\S+ \.(\/.*[^/])\/$/.exec(line)?.[1];
      if (path !== undefined) named.add(path);
    }
  }
  const found = new Map<string, EmptyDirectory>();
  // The innermost first: what holds nothing but such directories goes with them.
  for (const path of [...named].sort().reverse()) {
    const stat = await disk.lstat(path);
    if (stat?.kind !== 'directory') continue;
    const names = await disk.readDirectory(path);
    if (!names.every((name) => found.has(join(path, name)))) continue;
    found.set(path, { path, mode: stat.mode & PERMISSIONS, uid: stat.uid, gid: stat.gid });
  }
  const outermostFirst = [...found.values()].reverse();
  await writeFileAtomic(disk, work.files.directories, Buffer.from(JSON.stringify(outermostFirst)));
}

export async function restoreEmptyDirectories({ context, files }: Work): Promise<void> {
  const { disk } = context;
  const bytes = await readFileBounded(disk, files.directories, BYTES_MAX);
  if (!bytes) return;
  for (const { path, mode, uid, gid } of JSON.parse(Buffer.from(bytes).toString()) as EmptyDirectory[]) {
    if (await disk.lstat(path)) continue;
    await disk.mkdir(path, mode);
    await disk.lchown(path, uid, gid);
    await disk.chmod(path, mode);
    await syncDirectory(disk, dirname(path));
  }
}
