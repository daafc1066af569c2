import { realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { readFileBounded, writeFileAtomic } from '../../store/atomic-file.ts';
import { pathOf } from '../own-directory.ts';
import type { StepContext } from '../step.ts';
import { ask, reasonOf, type Work } from './apt.ts';
import type { PackageState } from './database.ts';
import { debName, dpkgName } from './debs.ts';
import type { Arrival, PackageStep } from './simulation.ts';

/** Conffiles are ordinary paths with a before-image; this says which, and where their images lie. */

/** What dpkg puts beside a conffile (deb-conffiles, dpkg's conffile handling). */
const VARIANTS = ['', '.dpkg-dist', '.dpkg-old', '.dpkg-new'];
const CONFFILE = /^ (\/.*) (?:[0-9a-f]{32}|newconffile|nonexistent)(?: obsolete)?(?: remove-on-upgrade)?$/;
const CONFFILES_MAX = 2000;
const PATHS_BYTES_MAX = 16 * 1024 * 1024;

/** Every path of a conffile that the step may change, of the old packages and of the new. */
export async function conffilePaths(
  old: readonly PackageState[],
  arrivals: readonly Arrival[],
  work: Work,
): Promise<string[]> {
  const named = new Set<string>();
  if (old.length > 0) {
    const said = await ask(['dpkg-query', '-W', '-f', '${Conffiles}\\n', ...old.map(dpkgName)], work.context);
    if (said.exitCode !== 0) throw new Error(`cannot list conffiles: ${reasonOf(said)}`);
    for (const path of conffilesIn(said.stdout)) named.add(path);
  }
  for (const arrival of arrivals) {
    // Ends with an error where the archive has none.
    const said = await ask(
      ['dpkg-deb', '-I', join(work.files.new, debName(arrival)), 'conffiles'],
      work.context,
    );
    for (const line of said.stdout.split('\n'))
      if (line.includes('/')) named.add(line.slice(line.indexOf('/')));
  }
  if (named.size > CONFFILES_MAX) throw new Error(`more than ${CONFFILES_MAX} conffiles`);
  const real = new Set<string>();
  for (const path of named) for (const place of await placesOf(path)) real.add(place);
  return [...real].sort().flatMap((path) => VARIANTS.map((variant) => `${path}${variant}`));
}

/** What a `Conffiles` field of dpkg's status names. */
export function conffilesIn(text: string): string[] {
  return text.split('\n').flatMap((line) => CONFFILE.exec(line)?.[1] ?? []);
}

/** dpkg follows links on the way, and one that stands for the conffile itself; an image follows none. */
async function placesOf(path: string): Promise<string[]> {
  const directory = await realpath(dirname(path)).catch(() => dirname(path));
  const place = join(directory, basename(path));
  const target = await realpath(place).catch(() => place);
  return [place, target];
}

const ETC = '/etc';

/** Images of what lies in /etc lie in one place there: dpkg removes directories that are empty, and only those. */
export function imageContext(context: StepContext): StepContext {
  return {
    ...context,
    homeOf(path) {
      const home = context.homeOf(path);
      return home.startsWith(`${ETC}/`) ? ETC : home;
    },
  };
}

/** The step as one of paths alone. */
export function pathStep(step: PackageStep, paths: readonly string[]): PackageStep {
  const own = step.touches.filter((id) => id.startsWith('path:')).map(pathOf);
  return { ...step, touches: [...new Set([...own, ...paths])].map((path) => `path:${path}`) };
}

/** Durable before the first image is taken: `discard` knows nothing else. */
export async function writePaths(paths: readonly string[], { context, files }: Work): Promise<void> {
  await writeFileAtomic(context.disk, files.paths, Buffer.from(JSON.stringify(paths)));
}

export async function readPaths({ context, files }: Pick<Work, 'context' | 'files'>): Promise<string[]> {
  const bytes = await readFileBounded(context.disk, files.paths, PATHS_BYTES_MAX);
  return bytes ? (JSON.parse(Buffer.from(bytes).toString()) as string[]) : [];
}
