import { styleText } from 'node:util';
import { nameOf } from './advice.ts';
import { columns } from './columns.ts';
import type { Story, StoryResource, StoryStep, StorySummary } from './story.ts';
import { count, duration, moment, OUTCOMES, plain, shortPrint } from './words.ts';

/** Stories for a terminal. All text of others goes through `plain`. */

export type Style = Parameters<typeof styleText>[0];
export type Paint = (style: Style, text: string) => string;

/** Colours where somebody sees them, unless NO_COLOR says otherwise. */
export function paintFor(stream: { isTTY?: boolean }): Paint {
  const colour = stream.isTTY === true && (process.env['NO_COLOR'] ?? '') === '';
  return (style, text) => (colour ? styleText(style, text, { validateStream: false }) : text);
}

export function styleOf({ state, outcome, verified, resolved }: StorySummary): Style {
  if (state === 'unreadable') return 'red';
  switch (outcome) {
    case 'committed':
      return 'green';
    case 'rolledBack':
      return verified ? 'cyan' : 'yellow';
    case 'inconsistent':
      return resolved ? 'yellow' : 'red';
    case 'underWay':
      return 'bold';
    case 'notReversed':
    case 'unknown':
      return 'yellow';
  }
}

/** How it ended, in a few words. */
export function outcomeWords({ state, outcome, verified, wrong, resolved }: StorySummary): string {
  if (state === 'unreadable') return `cannot be read: ${(wrong ?? '').replace(/^internal error: /, '')}`;
  const doubt = outcome === 'rolledBack' && !verified ? ', as far as can be told' : '';
  return `${OUTCOMES[outcome]}${doubt}${resolved ? ', resolved' : ''}`;
}

/** One line a job, newest first. */
export function historyLines(summaries: readonly StorySummary[], paint: Paint): string[] {
  if (summaries.length === 0) return ['no job has run here yet'];
  const newest = [...summaries].reverse();
  const rows = newest.map((one) => [
    one.startedAt === undefined ? 'unknown' : moment(one.startedAt),
    one.durationMs === undefined ? '' : duration(one.durationMs),
    plain(nameWords(one)),
    one.cloudStatus ?? '',
    plain(outcomeWords(one)),
  ]);
  const [head = '', ...lines] = columns([['began', 'took', 'job', 'cloud', 'outcome'], ...rows]);
  return [
    paint('dim', head),
    ...lines.flatMap((line, at) => {
      const story = newest[at]!;
      const reason =
        story.reason === undefined || story.outcome === 'committed' ? [] : [`    ${plain(story.reason)}`];
      return [paint(styleOf(story), line), ...reason.map((text) => paint('dim', text))];
    }),
  ];
}

export function nameWords({ jobId, executionNumber, state }: StorySummary): string {
  return state === 'unreadable' && executionNumber === 0 ? jobId : `${jobId}#${executionNumber}`;
}

/** The whole story: what became of it, its steps, its resources, what happened when, and what to do. */
export function storyLines(story: Story, paint: Paint): string[] {
  const fact = (name: string, text: string): string => `  ${name.padEnd(9)}${text}`;
  const undo = story.undoMs === undefined ? '' : `, of which ${duration(story.undoMs)} to go back`;
  const times =
    story.startedAt === undefined
      ? []
      : [
          fact(
            'time',
            `${moment(story.startedAt)}${story.endedAt === undefined ? '' : `, took ${duration(story.durationMs ?? 0)}${undo}`}`,
          ),
        ];
  return [
    `${paint('bold', plain(nameWords(story)))}  ${paint(styleOf(story), plain(outcomeWords(story)))}`,
    ...(story.cloudStatus === undefined ? [] : [fact('cloud', story.cloudStatus)]),
    ...(story.reason === undefined ? [] : [fact('because', plain(story.reason))]),
    ...(story.exception === undefined ? [] : [fact('though', plain(story.exception))]),
    ...times,
    ...(story.state === 'unreadable' && story.startedAt === undefined
      ? []
      : [fact('undo', `grade ${story.grade}${story.verified ? ', verified' : ''}`)]),
    ...section('steps', stepLines(story.steps, paint), paint),
    ...section('resources', resourceLines(story.resources, paint), paint),
    ...section('what happened', eventLines(story), paint),
    ...section(
      'what to do',
      story.advice.map((line) => paint('yellow', `→ ${plain(line)}`)),
      paint,
    ),
  ];
}

function section(title: string, lines: readonly string[], paint: Paint): string[] {
  return lines.length === 0 ? [] : ['', paint('bold', title), ...lines.map((line) => `  ${line}`)];
}

const STEP_WORDS: Record<StoryStep['state'], string> = {
  pending: 'not begun',
  ready: 'not begun',
  attempting: 'RUNS',
  interrupted: 'interrupted',
  failed: 'FAILED',
  done: 'done',
  undoing: 'being undone',
  undone: 'undone',
  notUndone: 'NOT UNDONE',
};

const STEP_STYLES: Partial<Record<StoryStep['state'], Style>> = {
  attempting: 'bold',
  interrupted: 'yellow',
  failed: 'red',
  done: 'green',
  undoing: 'bold',
  undone: 'cyan',
  notUndone: 'red',
};

export function stepState(step: Pick<StoryStep, 'state' | 'grade' | 'attempts' | 'ignored'>): string {
  if (step.state === 'undone' && step.grade === 'none') return 'ended, nothing to undo it with';
  if (step.ignored !== undefined && step.state === 'done') return 'failed, which may be';
  return STEP_WORDS[step.state];
}

function stepLines(steps: readonly StoryStep[], paint: Paint): string[] {
  const rows = steps.map((step) => [
    `${step.number}.`,
    plain(step.name),
    `${step.type}${step.pivot ? ', pivot' : ''}`,
    step.grade,
    step.doMs === undefined ? '-' : duration(step.doMs),
    step.undoMs === undefined ? '-' : duration(step.undoMs),
    `${stepState(step)}${step.attempts > 1 ? `, ${count(step.attempts, 'try').replace('trys', 'tries')}` : ''}`,
  ]);
  if (rows.length === 0) return [];
  const [head = '', ...lines] = columns([['', 'step', 'type', 'grade', 'took', 'undo', ''], ...rows]);
  return [
    paint('dim', head),
    ...lines.flatMap((line, at) => {
      const step = steps[at]!;
      const style = STEP_STYLES[step.state];
      const notes = [step.ignored, step.state === 'done' ? undefined : step.reason].filter(
        (one) => one !== undefined,
      );
      return [style === undefined ? line : paint(style, line), ...notes.map((note) => `     ${plain(note)}`)];
    }),
  ];
}

const NOW_STYLES: Record<StoryResource['now'], Style> = {
  old: 'cyan',
  new: 'green',
  neither: 'red',
  changing: 'yellow',
  unknown: 'yellow',
};

function resourceLines(resources: readonly StoryResource[], paint: Paint): string[] {
  return resources.flatMap((resource) => {
    const changed = resource.after === undefined || resource.after === resource.before;
    const prints = changed
      ? [`before   ${shortPrint(resource.before)}`]
      : [`before   ${shortPrint(resource.before)}`, `after    ${shortPrint(resource.after ?? '')}`];
    const mark = resource.now === 'neither' ? 'NEITHER' : resource.now;
    return [
      `${paint(NOW_STYLES[resource.now], mark.padEnd(8))} ${plain(nameOf(resource.id))}`,
      ...prints.map((print) => paint('dim', `         ${plain(print)}`)),
    ];
  });
}

/** Processes are told of only where something ended one: they are for programs. */
function eventLines({ events }: Story): string[] {
  const told = events.filter(({ type }) => type !== 'process');
  const rows = told.map(({ at, sinceStartMs, text }, index) => [
    index === 0 ? `${at.slice(11, 23)}Z` : `+${duration(sinceStartMs)}`,
    plain(text),
  ]);
  const width = Math.max(0, ...rows.map(([time = '']) => time.length));
  return rows.map(([time = '', text = '']) => `${time.padStart(width)}  ${text}`);
}
