import { basename, dirname, join } from 'node:path';
import { ensureDirectory, removeTree, writeFileAtomic } from '../../store/atomic-file.ts';
import { copyEntry } from '../fingerprint.ts';
import { ask, reasonOf, type Work } from './apt.ts';
import { conffilesIn } from './conffiles.ts';
import type { PackageState } from './database.ts';
import { dpkgName } from './debs.ts';

/**
 * An archive made of a package's installed files, where its own can no longer be had. It brings back what is on the
 * device now; what its author shipped in a conffile that was changed since is not known any more.
 */
export async function repack(state: PackageState, path: string, work: Work): Promise<string | undefined> {
  const { disk } = work.context;
  const tree = join(work.files.home, 'repack');
  await removeTree(disk, tree);
  await ensureDirectory(disk, join(tree, 'DEBIAN'), 0o755);
  await disk.chmod(tree, 0o755);
  try {
    const files = await filesOf(state, work);
    await copyFiles(files, tree, work);
    const reason = await writeControl(state, tree, work);
    if (reason !== undefined) return reason;
    const built = await ask(['dpkg-deb', '-Zgzip', '-z1', '--build', tree, path], work.context, {
      signal: work.signal,
      limitMs: work.limitMs,
    });
    return built.exitCode === 0 ? undefined : `cannot build an archive of its files: ${reasonOf(built)}`;
  } catch (error) {
    return `cannot build an archive of its files: ${(error as Error).message}`;
  } finally {
    await removeTree(disk, tree);
  }
}

/** Where each path of the package really is: a diverted one lies elsewhere. */
async function filesOf(state: PackageState, { context }: Work): Promise<Map<string, string>> {
  const said = await ask(['dpkg-query', '-L', dpkgName(state)], context);
  if (said.exitCode !== 0) throw new Error(reasonOf(said));
  const files = new Map<string, string>();
  let last = '';
  for (const line of said.stdout.split('\n')) {
    const diverted = /^(?:locally )?diverted(?: by \S+)? to: (.*)$/.exec(line)?.[1];
    if (diverted !== undefined) files.set(last, diverted);
    else if (line.startsWith('/') && line !== '/.') {
      last = line;
      files.set(line, line);
    }
  }
  return files;
}

async function copyFiles(files: ReadonlyMap<string, string>, tree: string, { context }: Work): Promise<void> {
  const { disk } = context;
  const directories = new Set([...files.keys()].map((path) => dirname(path)));
  for (const [path, source] of [...files].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const stat = await disk.lstat(source);
    // A directory of the package may be a link on this device, such as /lib where /usr is merged.
    if (directories.has(path) || stat?.kind === 'directory') {
      await ensureDirectory(disk, join(tree, path), 0o755);
      if (stat?.kind === 'directory') await disk.copyAttributes(source, join(tree, path));
    } else if (stat?.kind === 'file' || stat?.kind === 'link') {
      await ensureDirectory(disk, dirname(join(tree, path)), 0o755);
      await copyEntry(disk, source, join(tree, path));
    }
  }
}

/** Fields of the status file that no archive has. */
const STATUS_FIELDS = /^(Status|Conffiles|Config-Version|Triggers-Pending|Triggers-Awaited):/;

async function writeControl(state: PackageState, tree: string, work: Work): Promise<string | undefined> {
  const { context } = work;
  const status = await ask(['dpkg-query', '-s', dpkgName(state)], context);
  const paths = await ask(['dpkg-query', '--control-path', dpkgName(state)], context);
  if (status.exitCode !== 0) return reasonOf(status);
  for (const path of paths.stdout.split('\n').filter((line) => line.startsWith('/'))) {
    const to = join(tree, 'DEBIAN', basename(path).replace(/^.*\./, ''));
    await copyEntry(context.disk, path, to);
  }
  const control = join(tree, 'DEBIAN', 'control');
  await removeTree(context.disk, control);
  await writeText(control, withoutStatus(status.stdout), work);
  await writeConffiles(status.stdout, tree, work);
  return undefined;
}

/** A field goes with its continuation lines. */
function withoutStatus(stanza: string): string {
  const fields = stanza.trimEnd().split(/\n(?! )/);
  return `${fields.filter((field) => !STATUS_FIELDS.test(field)).join('\n')}\n`;
}

/** An archive cannot name a conffile that it does not hold; one that was deleted stays deleted. */
async function writeConffiles(stanza: string, tree: string, work: Work): Promise<void> {
  const held: string[] = [];
  for (const path of conffilesIn(stanza)) {
    if ((await work.context.disk.lstat(join(tree, path)))?.kind === 'file') held.push(path);
  }
  if (held.length === 0) return;
  const conffiles = join(tree, 'DEBIAN', 'conffiles');
  await removeTree(work.context.disk, conffiles);
  await writeText(conffiles, `${held.join('\n')}\n`, work);
}

async function writeText(path: string, text: string, { context }: Work): Promise<void> {
  await writeFileAtomic(context.disk, path, Buffer.from(text), 0o644);
}
