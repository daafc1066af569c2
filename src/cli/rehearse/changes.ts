import { execFile } from 'node:child_process';
import { join, relative } from 'node:path';
import { promisify } from 'node:util';
import type { Disk } from '../../host/disk.ts';
import { fingerprint } from '../../steps/fingerprint.ts';
import { isIn } from './mounts.ts';
import type { Overlay, View } from './view.ts';

/** What differs between a view and the machine below it: all of it, declared by a plan or not. */
export interface Change {
  /** Absolute, as it is called in the view. */
  path: string;
  kind: 'added' | 'removed' | 'changed';
}

/**
 * Compares kind, mode, owner, content, link target, extended attributes and ACLs; times are not compared. Reads only
 * what an overlay holds in its upper directory, so it costs what was changed and not what is there. A new directory
 * is one change, with all that is in it.
 */
export async function changesOf(view: View, ignored: readonly string[], disk: Disk): Promise<Change[]> {
  const found: Change[] = [];
  const others = view.overlays.map(({ path }) => path).concat(view.readOnly);
  for (const overlay of view.overlays) {
    const leave = (path: string): boolean =>
      ignored.some((one) => isIn(path, one)) || (path !== overlay.path && others.includes(path));
    const moved = await movedDirectories(overlay);
    await compare(overlay.path, { view, overlay, leave, moved, disk, found }, false);
  }
  return found.sort((a, b) => (a.path < b.path ? -1 : 1));
}

interface Comparison {
  view: View;
  overlay: Overlay;
  leave(path: string): boolean;
  /** Directories of the upper directory that do not stand over the one of the same name. */
  moved: ReadonlySet<string>;
  disk: Disk;
  found: Change[];
}

const run = promisify(execFile);
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024;

/** What an overlay marks as renamed from elsewhere, or as made anew where one was removed. */
async function movedDirectories({ upper }: Overlay): Promise<Set<string>> {
  const args = ['-R', '-P', '-h', '--absolute-names', '-m', '^trusted\\.overlay\\.(redirect|opaque)$', upper];
  const { stdout } = await run('getfattr', args, { maxBuffer: OUTPUT_BYTES_MAX });
  return new Set([...stdout.matchAll(/^# file: (.*)$/gm)].map(([, name = '']) => unquoted(name)));
}

/** getfattr writes newlines and backslashes in octal. */
function unquoted(name: string): string {
  return name.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** `whole`: the overlay cannot say what below `path` is as it was. */
async function compare(path: string, comparison: Comparison, whole: boolean): Promise<void> {
  const { view, disk, found, leave } = comparison;
  if (leave(path)) return;
  const inView = join(view.root, path);
  const [below, above] = await Promise.all([disk.lstat(path), disk.lstat(inView)]);
  if (!below && !above) return;
  if (!below || !above) {
    found.push({ path, kind: below ? 'removed' : 'added' });
    return;
  }
  if (below.kind !== above.kind) {
    found.push({ path, kind: 'changed' });
    return;
  }
  if (below.kind !== 'directory') {
    if ((await fingerprint(disk, path)) !== (await fingerprint(disk, inView)))
      found.push({ path, kind: 'changed' });
    return;
  }
  if (!(await sameDirectory(path, inView, disk))) found.push({ path, kind: 'changed' });
  const upper = join(comparison.overlay.upper, relative(comparison.overlay.path, path));
  const all = whole || comparison.moved.has(upper);
  const names = [...(await disk.readDirectory(path)), ...(await disk.readDirectory(inView))];
  const touched = new Set(await disk.readDirectory(upper).catch(() => []));
  for (const name of new Set(names)) {
    if (all || touched.has(name)) await compare(join(path, name), comparison, all);
  }
}

async function sameDirectory(path: string, inView: string, disk: Disk): Promise<boolean> {
  const [below, above] = await Promise.all([disk.lstat(path), disk.lstat(inView)]);
  if (below?.mode !== above?.mode || below?.uid !== above?.uid || below?.gid !== above?.gid) return false;
  const attributes = await disk.readAttributes([path, inView]);
  const sorted = (of: string): string => JSON.stringify(Object.entries(attributes.get(of) ?? {}).sort());
  return sorted(path) === sorted(inView);
}
