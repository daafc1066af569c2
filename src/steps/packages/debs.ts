import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensureDirectory, removeTree } from '../../store/atomic-file.ts';
import { copyEntry } from '../fingerprint.ts';
import type { StepContext } from '../step.ts';
import { APT_GET, ask, reasonOf, type Work } from './apt.ts';
import type { PackageState } from './database.ts';
import { repack } from './repack.ts';
import type { Arrival } from './simulation.ts';

/**
 * The archives of a step: the new ones that it installs, and the old one of everything that it replaces or removes. All
 * are here before anything changes, so that neither way needs the network.
 */

const APT_ARCHIVES = '/var/cache/apt/archives';

/** A package in one version, as `apt-get download` names it. */
type Exact = Pick<Arrival, 'name' | 'architecture' | 'version'>;

/** apt's own name for the file of an archive. */
export function debName({ name, version, architecture }: Exact): string {
  return `${name}_${version.replaceAll(':', '%3a')}_${architecture}.deb`;
}

function aptName({ name, version, architecture }: Exact): string {
  return architecture === 'all' ? `${name}=${version}` : `${name}:${architecture}=${version}`;
}

/** Fetches what the step will install; a reason where that cannot be had. */
export async function fetchNew(arrivals: readonly Arrival[], work: Work): Promise<string | undefined> {
  const { new: directory } = work.files;
  // apt wants it even where it only removes.
  await ensureDirectory(work.context.disk, join(directory, 'partial'));
  if (arrivals.length === 0) return undefined;
  const argv = [...APT_GET, 'download', '--', ...arrivals.map(aptName)];
  const said = await ask(argv, work.context, { signal: work.signal, cwd: directory, limitMs: work.limitMs });
  if (said.exitCode !== 0) return `cannot fetch the packages: ${reasonOf(said)}`;
  for (const arrival of arrivals) {
    const reason = await wrongArchive(join(directory, debName(arrival)), arrival, work.context);
    if (reason !== undefined) return `cannot fetch ${arrival.name}: ${reason}`;
  }
  return undefined;
}

/** Secures the archive of each installed package: from apt's cache, else from the network, else made of its files. */
export async function secureOld(states: readonly PackageState[], work: Work): Promise<string | undefined> {
  const { context, files, signal, limitMs } = work;
  await ensureDirectory(context.disk, files.old);
  const missing: PackageState[] = [];
  for (const state of states) if (!(await takeFromCache(state, work))) missing.push(state);
  if (missing.length === 0) return undefined;
  // All at once first: apt takes its time to start on a small device.
  const download = (some: readonly PackageState[]) =>
    ask([...APT_GET, 'download', '--', ...some.map(aptName)], context, { signal, cwd: files.old, limitMs });
  if ((await download(missing)).exitCode !== 0 && missing.length > 1) {
    for (const state of missing) await download([state]);
  }
  for (const state of missing) {
    if (signal.aborted) return (signal.reason as Error).message;
    const path = join(files.old, debName(state));
    if ((await wrongArchive(path, state, context)) === undefined) continue;
    await removeTree(context.disk, path);
    const reason = (await repack(state, path, work)) ?? (await wrongArchive(path, state, context));
    if (reason !== undefined) return `cannot secure ${state.name} ${state.version}: ${reason}`;
  }
  return undefined;
}

async function takeFromCache(state: PackageState, { context, files }: Work): Promise<boolean> {
  const cached = join(APT_ARCHIVES, debName(state));
  if ((await context.disk.lstat(cached))?.kind !== 'file') return false;
  const path = join(files.old, debName(state));
  await copyEntry(context.disk, cached, path);
  if ((await wrongArchive(path, state, context)) === undefined) return true;
  await removeTree(context.disk, path);
  return false;
}

/** Why a file is not the whole archive of that package; `undefined` when it is. */
async function wrongArchive(
  path: string,
  { name, version, architecture }: Exact,
  context: Pick<StepContext, 'disk' | 'processes'>,
): Promise<string | undefined> {
  if ((await context.disk.lstat(path))?.kind !== 'file') return `there is no ${basename(path)}`;
  const fields = await ask(['dpkg-deb', '-f', path, 'Package', 'Version', 'Architecture'], context);
  const found = fields.stdout.trim().split('\n').sort().join(' ');
  if (found !== `Architecture: ${architecture} Package: ${name} Version: ${version}`) {
    return `${basename(path)} is ${found || 'no archive'}`;
  }
  // Reads all of it: one that was cut off must not be found out only when it is needed.
  const listed = await ask(['dpkg-deb', '--contents', path], context);
  return listed.exitCode === 0 ? undefined : `${basename(path)}: ${reasonOf(listed)}`;
}

/** Installed packages whose own archive can be had neither from apt's cache nor from its sources. */
export async function withoutArchive(
  states: readonly PackageState[],
  context: Pick<StepContext, 'disk' | 'processes'>,
): Promise<PackageState[]> {
  const uncached: PackageState[] = [];
  for (const state of states) {
    const cached = await context.disk.lstat(join(APT_ARCHIVES, debName(state)));
    if (cached?.kind !== 'file') uncached.push(state);
  }
  if (uncached.length === 0 || (await canBeHad(uncached, context))) return [];
  const missing: PackageState[] = [];
  for (const state of uncached) if (!(await canBeHad([state], context))) missing.push(state);
  return missing;
}

async function canBeHad(
  states: readonly PackageState[],
  context: Pick<StepContext, 'processes'>,
): Promise<boolean> {
  const said = await ask(
    [...APT_GET, '-qq', '--print-uris', 'download', '--', ...states.map(aptName)],
    context,
  );
  if (said.exitCode !== 0) return false;
  const uris = [...said.stdout.matchAll(/^'([^']+)'/gm)].map(([, uri = '']) => uri);
  return uris.length >= states.length && uris.every((uri) => !uri.startsWith('file:') || isThere(uri));
}

function isThere(uri: string): boolean {
  try {
    return existsSync(fileURLToPath(uri.replace(/^file:\/*/, 'file:///')));
  } catch {
    return false;
  }
}

/** Room for the archives, and on the system for what they hold: announced by apt, or an upper bound. */
export async function roomFor(
  arrivals: readonly Arrival[],
  old: readonly PackageState[],
  context: Pick<StepContext, 'processes'>,
): Promise<{ archives: number; system: number }> {
  const shown =
    arrivals.length > 0 ? await ask(['apt-cache', 'show', '--', ...arrivals.map(aptName)], context) : null;
  const kept =
    old.length > 0
      ? await ask(
          ['dpkg-query', '-W', '-f', 'Installed-Size: ${Installed-Size}\\n', ...old.map(dpkgName)],
          context,
        )
      : null;
  const archives = sumOf(shown?.stdout, 'Size') + sumOf(kept?.stdout, 'Installed-Size') * 1024;
  return { archives, system: sumOf(shown?.stdout, 'Installed-Size') * 1024 };
}

export function dpkgName({ name, architecture }: Pick<PackageState, 'name' | 'architecture'>): string {
  return architecture === 'all' ? name : `${name}:${architecture}`;
}

function sumOf(text: string | undefined, field: string): number {
  const values = (text ?? '').matchAll(new RegExp(`^${field}: *(\\d+)$`, 'gm'));
  return [...values].reduce((sum, [, value]) => sum + Number(value), 0);
}
