import type { Grade, Plan } from '../../document/plan.ts';
import { causeText, deviceState, planGrade } from '../../execution/details.ts';
import type { Progress, StepPhase } from '../../execution/progress.ts';
import type { StampedRecord } from '../../execution/records.ts';
import { expectations, type Images } from '../../execution/verdict.ts';
import { adviceFor } from './advice.ts';
import type { Told } from './journals.ts';
import { recordWords, stopWords } from './words.ts';

/**
 * The story of one execution, as `history`, `show` and their `--json` tell it. Members are only added, never renamed.
 * Times are ISO 8601 in UTC, durations milliseconds of the wall clock, steps counted from 1.
 */
export interface Story extends StorySummary {
  steps: StoryStep[];
  resources: StoryResource[];
  events: StoryEvent[];
}

export interface StorySummary {
  format: 1;
  /** Name of its directory below `executions/`. */
  key: string;
  thing: string;
  /** The key, where the journal cannot be read. */
  jobId: string;
  executionNumber: number;
  state: 'underWay' | 'closed' | 'unreadable';
  phase: string;
  outcome: 'underWay' | 'committed' | 'rolledBack' | 'notReversed' | 'inconsistent' | 'unknown';
  device: 'old' | 'new' | 'unknown' | 'inconsistent' | 'changing';
  /** Everything was compared. */
  verified: boolean;
  /** An INCONSISTENT one that a person or a repair has answered for. */
  resolved: boolean;
  grade: Grade;
  /** As far as this device knows it. */
  cloudStatus?: string;
  /** Why it turned back, or what ended it. */
  reason?: string;
  /** How a new state was kept without an ordinary commit. */
  exception?: string;
  startedAt?: string;
  endedAt?: string;
  durationMs?: number;
  /** From turning back to the verdict. */
  undoMs?: number;
  agentVersion?: string;
  stepsDone: number;
  stepsTotal: number;
  /** Why the journal cannot be read or believed. */
  wrong?: string;
  /** What a person should do next; empty: nothing. */
  advice: string[];
}

export interface StoryStep {
  number: number;
  name: string;
  type: string;
  grade: Grade;
  state: StepPhase;
  attempts: number;
  startedAt?: string;
  /** Of the last try. */
  doMs?: number;
  undoMs?: number;
  undoAttempts: number;
  reason?: string;
  /** It failed, and the document says that this does not matter. */
  ignored?: string;
  pivot: boolean;
  kept: { id: string; keptAs: string }[];
}

export interface StoryResource {
  id: string;
  /** Numbers of the steps that touch it. */
  steps: number[];
  before: string;
  /** Absent while no step has finished with it. */
  after?: string;
  now: 'old' | 'new' | 'neither' | 'changing' | 'unknown';
}

export interface StoryEvent {
  at: string;
  sinceStartMs: number;
  type: string;
  step?: number;
  text: string;
}

export function summaryOf(told: Told, plan: Plan | undefined): StorySummary {
  const { key, records, progress, wrong } = told;
  if (!progress) return unreadable(key, wrong ?? 'it is empty');
  const first = records[0]?.at ?? 0;
  const last = records.at(-1)?.at ?? first;
  const closed = progress.phase === 'closed';
  const outcome = outcomeOf(progress);
  const undoMs = between(records, 'aborted', 'judged');
  const summary: StorySummary = {
    format: 1,
    key,
    thing: progress.identity.thing,
    jobId: progress.identity.jobId,
    executionNumber: progress.identity.executionNumber,
    state: wrong === undefined ? (closed ? 'closed' : 'underWay') : 'unreadable',
    phase: progress.phase,
    outcome,
    device: outcome === 'underWay' ? 'changing' : deviceState(progress),
    verified: progress.verdict?.verified ?? progress.commit !== undefined,
    resolved: progress.resolved,
    grade: planGrade(progress) as Grade,
    ...(progress.cloudStatus !== undefined && { cloudStatus: progress.cloudStatus }),
    ...(progress.cause && { reason: causeText(progress.cause, plan ?? NO_PLAN) }),
    ...exceptionOf(progress),
    startedAt: iso(first),
    ...(closed && { endedAt: iso(last) }),
    ...(closed && { durationMs: Math.max(0, closedAt(records, last) - first) }),
    ...(undoMs !== undefined && { undoMs }),
    agentVersion: progress.agentVersion,
    stepsDone: progress.steps.filter(({ phase }) => phase === 'done').length,
    stepsTotal: progress.steps.length,
    ...(wrong !== undefined && { wrong }),
    advice: [],
  };
  return { ...summary, advice: adviceFor(summary, progress) };
}

export function storyOf(told: Told, plan: Plan | undefined, images: Images): Story {
  const { records, progress } = told;
  const first = records[0]?.at ?? 0;
  return {
    ...summaryOf(told, plan),
    steps: progress ? stepsOf(progress, records, plan) : [],
    resources: progress ? resourcesOf(progress, images) : [],
    events: records.map((record) => ({
      at: iso(record.at),
      sinceStartMs: record.at - first,
      type: record.type,
      ...('step' in record && { step: record.step + 1 }),
      text: recordWords(record, plan ?? NO_PLAN),
    })),
  };
}

const NO_PLAN = { steps: [] } as unknown as Plan;

function unreadable(key: string, wrong: string): StorySummary {
  const summary: StorySummary = {
    format: 1,
    key,
    thing: '',
    jobId: key,
    executionNumber: 0,
    state: 'unreadable',
    phase: 'unknown',
    outcome: 'unknown',
    device: 'unknown',
    verified: false,
    resolved: false,
    grade: 'none',
    stepsDone: 0,
    stepsTotal: 0,
    wrong,
    advice: [],
  };
  return { ...summary, advice: adviceFor(summary, undefined) };
}

function outcomeOf({ verdict, commit }: Progress): StorySummary['outcome'] {
  if (commit) return 'committed';
  return verdict?.outcome ?? 'underWay';
}

function exceptionOf({ commit, finishIncomplete }: Progress): { exception?: string } {
  if (finishIncomplete.length > 0) return { exception: `finishIncomplete: ${finishIncomplete.join('; ')}` };
  if (commit === undefined || commit === 'accepted' || commit === 'ownSuccess') return {};
  return { exception: commit };
}

/** The `closed` record; a `resolved` one may come days later. */
function closedAt(records: readonly StampedRecord[], last: number): number {
  return records.find(({ type }) => type === 'closed')?.at ?? last;
}

function between(
  records: readonly StampedRecord[],
  from: StampedRecord['type'],
  to: StampedRecord['type'],
): number | undefined {
  const begun = records.find(({ type }) => type === from)?.at;
  const ended = records.find(({ type }) => type === to)?.at;
  return begun === undefined || ended === undefined ? undefined : Math.max(0, ended - begun);
}

function stepsOf(progress: Progress, records: readonly StampedRecord[], plan: Plan | undefined): StoryStep[] {
  return progress.steps.map((step, index) => {
    const planned = plan?.steps[index];
    const own = records.filter((record) => 'step' in record && record.step === index);
    const begun = own.findLast(({ type }) => type === 'attempt')?.at;
    const doMs = lasted(own, 'attempt', ['done', 'failed', 'interrupted']);
    const undoMs = lasted(own, 'undo', ['undone', 'undoFailed']);
    const done = own.findLast((record) => record.type === 'done');
    const ignored = done?.type === 'done' ? done.ignored : undefined;
    return {
      number: index + 1,
      name: planned?.name ?? `step ${index + 1}`,
      type: planned?.type ?? 'unknown',
      grade: step.grade,
      state: step.phase,
      attempts: step.attempts,
      ...(begun !== undefined && { startedAt: iso(begun) }),
      ...(doMs !== undefined && { doMs }),
      ...(undoMs !== undefined && { undoMs }),
      undoAttempts: step.undoAttempts,
      ...(step.reason !== undefined && { reason: stopWords(step.reason) }),
      ...(ignored !== undefined && { ignored }),
      pivot: planned?.pivot ?? false,
      kept: [...step.kept],
    };
  });
}

/** How long the last run took that has ended. */
function lasted(
  records: readonly StampedRecord[],
  from: StampedRecord['type'],
  to: readonly StampedRecord['type'][],
): number | undefined {
  const end = records.findLastIndex(({ type }) => to.includes(type));
  const begin = records.slice(0, Math.max(0, end)).findLastIndex(({ type }) => type === from);
  if (begin < 0) return undefined;
  return Math.max(0, (records[end]?.at ?? 0) - (records[begin]?.at ?? 0));
}

function resourcesOf(progress: Progress, images: Images): StoryResource[] {
  const touching = new Map<string, number[]>();
  for (const [index, { resources }] of images.before) {
    for (const { id } of resources) touching.set(id, [...(touching.get(id) ?? []), index + 1]);
  }
  const last = new Map<string, string>();
  for (const [, { resources }] of [...images.after].sort(([a], [b]) => a - b)) {
    for (const { id, fingerprint } of resources) last.set(id, fingerprint);
  }
  return [...expectations(progress, images)].map(([id, { old, unsettled }]) => {
    const after = last.get(id);
    return {
      id,
      steps: touching.get(id) ?? [],
      before: old,
      ...(after !== undefined && { after }),
      now: nowOf(id, progress, unsettled, after),
    };
  });
}

function nowOf(
  id: string,
  { verdict, commit, direction }: Progress,
  unsettled: boolean,
  after: string | undefined,
): StoryResource['now'] {
  if (commit) return unsettled ? 'unknown' : 'new';
  if (verdict) return verdict.items.find((item) => item.id === id)?.found ?? 'old';
  if (direction === 'back' || unsettled) return 'changing';
  return after === undefined ? 'old' : 'new';
}

function iso(wallMs: number): string {
  return new Date(wallMs).toISOString();
}
