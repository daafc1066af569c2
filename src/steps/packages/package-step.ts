import { existsSync } from 'node:fs';
import { realpath } from 'node:fs/promises';
import type { ResourceId } from '../../document/plan.ts';
import { ensureDirectory, removeTree, syncDirectory, writeFileAtomic } from '../../store/atomic-file.ts';
import { afterOf, discardPaths, existingParent, preparePaths, surveyPaths } from '../paths.ts';
import type {
  After,
  Attempt,
  Before,
  DoOutcome,
  Prepared,
  StepContext,
  StepSurvey,
  StepType,
  UndoOutcome,
} from '../step.ts';
import {
  APT_GET,
  ask,
  awaitFormer,
  awaitLock,
  change,
  fetchLists,
  isLocked,
  lockHolder,
  reasonOf,
  type Said,
  type Work,
  workOf,
} from './apt.ts';
import { conffilePaths, imageContext, pathStep, readPaths, writePaths } from './conffiles.ts';
import { auditOf, isPackage, isPresent, observePackages, readDatabase } from './database.ts';
import { dpkgName, fetchNew, roomFor, secureOld, withoutArchive } from './debs.ts';
import { keepEmptyDirectories } from './directories.ts';
import { imagesOf, plannedIn, readImages } from './image.ts';
import {
  commandOf,
  describePlan,
  type PackagePlan,
  type PackageStep,
  simulate,
  touchedBy,
} from './simulation.ts';
import { undoPackages } from './undo-packages.ts';

/**
 * Packages of Debian. Everything that the step needs, forward and back, is on the device before apt changes anything;
 * dpkg is never interrupted; what is deferred to behind the commit is the purge, which cannot be undone.
 */
export const packageStep: StepType<PackageStep> = {
  survey: surveyPackages,
  prepare: preparePackages,
  do: changePackages,
  undo: undoPackages,
  finish: purgeRemoved,

  async discard(step, context) {
    const work = workOf(step, context);
    await discardPaths(pathStep(step, await readPaths(work)), imageContext(context));
    await removeTree(context.disk, work.files.home);
    if (await context.disk.lstat(context.directory)) await syncDirectory(context.disk, context.directory);
  },
};

async function surveyPackages(step: PackageStep, context: StepContext): Promise<StepSurvey> {
  const { grade, diskNeed, problems } = await surveyPaths(pathStep(step, []), context);
  const refuse = (kind: 'never' | 'wait', reason: string): StepSurvey => ({
    grade,
    diskNeed,
    problems: [...problems, { kind, path: step.path, reason }],
  });
  const unable = await unableHere(context);
  if (unable !== undefined) return refuse('never', unable);
  const held = await lockHolder(context);
  if (held !== undefined) return refuse('wait', `the package database is locked: ${held}`);
  const database = await readDatabase(context);
  const simulated = await simulate(step, database, context);
  if (!simulated.ok) {
    // A step before this one may bring the package lists, or a source, or this one fetches them.
    return step.index > 0 || wantsLists(step)
      ? { grade: 'bestEffort', diskNeed, problems }
      : refuse('never', simulated.reason);
  }
  const { plan } = simulated;
  const own = await ownPackages(context);
  const agent = [...touchedBy(plan, database).values()].find((state) => state && own.has(state.name));
  if (agent && leaving(plan).includes(agent)) return refuse('never', ownReason(agent.name));
  const missing = await withoutArchive(leaving(plan), context);
  const { archives, system } = await roomFor(plan.arrivals, leaving(plan), context);
  const home = await existingParent(context.disk, `${context.directory}/any`);
  return {
    // A package made of its installed files brings back what is there, not what its author shipped.
    grade: missing.length > 0 ? 'bestEffort' : grade,
    diskNeed: [...diskNeed, { path: home, bytes: archives }, { path: '/usr', bytes: system }],
    problems,
  };
}

/** A site's own script may well begin with that itself, and would install something else than was prepared for. */
function wantsLists(step: PackageStep): boolean {
  return step.type === 'installPackages' && (step.update === true || step.wrapped === true);
}

/** Installed packages that will not be there as they are now. */
function leaving({ replaced, removed }: PackagePlan): PackagePlan['removed'] {
  return [...replaced, ...removed].filter(isPresent);
}

async function unableHere(context: StepContext): Promise<string | undefined> {
  for (const tool of ['/usr/bin/apt-get', '/usr/bin/dpkg', '/usr/bin/dpkg-deb']) {
    if (!existsSync(tool)) return `there is no ${tool}: packages are those of Debian's apt`;
  }
  if (process.geteuid?.() !== 0) return 'only an agent that runs as root can change packages';
  const audit = await auditOf(context);
  return /broken|unpacked but not yet configured|half/.test(audit)
    ? `the package database needs a repair first: ${audit.replace(/\s+/g, ' ').slice(0, 300)}`
    : undefined;
}

function ownReason(name: string): string {
  return (
    `it would replace or remove ${name}, which this agent runs from: a job cannot be undone by an agent that it ` +
    'has taken away; update the agent from outside of a job'
  );
}

/** Packages that the running agent consists of. */
async function ownPackages(context: StepContext): Promise<Set<string>> {
  const files = [process.execPath, process.argv[1] ?? ''].filter((path) => path.startsWith('/'));
  const real = await Promise.all(files.map((path) => realpath(path).catch(() => path)));
  const said = await ask(['dpkg-query', '-S', '--', ...new Set([...files, ...real])], context);
  const names = said.stdout.split('\n').flatMap((line) => {
    const owners = /^([a-z0-9][^ ]*(?:, [^ ]+)*): \//.exec(line)?.[1];
    return owners === undefined ? [] : owners.split(', ').map((owner) => owner.replace(/:.*/, ''));
  });
  return new Set(names);
}

async function preparePackages(
  step: PackageStep,
  context: StepContext,
  signal?: AbortSignal,
): Promise<Prepared> {
  const work = workOf(step, context, signal);
  try {
    await awaitFormer(work);
    // What a life left that ended before it could tell of its images.
    await packageStep.discard(step, context);
    await ensureDirectory(context.disk, work.files.home);
    const locked = await awaitLock(work);
    if (locked !== undefined) return { ok: false, reason: locked };
    const stale = wantsLists(step) ? await fetchLists(work) : undefined;
    if (stale !== undefined) return { ok: false, reason: stale };
    const database = await readDatabase(context);
    const simulated = await simulate(step, database, context);
    if (!simulated.ok) return simulated;
    const { plan } = simulated;
    const lacking = (await secureOld(leaving(plan), work)) ?? (await fetchNew(plan.arrivals, work));
    if (lacking !== undefined) return { ok: false, reason: lacking };
    await keepEmptyDirectories(plan.arrivals, work);
    const touched = [...touchedBy(plan, database).values()].filter((state) => state !== null);
    const paths = await conffilePaths(touched, plan.arrivals, work);
    await writePaths(paths, work);
    await writeFileAtomic(context.disk, work.files.audit, Buffer.from(await auditOf(context)));
    // What other programs wrote.
    await context.disk.syncFileSystem(work.files.home);
    const images = await preparePaths(pathStep(step, paths), imageContext(context));
    if (!images.ok) return images;
    return { ok: true, before: { resources: [...images.before.resources, ...imagesOf(plan, database)] } };
  } catch (error) {
    return { ok: false, reason: `cannot prepare the packages: ${(error as Error).message}` };
  }
}

async function changePackages(
  step: PackageStep,
  before: Before,
  attempt: Attempt,
  context: StepContext,
  signal: AbortSignal,
): Promise<DoOutcome> {
  const work = workOf(step, context, signal, attempt);
  await awaitFormer(work);
  const wrong = (await awaitLock(work)) ?? (await notAsPlanned(step, before, context));
  if (signal.aborted) return { result: 'interrupted', reason: (signal.reason as Error).message };
  if (wrong !== undefined) return { result: 'failed', reason: wrong };
  const archives = ['-o', `Dir::Cache::archives=${work.files.new}/`, '--no-download'];
  const argv = [...APT_GET, ...archives, ...commandOf(step, plannedIn(before).arrivals)];
  const said = await lockedOut(work, () => change(argv, work));
  const output = { stdout: said.stdout, stderr: '' };
  await context.disk.syncAll();
  if (said.exitCode === null && said.ended === null)
    return { result: 'interrupted', reason: reasonOf(said), output };
  if (said.exitCode !== 0) return { result: 'failed', reason: reasonOf(said), output };
  return { result: 'ok', after: await afterPackages(before, context), output };
}

/** Somebody may take the lock in the moment between our look and apt's own. */
async function lockedOut(work: Work, run: () => Promise<Said>): Promise<Said> {
  const said = await run();
  if (!isLocked(said) || (await awaitLock(work)) !== undefined || work.signal.aborted) return said;
  return await run();
}

/** Retry only from old; and what apt would do now is what was prepared for. */
async function notAsPlanned(
  step: PackageStep,
  before: Before,
  context: StepContext,
): Promise<string | undefined> {
  const database = await readDatabase(context);
  const ids = [...readImages(before).keys()];
  const now = await observePackages(ids, context);
  const different = before.resources.filter(
    ({ id, fingerprint }) => isPackage(id) && now.get(id) !== fingerprint,
  );
  if (different.length > 0)
    return `changed since it was prepared: ${different.map(({ id }) => id).join(' ')}`;
  const simulated = await simulate(step, database, context);
  if (!simulated.ok) return simulated.reason;
  return describePlan(simulated.plan) === describePlan(plannedIn(before))
    ? undefined
    : 'apt would do something else now than what was prepared for';
}

async function afterPackages(before: Before, context: StepContext): Promise<After> {
  const paths = before.resources.filter(({ id }) => !isPackage(id));
  const ids: ResourceId[] = before.resources.map(({ id }) => id).filter(isPackage);
  const packages = await observePackages(ids, context);
  const files = await afterOf({ resources: paths }, context);
  return {
    resources: [...files.resources, ...[...packages].map(([id, fingerprint]) => ({ id, fingerprint }))],
  };
}

/** The purge of what was removed, after the commit. */
async function purgeRemoved(step: PackageStep, before: Before, context: StepContext): Promise<UndoOutcome> {
  if (step.type !== 'removePackages' || !step.purge) return { result: 'ok', kept: [] };
  const work = workOf(step, context);
  await awaitFormer(work);
  const locked = await awaitLock(work);
  if (locked !== undefined) return { result: 'failed', reason: locked };
  const database = await readDatabase(context);
  const left = [...readImages(before)].flatMap(([id, { removed }]) => {
    const state = database.get(id);
    return removed && state?.status === 'config-files' ? [dpkgName(state)] : [];
  });
  if (left.length === 0) return { result: 'ok', kept: [] };
  const said = await change(['dpkg', '--purge', '--', ...left], work);
  return said.exitCode === 0 ? { result: 'ok', kept: [] } : { result: 'failed', reason: reasonOf(said) };
}
