import type { Plan } from '../../document/plan.ts';
import type { Behind, Judgement } from './judge.ts';
import type { RunOutcome } from './one-run.ts';
import { isStoodIn } from './stand-ins.ts';

/** What a rehearsal has shown, for a person and for a program. */
export interface Report {
  document: string;
  grade: string;
  steps: readonly StepRow[];
  runs: readonly Pick<Judgement, 'kind' | 'title' | 'result' | 'ended' | 'behind' | 'reasons'>[];
  /** Where the machine could only be read. */
  readOnly: readonly string[];
  /** The undisturbed run did not get to its end. */
  failed?: string;
  kept: boolean;
}

export interface StepRow {
  number: number;
  name: string;
  type: string;
  grade: string;
  rehearsed: boolean;
  seconds: number;
  undoSeconds: number;
  /** Runs that had begun it and turned back; those of them that undid it, and that compared all that it declares. */
  turnedBack: number;
  undone: number;
  verified: number;
  staysBehind: readonly string[];
}

const MS = 1000;

export function reportOf(
  document: string,
  plan: Plan,
  first: RunOutcome,
  back: RunOutcome | undefined,
  judgements: readonly Judgement[],
): Report {
  const grades = first.progress?.steps.map(({ grade }) => grade) ?? plan.steps.map(({ grade }) => grade);
  const failed = first.progress?.commit ? undefined : (first.failed ?? whyTurnedBack(plan, first));
  return {
    document,
    grade: grades.includes('none') ? 'none' : grades.includes('bestEffort') ? 'bestEffort' : 'full',
    steps: plan.steps.map((step) => {
      const turned = judgements.filter(
        ({ ended, steps }) => ended === 'old' && (steps[step.index]?.attempts ?? 0) > 0,
      );
      const isUndone = ({ steps }: Judgement): boolean => steps[step.index]?.phase === 'undone';
      const stays = new Set(
        judgements.flatMap(({ behind }) => behind.filter((one) => one.step === step.index).map(behindWords)),
      );
      return {
        number: step.index + 1,
        name: step.name,
        type: step.type,
        grade: grades[step.index] ?? 'none',
        rehearsed: !isStoodIn(step),
        seconds: between(first, step.index, 'attempt', 'done'),
        undoSeconds: back ? between(back, step.index, 'undo', 'undone') : 0,
        turnedBack: turned.length,
        undone: turned.filter(isUndone).length,
        verified: turned.filter(
          (one) =>
            isUndone(one) &&
            one.steps[step.index]?.grade === 'full' &&
            !step.touches.some((id) => one.notOld.includes(id)),
        ).length,
        staysBehind: [...stays].sort(),
      };
    }),
    runs: judgements.map(({ kind, title, result, ended, behind, reasons }) => ({
      kind,
      title,
      result,
      ended,
      behind,
      reasons,
    })),
    readOnly: first.readOnly,
    ...(failed !== undefined && { failed }),
    kept: failed === undefined && judgements.every(({ result }) => result !== 'broken'),
  };
}

function whyTurnedBack(plan: Plan, { progress }: RunOutcome): string {
  const cause = progress?.cause;
  if (cause?.by === 'step')
    return `step ${cause.step + 1} (${plan.steps[cause.step]?.name ?? '?'}): ${cause.reason}`;
  return cause && 'reason' in cause ? cause.reason : 'it turned back';
}

function between(run: RunOutcome, step: number, from: string, to: string): number {
  const at = (type: string): number | undefined =>
    run.records.find(({ record }) => record.type === type && 'step' in record && record.step === step)?.atMs;
  const [begun, over] = [at(from), at(to)];
  return begun === undefined || over === undefined ? 0 : Math.max(0, over - begun) / MS;
}

/** `+` new, `-` gone, `~` changed. */
export function behindWords({ path, kind }: Behind): string {
  return `${{ added: '+', removed: '-', changed: '~' }[kind]} ${path}`;
}

/** JUnit's XML, a test case for each run, for the CI of others. */
export function junitOf({ document, runs, failed }: Report): string {
  const cases = [
    testCase('to the end', failed === undefined ? [] : [failed]),
    ...runs.map(({ kind, title, result, behind, reasons }) =>
      testCase(
        `${KIND_WORDS[kind]} ${title}`,
        result === 'broken' ? [...reasons, ...behind.map(behindWords)] : [],
      ),
    ),
  ];
  const failures = runs.filter(({ result }) => result === 'broken').length + (failed === undefined ? 0 : 1);
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuite name="${escaped(`evenkeel rehearse ${document}`)}" tests="${cases.length}" failures="${failures}">`,
    ...cases,
    '</testsuite>',
    '',
  ].join('\n');
}

export const KIND_WORDS: Record<Judgement['kind'], string> = {
  cancelled: 'cancelled',
  killed: 'killed',
  killedOnTheWayBack: 'killed on the way back',
};

function testCase(name: string, failures: readonly string[]): string {
  const open = `  <testcase classname="rehearse" name="${escaped(name)}"`;
  if (failures.length === 0) return `${open}/>`;
  return `${open}><failure message="${escaped(failures[0] ?? '')}">${escaped(failures.join('\n'))}</failure></testcase>`;
}

/** XML 1.0 has no control characters but three. */
function escaped(text: string): string {
  return text
    .replace(/[^\t\n\r\u0020-\uFFFD\u{10000}-\u{10FFFF}]/gu, '?')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
