import { styleText } from 'node:util';
import type { Judgement } from './judge.ts';
import { behindWords, KIND_WORDS, type Report, type StepRow } from './report.ts';

/** The report for a person. */

type Style = Parameters<typeof styleText>[0];

const NAME_WIDTH_MAX = 30;
const BEHIND_SHOWN = 20;
const HEAD = ['step', 'type', 'grade', 'seconds', 'undo', 'undone', 'verified', 'stays behind'];

export function tableOf(report: Report, colour: boolean): string {
  const paint = (style: Style, text: string): string =>
    colour ? styleText(style, text, { validateStream: false }) : text;
  const rows = report.steps.map(cells);
  const widths = HEAD.map((head, column) =>
    Math.max(head.length, ...rows.map((row) => row[column]?.[0]?.length ?? 0)),
  );
  const lineOf = (row: readonly string[]): string =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
  const lines = rows.flatMap((row) => {
    const height = Math.max(...row.map((cell) => cell.length));
    return Array.from({ length: height }, (_, index) => lineOf(row.map((cell) => cell[index] ?? '')));
  });
  return `${[
    `Rehearsal of ${report.document}, in throw-away views of this machine; nothing of it was changed.`,
    '',
    paint('bold', lineOf(HEAD)),
    ...lines,
    '',
    ...endLines(report, paint),
  ].join('\n')}\n`;
}

function cells(step: StepRow): string[][] {
  const name = `${step.number}. ${step.name}`;
  const short = name.length > NAME_WIDTH_MAX ? `${name.slice(0, NAME_WIDTH_MAX - 1)}…` : name;
  const of = (count: number): string => (step.turnedBack === 0 ? '-' : `${count}/${step.turnedBack}`);
  if (!step.rehearsed)
    return [[short], [step.type], [step.grade], ['-'], ['-'], ['-'], ['-'], ['not rehearsed']];
  return [
    [short],
    [step.type],
    [step.grade],
    [step.seconds.toFixed(2)],
    [step.undoSeconds.toFixed(2)],
    [of(step.undone)],
    [of(step.verified)],
    step.staysBehind.length > 0 ? [...step.staysBehind] : ['-'],
  ];
}

function endLines(report: Report, paint: (style: Style, text: string) => string): string[] {
  const { runs, failed, readOnly } = report;
  const broken = runs.filter(({ result }) => result === 'broken');
  const announced = runs.filter(({ result }) => result === 'announced').length;
  return [
    failed === undefined
      ? 'to the end               1 run, SUCCEEDED'
      : paint('red', `to the end               it does not get there: ${failed}`),
    ...(['cancelled', 'killed', 'killedOnTheWayBack'] as const).flatMap((kind) => countLine(kind, report)),
    ...(readOnly.length > 0 ? [`read only in the views:  ${readOnly.join(' ')}`] : []),
    '',
    ...alike(broken).flatMap((runsAlike) => brokenLines(runsAlike, paint)),
    ...(announced > 0
      ? [paint('yellow', `in ${announced} runs something stayed behind, of steps that say they have no undo`)]
      : []),
    verdictLine(report, paint),
  ];
}

type Run = Report['runs'][number];

/** What shows the same fault is told once. */
function alike(broken: readonly Run[]): Run[][] {
  const groups = new Map<string, Run[]>();
  for (const run of broken) {
    const key = [...run.reasons, ...run.behind.map(behindWords)].join('\n');
    groups.set(key, [...(groups.get(key) ?? []), run]);
  }
  return [...groups.values()];
}

function brokenLines(
  [first, ...others]: readonly Run[],
  paint: (style: Style, text: string) => string,
): string[] {
  if (!first) return [];
  const more = others.length === 0 ? '' : ` (and ${others.length} more)`;
  return [
    paint('red', `${KIND_WORDS[first.kind]} ${first.title}${more}: ${first.reasons.join('; ')}`),
    ...first.behind.slice(0, BEHIND_SHOWN).map((one) => `    ${behindWords(one)}`),
    ...(first.behind.length > BEHIND_SHOWN ? [`    and ${first.behind.length - BEHIND_SHOWN} more`] : []),
  ];
}

function countLine(kind: Judgement['kind'], { runs }: Report): string[] {
  const of = runs.filter((run) => run.kind === kind);
  if (of.length === 0) return [];
  const count = (ended: Judgement['ended']): number => of.filter((run) => run.ended === ended).length;
  const parts = [
    ...(count('old') > 0 ? [`${count('old')} back to the old state`] : []),
    ...(count('new') > 0 ? [`${count('new')} on to the new one`] : []),
    ...(count('nothing') > 0 ? [`${count('nothing')} without an end`] : []),
  ];
  return [
    `${KIND_WORDS[kind].padEnd(24)} ${of.length} ${of.length === 1 ? 'run' : 'runs'}, ${parts.join(', ')}`,
  ];
}

function verdictLine({ kept, runs, failed }: Report, paint: (style: Style, text: string) => string): string {
  if (kept) return paint('green', 'The undo holds.');
  const broken = runs.filter(({ result }) => result === 'broken').length;
  if (broken === 0)
    return paint('red', failed === undefined ? 'The undo does not hold.' : 'The job does not work here.');
  return paint('red', `The undo does not hold: ${broken} of ${runs.length} runs.`);
}
