import { join } from 'node:path';
import type { ResourceId } from '../../document/plan.ts';
import { readFileBounded } from '../../store/atomic-file.ts';
import { undoPaths } from '../paths.ts';
import type { Attempt, StepType, UndoOutcome } from '../step.ts';
import { APT_GET, ask, awaitFormer, awaitLock, change, reasonOf, type Work, workOf } from './apt.ts';
import { imageContext } from './conffiles.ts';
import {
  auditOf,
  type Database,
  isPackage,
  isPresent,
  packageFingerprint,
  readDatabase,
} from './database.ts';
import { dpkgName } from './debs.ts';
import { restoreEmptyDirectories } from './directories.ts';
import { type PackageImage, readImages } from './image.ts';
import type { PackageStep } from './simulation.ts';

/**
 * The way back, from wherever dpkg was: first by apt, which knows in which order packages can follow each other, then,
 * where that fails (a maintainer script that fails, a package that is half there), by dpkg without regard to what
 * depends on what in between. The comparison behind it decides, not an exit status.
 */
export const undoPackages: StepType<PackageStep>['undo'] = async (
  step,
  before,
  after,
  attempt,
  context,
  signal,
) => {
  const work = workOf(step, context, signal, attempt);
  const images = readImages(before);
  await awaitFormer(work);
  const reasons: string[] = [];
  if ((await different(images, work)).length > 0) {
    const locked = await awaitLock(work);
    if (locked !== undefined) return { result: 'failed', reason: locked };
    reasons.push(...(await restoreSet(images, work)));
  }
  await restoreEmptyDirectories(work);
  reasons.push(...(await restoreMarks(images, work)));
  const own = { ...before, resources: before.resources.filter(({ id }) => !isPackage(id)) };
  const paths = await undoPaths(step, own, after, attempt as Attempt, imageContext(context));
  await context.disk.syncAll();
  const left = await different(images, work);
  const audit = await auditOf(context);
  if (left.length > 0) reasons.unshift(`not as before: ${left.map(([id]) => id).join(' ')}`);
  else if (audit !== '' && audit !== (await auditBefore(work)))
    reasons.unshift(`dpkg --audit: ${audit.slice(0, 300)}`);
  else return paths;
  return failure([...reasons, ...(paths.result === 'failed' ? [paths.reason] : [])]);
};

function failure(reasons: readonly string[]): UndoOutcome {
  return { result: 'failed', reason: reasons.join('; ') };
}

type Entry = [ResourceId, PackageImage];

/** Packages that are not as before, with what they were. */
async function different(images: ReadonlyMap<ResourceId, PackageImage>, { context }: Work): Promise<Entry[]> {
  const database = await readDatabase(context);
  return [...images].filter(
    ([id, { before }]) => packageFingerprint(database.get(id)) !== packageFingerprint(before),
  );
}

async function auditBefore({ context, files }: Work): Promise<string> {
  const bytes = await readFileBounded(context.disk, files.audit, 1024 * 1024);
  return Buffer.from(bytes ?? []).toString();
}

/** Brings versions and states back; what went wrong on the way is told, and matters only where the result does. */
async function restoreSet(images: ReadonlyMap<ResourceId, PackageImage>, work: Work): Promise<string[]> {
  const reasons: string[] = [];
  const run = async (argv: readonly string[]): Promise<void> => {
    const said = await change(argv, work);
    if (said.exitCode !== 0) reasons.push(`${argv[0]}: ${reasonOf(said)}`);
  };
  // Takes in what a run of dpkg that was killed has left in its own journal (stdin is empty, so no selection changes).
  await run(['dpkg', '--set-selections']);
  const first = await tasksOf(images, work);
  if (first.archives.length > 0 || first.removals.length > 0) {
    await run([
      ...APT_GET,
      ...ANYHOW,
      'install',
      '--',
      ...first.archives,
      ...first.removals.map((name) => `${name}-`),
    ]);
  }
  await force(await tasksOf(images, work), run);
  const stuck = await tasksOf(images, work);
  if (stuck.archives.length > 0 || stuck.removals.length > 0) {
    await dropScripts(images, work);
    await force(stuck, run);
  }
  const purged = await goneOf(images, work);
  if (purged.length > 0) await run([...DPKG, '--purge', '--', ...purged]);
  return reasons;
}

async function force(tasks: Tasks, run: (argv: readonly string[]) => Promise<void>): Promise<void> {
  const { archives, removals, pending } = tasks;
  if (archives.length > 0) await run([...DPKG, '--unpack', '--', ...archives]);
  if (removals.length > 0) await run([...DPKG, '--remove', '--', ...removals]);
  if (archives.length > 0 || pending) await run([...DPKG, '--configure', '-a']);
}

/**
 * The last resort: a version that the job brought refuses to go, since its own prerm or postrm fails. It goes without
 * them; what was there before keeps its scripts.
 */
async function dropScripts(images: ReadonlyMap<ResourceId, PackageImage>, { context }: Work): Promise<void> {
  const database = await readDatabase(context);
  for (const [id, { before }] of images) {
    const now = database.get(id);
    if (!isPresent(now) || now.version === before?.version) continue;
    const said = await ask(['dpkg-query', '--control-path', dpkgName(now)], context);
    const scripts = said.stdout.split('\n').filter((path) => /^\/.*\.(prerm|postrm)$/.test(path));
    for (const path of scripts) await context.disk.unlink(path);
  }
}

const ANYHOW = ['--allow-downgrades', '--allow-change-held-packages', '--allow-remove-essential'];
/** The set as a whole is a sound one; on the way to it anything may be missing for a moment. */
const FORCED = [
  'depends',
  'breaks',
  'conflicts',
  'downgrade',
  'overwrite',
  'hold',
  'remove-reinstreq',
  'confold',
];
const DPKG = ['dpkg', `--force-${FORCED.join(',')}`];

interface Tasks {
  archives: string[];
  removals: string[];
  /** Something waits for its configuration. */
  pending: boolean;
}

async function tasksOf(images: ReadonlyMap<ResourceId, PackageImage>, work: Work): Promise<Tasks> {
  const database = await readDatabase(work.context);
  const tasks: Tasks = { archives: [], removals: [], pending: false };
  for (const [id, image] of images) {
    const now = database.get(id);
    if (isPresent(now) && now.status !== 'installed') tasks.pending = true;
    if (isPresent(image.before)) {
      const same =
        now?.version === image.before.version && now.status === image.before.status && now.error === 'ok';
      if (!same && image.archive !== null) tasks.archives.push(join(work.files.old, image.archive));
    } else if (isPresent(now) && !isReplaced(image, images)) {
      tasks.removals.push(dpkgName(image));
    }
  }
  return tasks;
}

/** A package that changed between one architecture and all of them is replaced by the archive of what it was. */
function isReplaced(image: PackageImage, images: ReadonlyMap<ResourceId, PackageImage>): boolean {
  return [...images.values()].some(
    (other) =>
      other.name === image.name &&
      isPresent(other.before) &&
      (other.architecture === 'all' || image.architecture === 'all'),
  );
}

/** What was absent and has left configuration. */
async function goneOf(images: ReadonlyMap<ResourceId, PackageImage>, { context }: Work): Promise<string[]> {
  const database = await readDatabase(context);
  return [...images].flatMap(([id, image]) =>
    image.before === null && database.has(id) && !isReplaced(image, images) ? [dpkgName(image)] : [],
  );
}

/** Selections (holds are such) and the marks of what came as a dependency. */
async function restoreMarks(images: ReadonlyMap<ResourceId, PackageImage>, work: Work): Promise<string[]> {
  const database: Database = await readDatabase(work.context);
  const wanted = new Map<string, string[]>();
  for (const [id, { before }] of images) {
    const now = database.get(id);
    if (!isPresent(before) || !isPresent(now)) continue;
    const verbs = [
      ...(now.want === before.want ? [] : [VERBS[before.want] ?? 'install']),
      ...(now.auto === before.auto ? [] : [before.auto ? 'auto' : 'manual']),
    ];
    for (const verb of verbs) wanted.set(verb, [...(wanted.get(verb) ?? []), dpkgName(before)]);
  }
  const reasons: string[] = [];
  for (const [verb, names] of wanted) {
    const said = await change(['apt-mark', verb, '--', ...names], work);
    if (said.exitCode !== 0) reasons.push(`apt-mark ${verb}: ${reasonOf(said)}`);
  }
  return reasons;
}

/** What `apt-mark` calls the selections of dpkg. */
const VERBS: Readonly<Record<string, string>> = {
  install: 'install',
  hold: 'hold',
  deinstall: 'remove',
  purge: 'purge',
};
