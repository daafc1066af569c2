import { realpath } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Disk } from '../host/disk.ts';

/** A script of the site, if it is one that only root or the agent could have put there. */
export type Handler =
  | { kind: 'usable'; path: string }
  | { kind: 'missing'; reason: string }
  /** It is there, and must not be run. */
  | { kind: 'refused'; reason: string };

export const SCRIPT_BYTES_MAX = 1024 * 1024;

const WRITABLE_BY_OTHERS = 0o022;
const EXECUTABLE = 0o111;

/** `install.sh` is undone by `install.undo.sh`. */
export function undoName(handler: string): string {
  return `${handler.replace(/\.sh$/, '')}.undo.sh`;
}

/** What `install.sh` touches is declared by `install.manifest.json`. */
export function manifestName(handler: string): string {
  return `${handler.replace(/\.sh$/, '')}.manifest.json`;
}

/** Looks for the file `name` in `directory`, a script where it is run; whatever links are on the way, it must really lie in there. */
export async function findHandler(
  disk: Disk,
  directory: string,
  name: string,
  { isRun }: { isRun: boolean } = { isRun: true },
): Promise<Handler> {
  const path = join(directory, name);
  let home: string;
  let real: string;
  try {
    home = await realpath(directory);
    real = await realpath(path);
  } catch (error) {
    return { kind: 'missing', reason: `there is no handler ${path}: ${(error as Error).message}` };
  }
  if (!real.startsWith(home === '/' ? home : `${home}/`)) {
    return { kind: 'refused', reason: `${path} leads out of ${directory}, to ${real}` };
  }
  const stat = await disk.lstat(real);
  if (stat?.kind !== 'file') return { kind: 'refused', reason: `${path} is no regular file` };
  if (isRun && (stat.mode & EXECUTABLE) === 0)
    return { kind: 'refused', reason: `${path} is not executable` };
  for (let checked = real; checked.length >= home.length; checked = dirname(checked)) {
    const reason = await whoElseCanChange(disk, checked);
    if (reason !== undefined) return { kind: 'refused', reason };
    if (checked === home) break;
  }
  return { kind: 'usable', path: real };
}

async function whoElseCanChange(disk: Disk, path: string): Promise<string | undefined> {
  const stat = await disk.lstat(path);
  if (!stat) return `${path} is gone`;
  if (stat.uid !== 0 && stat.uid !== process.geteuid?.()) {
    return `${path} belongs to user ${stat.uid}, and must belong to root or to the agent's user`;
  }
  if ((stat.mode & WRITABLE_BY_OTHERS) !== 0) {
    return `${path} has mode ${stat.mode.toString(8)}, and must not be writable by its group or by others`;
  }
  return undefined;
}
