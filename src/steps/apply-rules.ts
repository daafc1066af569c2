import { constants } from 'node:fs';
import { type Plan, type PlanStep, type RunCommandStep, resourceOf, worseGrade } from '../document/plan.ts';
import type { Disk } from '../host/disk.ts';
import { type Place, UnsafePath, withPlace } from '../host/safe-paths.ts';
import { type Found, type Look, type Ruled, ruleFor } from './command-rules.ts';
import { holds, homesOf } from './own-directory.ts';
import { surveyPaths } from './paths.ts';
import type { StepContext } from './step.ts';

const UNIT_FILE_BYTES_MAX = 64 * 1024;

/**
 * The plan in which each command that declares nothing, and that a rule knows, declares what the rule says it touches.
 * Where a before-image of that cannot be had, the step stays as its author wrote it. Reads only.
 */
export async function withRules(plan: Plan, context: Omit<StepContext, 'homeOf'>): Promise<Plan> {
  const steps: PlanStep[] = [];
  for (const step of plan.steps) steps.push((await ruled(step, context)) ?? step);
  return { ...plan, steps, grade: steps.map(({ grade }) => grade).reduce(worseGrade, 'full') };
}

async function ruled(
  step: PlanStep,
  context: Omit<StepContext, 'homeOf'>,
): Promise<RunCommandStep | undefined> {
  if (step.type !== 'runCommand' || step.touches.length > 0 || step.undo) return undefined;
  const found = await ruleOf(step.argv, context.disk);
  if (!found) return undefined;
  const declared: RunCommandStep = {
    ...step,
    touches: found.paths.map((path) => `path:${path}`),
    grade: found.besides === undefined ? 'full' : 'bestEffort',
    byRule: found.besides === undefined ? {} : { besides: found.besides },
  };
  const survey = await surveyPaths(declared, { ...context, homeOf: homesOf({ steps: [declared] }) });
  return survey.problems.length > 0 ? undefined : declared;
}

/** Why the step must not run now: what was there when the plan was made has led its rule elsewhere. */
export async function outgrown(step: RunCommandStep, disk: Disk): Promise<string | undefined> {
  if (!step.byRule) return undefined;
  const declared = step.touches.map((id) => resourceOf(id).name);
  const covered = (path: string): boolean => declared.some((one) => one === path || holds(one, path));
  const found = await ruleOf(step.argv, disk);
  if (found?.paths.every(covered)) return undefined;
  return 'it would touch other paths than when the job was planned: name them in snapshotPaths';
}

async function ruleOf(argv: readonly string[], disk: Disk): Promise<Ruled | undefined> {
  try {
    return await ruleFor(argv, lookOn(disk));
  } catch (error) {
    if (error instanceof UnsafePath) return undefined;
    throw error;
  }
}

/** Looks at this device; throws `UnsafePath` where a directory on the way is a link. */
export function lookOn(disk: Disk, root = ''): Look {
  return async (path) => {
    const found = await withPlace(disk, `${root}${path}`, (place) => lookAt(disk, place));
    return found ?? { kind: 'absent' };
  };
}

async function lookAt(disk: Disk, { path }: Place): Promise<Found> {
  const stat = await disk.lstat(path);
  if (stat?.kind === 'directory') return { kind: 'directory', entries: await disk.readDirectory(path) };
  if (stat?.kind !== 'file' || stat.sizeBytes > UNIT_FILE_BYTES_MAX) return { kind: stat?.kind ?? 'absent' };
  const file = await disk.openFile(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const bytes = new Uint8Array(stat.sizeBytes);
    const count = await file.read(bytes, 0);
    return { kind: 'file', text: Buffer.from(bytes.subarray(0, count)).toString() };
  } finally {
    await file.close();
  }
}
