import type { DeviceFacts } from '../document/document.ts';
import { readDocument } from '../document/document.ts';
import { type Grade, type Plan, worseGrade } from '../document/plan.ts';
import { type Policy, policyProblems } from '../document/policy.ts';
import type { Disk } from '../host/disk.ts';
import { isFreeRtosOta } from '../jobs/messages.ts';
import { withRules } from '../steps/apply-rules.ts';
import { userProblems } from '../steps/command.ts';
import { homesOf } from '../steps/own-directory.ts';
import { stepTypeOf } from '../steps/registry.ts';
import { withSiteHandlers } from '../steps/site-handlers.ts';
import type { StepContext, StepSurvey } from '../steps/step.ts';

/** VALIDATED and SURVEYED: what is known of a job before the device promises anything. Reads only. */
export type Admission =
  | {
      kind: 'admissible';
      plan: Plan;
      grades: readonly Grade[];
      grade: Grade;
      /** By step, what a person should know of its undo. */
      notes: readonly (readonly string[])[];
    }
  /** Will never work here: REJECTED. */
  | { kind: 'refused'; code: RefusalCode; reason: string }
  /** May work later: stays QUEUED. */
  | { kind: 'waits'; reason: string };

export type RefusalCode =
  | 'documentInvalid'
  | 'policy'
  | 'grade'
  | 'unavailable'
  | 'localStateLost'
  | 'alreadyRun'
  | 'queueWait'
  | 'journalCorrupt';

export interface AdmissionDeps {
  facts: DeviceFacts;
  policy: Policy;
  disk: Disk;
  context: Omit<StepContext, 'homeOf'>;
  /** Room that must stay free on each file system besides what the job needs. */
  reserveBytes: number;
}

/** Validates and surveys one document. */
export async function admit(document: unknown, deps: AdmissionDeps): Promise<Admission> {
  if (isFreeRtosOta(document)) {
    return refused(
      'documentInvalid',
      'a FreeRTOS OTA document (afr_ota): this agent does not run OTA streams',
    );
  }
  const read = readDocument(document, deps.facts);
  if (!read.ok) return refused('documentInvalid', listed(read.problems));
  const own = await withSiteHandlers(read.plan, deps.context);
  if (own.problems.length > 0) return refused('unavailable', listed(own.problems));
  const plan = await withRules(own.plan, deps.context);
  const broken = policyProblems(plan, deps.policy);
  if (broken.length > 0)
    return refused('policy', listed(broken.map(({ path, rule }) => ({ path, reason: rule }))));
  return survey(plan, deps);
}

async function survey(plan: Plan, deps: AdmissionDeps): Promise<Admission> {
  const surveys: StepSurvey[] = [];
  const context = { ...deps.context, homeOf: homesOf(plan) };
  const problems: StepSurvey['problems'][number][] = [];
  for (const step of plan.steps) {
    const found = await stepTypeOf(step).survey(step, context);
    surveys.push(found);
    problems.push(...(await userProblems(step)), ...found.problems);
  }
  const never = problems.filter(({ kind }) => kind === 'never');
  if (never.length > 0) return refused('unavailable', listed(never));
  const grades = plan.steps.map((step, index) => worseGrade(step.grade, surveys[index]?.grade ?? 'none'));
  const grade = grades.reduce(worseGrade, 'full');
  const wanted = deps.policy.minGrade;
  if (worseGrade(grade, wanted) !== wanted) {
    const worst = plan.steps.filter(({ index }) => worseGrade(grades[index] ?? 'none', wanted) !== wanted);
    const named = worst.map(({ path, name }) => `${path} (${name})`).join(', ');
    return refused('grade', `policy.minGrade is ${wanted}, and the undo of ${named} is worth less`);
  }
  const waits = problems.filter(({ kind }) => kind === 'wait');
  if (waits.length > 0) return { kind: 'waits', reason: listed(waits) };
  const short = await missingRoom(surveys, deps);
  if (short !== undefined) return { kind: 'waits', reason: short };
  return { kind: 'admissible', plan, grades, grade, notes: surveys.map((one) => one.notes ?? []) };
}

async function missingRoom(surveys: readonly StepSurvey[], deps: AdmissionDeps): Promise<string | undefined> {
  const needs = new Map<string, number>();
  for (const { path, bytes } of surveys.flatMap(({ diskNeed }) => diskNeed)) {
    needs.set(path, (needs.get(path) ?? 0) + bytes);
  }
  // Paths on one file system share its room: the sum is asked of each, which errs on the safe side.
  const total = [...needs.values()].reduce((sum, bytes) => sum + bytes, 0);
  for (const path of needs.keys()) {
    const { freeBytes } = await deps.disk.room(path);
    if (freeBytes < total + deps.reserveBytes) {
      return `not enough room for ${path}: ${total} bytes needed besides a reserve of ${deps.reserveBytes}, ${freeBytes} free`;
    }
  }
  return undefined;
}

function refused(code: RefusalCode, reason: string): Admission {
  return { kind: 'refused', code, reason };
}

function listed(problems: readonly { path: string; reason: string }[]): string {
  return problems.map(({ path, reason }) => `${path}: ${reason}`).join('; ');
}
