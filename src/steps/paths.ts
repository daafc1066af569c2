import { constants } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { namesOf, type PlanStep, type ResourceId, resourceOf, worseGrade } from '../document/plan.ts';
import type { Disk, DiskStat } from '../host/disk.ts';
import { type Place, UnsafePath, withPlace } from '../host/safe-paths.ts';
import { ensureDirectory, removeTree, syncDirectory } from '../store/atomic-file.ts';
import {
  ABSENT,
  copyEntry,
  fingerprint,
  fingerprintAt,
  measure,
  NotCopyable,
  OWN_PREFIX,
} from './fingerprint.ts';
import { isInside, type Own, ownDirectory, pathOf, withOwn, withOwnMade } from './own-directory.ts';
import { keepInode, restoreInode, restoreInPlace } from './restore-in-place.ts';
import type {
  After,
  Attempt,
  Before,
  Fingerprint,
  Json,
  Prepared,
  StepContext,
  StepSurvey,
  UndoOutcome,
} from './step.ts';

/**
 * Before-images of paths, and the way back to them. An image lies on the target's own file system, in a directory of
 * ours (`own-directory.ts`), so that the undo is a rename and needs no room (design section 7).
 */

type PathImage =
  /** Nothing was there; `parents`: directories above it that were not there either, outermost first. */
  | { kind: 'absent'; parents: readonly string[] }
  | {
      kind: 'entry';
      image: string;
      /** The directory it was in: at undo it must still be the same. */
      parent: { dev: number; ino: number };
      /** Hard-linked: the other names must see the old content too, so it is put back into the same inode. */
      inPlace?: { ino: number };
    };

const REST_TRIES_MAX = 3;

/** What the before-images of a step's paths need, and which paths cannot have one. Reads only. */
export async function surveyPaths(step: PlanStep, context: StepContext): Promise<StepSurvey> {
  const diskNeed: { path: string; bytes: number }[] = [];
  const problems: { kind: 'never'; path: string; reason: string }[] = [];
  const notes: string[] = [];
  let grade = step.grade;
  for (const path of namesOf('path', step.touches)) {
    try {
      await withPlace(context.disk, path, async (place) => {
        const { bytes, split, names } = await measure(context.disk, place, context.settings);
        diskNeed.push({ path: context.homeOf(path), bytes });
        if (names > 1) notes.push(`${path} has ${names} names: the undo puts it back under all of them`);
        notes.push(
          ...split.map((name) => `${join(path, name)} has names outside of ${path}: its undo parts them`),
        );
        if (split.length > 0) grade = worseGrade(grade, 'bestEffort');
      });
      const fixed = await readOnlyParent(path, context);
      if (fixed !== undefined) problems.push({ kind: 'never', path: step.path, reason: fixed });
    } catch (error) {
      if (!(error instanceof UnsafePath || error instanceof NotCopyable)) throw error;
      problems.push({ kind: 'never', path: step.path, reason: `${path}: ${error.message}` });
    }
  }
  return { grade, diskNeed, problems, notes };
}

/** Takes the before-image of every path that the step touches, durably. */
export async function preparePaths(step: PlanStep, context: StepContext): Promise<Prepared> {
  const resources: { id: ResourceId; fingerprint: Fingerprint; image: Json }[] = [];
  try {
    for (const [number, path] of namesOf('path', step.touches).entries()) {
      const { found, image } = await takeImage(path, `${step.index}-${number}`, context);
      resources.push({ id: `path:${path}`, fingerprint: found, image: image });
    }
    return { ok: true, before: { resources } };
  } catch (error) {
    return { ok: false, reason: `cannot take the before-image: ${(error as Error).message}` };
  }
}

async function takeImage(
  path: string,
  name: string,
  context: StepContext,
): Promise<{ found: Fingerprint; image: PathImage }> {
  const { disk } = context;
  const taken = await withPlace(disk, path, async (place) => {
    const stat = await disk.lstat(place.path);
    if (!stat) return undefined;
    // Again, and not only in the survey: it may have grown since.
    await measure(disk, place, context.settings);
    const { dev, ino } = await place.directory.stat();
    const linked = stat.kind === 'file' && stat.linkCount > 1;
    const { found, image } = await copyAtRest(path, place, { name, linked }, context);
    const entry: PathImage = {
      kind: 'entry',
      image,
      parent: { dev, ino },
      ...(linked && { inPlace: { ino: stat.ino } }),
    };
    return { found, image: entry };
  });
  return taken ?? { found: ABSENT, image: { kind: 'absent', parents: await missingParents(disk, path) } };
}

/** An image is only taken of something that does not change meanwhile. */
async function copyAtRest(
  path: string,
  place: Place,
  { name, linked }: { name: string; linked: boolean },
  context: StepContext,
): Promise<{ found: Fingerprint; image: string }> {
  const { disk } = context;
  return withOwnMade(path, context, async (own) => {
    for (let tried = 0; tried < REST_TRIES_MAX; tried += 1) {
      const copy = join(own.path, name);
      // Left by a life that ended before it could record it.
      await removeTree(disk, copy);
      const before = await fingerprint(disk, place.path);
      await copyEntry(disk, place.path, copy);
      const after = await fingerprint(disk, place.path);
      if (before === after && (await fingerprint(disk, copy)) === after) {
        if (linked) await keepInode(disk, place.path, copy);
        await own.sync();
        return { found: after, image: join(ownDirectory(path, context), name) };
      }
    }
    throw new NotCopyable(`${path} does not come to rest`);
  });
}

/** File steps and undos are the agent's own work: a sandbox around it (`ProtectSystem=`) would stop both. */
async function readOnlyParent(path: string, { disk }: StepContext): Promise<string | undefined> {
  const parent = await existingParent(disk, path);
  return (await disk.isReadOnly(parent)) ? `${path}: ${parent} is read-only for this agent` : undefined;
}

/** The nearest directory above `path` that is there. */
export async function existingParent(disk: Disk, path: string): Promise<string> {
  let at = dirname(path);
  while (!(await disk.lstat(at))) at = dirname(at);
  return at;
}

async function missingParents(disk: Disk, path: string): Promise<string[]> {
  const missing: string[] = [];
  for (let at = dirname(path); !(await disk.lstat(at)); at = dirname(at)) missing.unshift(at);
  return missing;
}

function isPath({ id }: { id: ResourceId }): boolean {
  return resourceOf(id).kind === 'path';
}

/** Fingerprints after the step, of all paths that it touches. */
export async function afterOf(before: Before, context: StepContext): Promise<After> {
  const resources: { id: ResourceId; fingerprint: Fingerprint }[] = [];
  for (const { id } of before.resources.filter(isPath)) {
    resources.push({ id, fingerprint: await fingerprintAt(context.disk, pathOf(id)) });
  }
  return { resources };
}

/**
 * The three-way verdict for each path: B before, A after, N now. N = B: nothing to do. A = B: not ours. N = A: B comes
 * back. Anything else: B comes back, and what was found is kept. Safe to run again from any point.
 */
export async function undoPaths(
  step: Pick<PlanStep, 'index'>,
  before: Before,
  after: After | undefined,
  { triedAgain = false }: Attempt,
  context: StepContext,
): Promise<UndoOutcome> {
  const left = new Map(after?.resources.map(({ id, fingerprint: found }) => [id, found]));
  const kept: { id: ResourceId; keptAs: string }[] = [];
  const failures: string[] = [];
  for (const { id, fingerprint: old, image } of before.resources.filter(isPath).reverse()) {
    try {
      const now = await fingerprintAt(context.disk, pathOf(id));
      const a = left.get(id);
      if (now !== old && a !== old) {
        const name = `${step.index}-${kept.length}-${basename(pathOf(id))}`;
        const keptAs = now === a || now === ABSENT ? undefined : name;
        await putBack(pathOf(id), image as unknown as PathImage, { keptAs, triedAgain }, context);
        if (keptAs !== undefined) kept.push({ id, keptAs: join('kept', keptAs) });
      } else if (a !== old) {
        await syncRestored(pathOf(id), context);
      }
      await removeMadeParents(image as unknown as PathImage, context);
    } catch (error) {
      failures.push(`${pathOf(id)}: ${(error as Error).message}`);
    }
  }
  return failures.length > 0 ? { result: 'failed', reason: failures.join('; ') } : { result: 'ok', kept };
}

async function putBack(
  path: string,
  image: PathImage,
  { keptAs, triedAgain }: { keptAs: string | undefined; triedAgain: boolean },
  context: StepContext,
): Promise<void> {
  const { disk } = context;
  await withPlace(disk, path, async (place) => {
    const now = await disk.lstat(place.path);
    if (keptAs !== undefined && now) await keepFound(place.path, keptAs, context);
    if (image.kind === 'absent') {
      await removeTree(disk, place.path);
    } else {
      if (!isInside(path, context)) await checkParent(place, image.parent);
      await withOwn(path, context, { make: false }, async (own) => {
        if (!own) throw new Error('its before-image is gone');
        await restore(place, now, image, own, { triedAgain, disk });
      });
    }
    await place.directory.sync();
  });
}

async function restore(
  place: Place,
  now: DiskStat | undefined,
  { image, inPlace }: PathImage & { kind: 'entry' },
  own: Own,
  { triedAgain, disk }: { triedAgain: boolean; disk: Disk },
): Promise<void> {
  const from = join(own.path, basename(image));
  if (now && inPlace?.ino === now.ino) await restoreInPlace(disk, from, place.path, now);
  else if (!inPlace || !(await restoreInode(disk, from, place.path))) {
    await renameInto(disk, place, now, await sourceOf(disk, from, triedAgain));
    await own.sync();
  }
}

async function checkParent(place: Place, parent: { dev: number; ino: number }): Promise<void> {
  const { dev, ino } = await place.directory.stat();
  if (dev !== parent.dev || ino !== parent.ino)
    throw new Error('its directory is another one than before the job');
}

/**
 * What is renamed into its place: the image itself, which needs no room; or a copy of it where the step is tried again,
 * since the undo of that try needs the image too. Undo data is captured once.
 */
async function sourceOf(disk: Disk, image: string, triedAgain: boolean): Promise<string> {
  if (!(await disk.lstat(image))) throw new Error('its before-image is gone');
  if (!triedAgain) return image;
  const copy = `${image}-again`;
  await removeTree(disk, copy);
  await copyEntry(disk, image, copy);
  return copy;
}

/**
 * Renames what is staged in our directory into its place. A directory cannot be renamed over: the one found (`now`)
 * steps aside first, and is removed when the other is there.
 */
export async function renameInto(
  disk: Disk,
  place: Place,
  now: DiskStat | undefined,
  image: string,
): Promise<void> {
  const aside = `${image}-aside`;
  const imageStat = await disk.lstat(image);
  if (now && (now.kind === 'directory' || imageStat?.kind === 'directory')) {
    await removeTree(disk, aside);
    await disk.rename(place.path, aside);
  }
  await disk.rename(image, place.path);
  await place.directory.sync();
  await removeTree(disk, aside);
}

/** Copied, not moved: until the old state is back, what was found must not be missing. */
async function keepFound(path: string, keptAs: string, { disk, directory }: StepContext): Promise<void> {
  const kept = join(directory, 'kept');
  await ensureDirectory(disk, kept);
  await removeTree(disk, join(kept, keptAs));
  await copyEntry(disk, path, join(kept, keptAs));
  await syncDirectory(disk, kept);
}

/** It is as it was, perhaps by an undo that a life before this one did not bring to its end: made durable, then believed. */
async function syncRestored(path: string, { disk }: StepContext): Promise<void> {
  await withPlace(disk, path, async (place) => {
    if ((await disk.lstat(place.path))?.kind === 'file') {
      const file = await disk.openFile(place.path, constants.O_RDONLY | constants.O_NONBLOCK);
      try {
        await file.sync();
      } finally {
        await file.close();
      }
    }
    await place.directory.sync();
  });
}

async function removeMadeParents(image: PathImage, { disk, key }: StepContext): Promise<void> {
  const [outermost] = image.kind === 'absent' ? image.parents : [];
  if (image.kind !== 'absent' || outermost === undefined) return;
  for (const parent of [...image.parents].reverse()) {
    const stays = await withPlace(disk, join(parent, `${OWN_PREFIX}${key}`), async (own) => {
      await removeTree(disk, own.path);
      return (await disk.readDirectory(own.directory.path)).length > 0;
    });
    if (stays === undefined) continue;
    if (stays) break;
    await withPlace(disk, parent, (place) => disk.rmdir(place.path));
  }
  // Also where nothing was found: a life that ended may have removed it, and not durably.
  await syncDirectory(disk, await existingParent(disk, join(outermost, 'any')));
}

/** Removes the images and everything staged of this execution beside the step's paths; durable. */
export async function discardPaths(step: PlanStep, context: StepContext): Promise<void> {
  const { disk } = context;
  const owns = new Set(namesOf('path', step.touches).map((path) => ownDirectory(path, context)));
  for (const own of owns) {
    await withPlace(disk, own, async (place) => {
      await removeTree(disk, place.path);
      // Also where nothing was found: a life that ended may have removed it, and not durably.
      await place.directory.sync();
    }).catch((error: unknown) => {
      // Nothing of ours can be reached behind a link that was put there meanwhile.
      if (!(error instanceof UnsafePath)) throw error;
    });
  }
}
