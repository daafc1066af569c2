import { stepState } from '../paper.ts';
import type { Story, StoryStep } from '../story.ts';
import { duration } from '../words.ts';
import { html, type Markup } from './markup.ts';

/** The steps as bars over one time axis, drawn as SVG: a style attribute would need a weaker security policy. */

interface Segment {
  kind: 'do' | 'undo' | 'bad';
  fromMs: number;
  toMs: number;
}

interface Axis {
  endMs: number;
  turnMs: number | undefined;
  commitMs: number | undefined;
}

const WIDTH = 1000;
const SEGMENT_MIN = 5;

export function timeline(story: Story): Markup {
  const at = (type: string): number | undefined =>
    story.events.find((event) => event.type === type)?.sinceStartMs;
  const closed = at('closed') ?? story.events.at(-1)?.sinceStartMs ?? 0;
  const axis = { endMs: Math.max(1, closed), turnMs: at('aborted'), commitMs: at('committed') };
  const key = (kind: string, width = 10): Markup =>
    html`<span class="key"><svg viewBox="0 0 10 10" preserveAspectRatio="none" aria-hidden="true"><rect class="${kind}" x="${(10 - width) / 2}" width="${width}" height="10"/></svg></span>`;
  return html`<div class="card rows">
<div class="row"><b>whole job</b><div class="bar">${barOf(jobSegments(axis), axis)}</div><span class="took">${duration(axis.endMs)}</span></div>
${story.steps.map((step) => rowOf(step, story, axis))}
</div>
<p class="soft">${key('seg-do')}forward${key('seg-undo')}undo${key('seg-bad')}failed or interrupted${
    axis.turnMs === undefined ? '' : html`${key('seg-bad', 2)}turns back, at +${duration(axis.turnMs)}`
  }${axis.commitMs === undefined ? '' : html`${key('seg-good', 2)}committed, at +${duration(axis.commitMs)}`}</p>`;
}

function jobSegments({ endMs, turnMs }: Axis): Segment[] {
  if (turnMs === undefined) return [{ kind: 'do', fromMs: 0, toMs: endMs }];
  return [
    { kind: 'do', fromMs: 0, toMs: turnMs },
    { kind: 'undo', fromMs: turnMs, toMs: endMs },
  ];
}

function rowOf(step: StoryStep, story: Story, axis: Axis): Markup {
  const took = [
    ...(step.doMs === undefined ? [] : [duration(step.doMs)]),
    ...(step.undoMs === undefined ? [] : [`undo ${duration(step.undoMs)}`]),
  ].join(', ');
  const tries = step.attempts > 1 ? `, ${step.attempts} tries` : '';
  const reason = step.ignored ?? (step.state === 'done' ? undefined : step.reason);
  return html`<div class="row"><div>${step.number}. <b>${step.name}</b><br><small>${step.type}${step.pivot ? ', pivot' : ''}, ${step.grade}</small></div><div class="bar">${barOf(segmentsOf(step.number, story, axis.endMs), axis)}</div><span class="took"><span class="badge ${STATE_CLASS[step.state]}">${stepState(step)}${tries}</span><br>${took}</span>${
    reason === undefined ? '' : html`<div class="note">${reason}</div>`
  }</div>
`;
}

const STATE_CLASS: Record<StoryStep['state'], string> = {
  pending: 'plain',
  ready: 'plain',
  attempting: 'calm',
  interrupted: 'warn',
  failed: 'bad',
  done: 'good',
  undoing: 'calm',
  undone: 'calm',
  notUndone: 'bad',
};

const BEGINS: Readonly<Record<string, 'do' | 'undo'>> = { attempt: 'do', undo: 'undo' };
const ENDS = ['done', 'undone', 'failed', 'interrupted', 'undoFailed'];
const BAD = ['failed', 'interrupted', 'undoFailed'];

/** Every try of a step, forward and back; one that has no end yet, or never had one, lasts until the last record. */
export function segmentsOf(step: number, { events }: Pick<Story, 'events'>, endMs: number): Segment[] {
  const segments: Segment[] = [];
  let open: Segment | undefined;
  for (const event of events) {
    if (event.step !== step) continue;
    const begins = BEGINS[event.type];
    if (begins) open = { kind: begins, fromMs: event.sinceStartMs, toMs: endMs };
    else if (open && ENDS.includes(event.type)) {
      const kind = BAD.includes(event.type) ? 'bad' : open.kind;
      segments.push({ ...open, kind, toMs: event.sinceStartMs });
      open = undefined;
    }
  }
  return open ? [...segments, open] : segments;
}

function barOf(segments: readonly Segment[], { endMs, turnMs, commitMs }: Axis): Markup {
  // A clock that was set meanwhile must not draw outside.
  const x = (ms: number): number => Math.round((Math.min(Math.max(ms, 0), endMs) / endMs) * WIDTH);
  const rects = segments.map(({ kind, fromMs, toMs }) => {
    const width = Math.max(SEGMENT_MIN, x(toMs) - x(fromMs));
    return html`<rect class="seg-${kind}" x="${Math.min(x(fromMs), WIDTH - width)}" y="3" width="${width}" height="14"/>`;
  });
  const line = (kind: string, ms: number | undefined): Markup | undefined =>
    ms === undefined ? undefined : html`<line class="${kind}" x1="${x(ms)}" x2="${x(ms)}" y1="0" y2="20"/>`;
  return html`<svg viewBox="0 0 ${WIDTH} 20" preserveAspectRatio="none" aria-hidden="true"><rect class="track" y="3" width="${WIDTH}" height="14"/>${rects}${line('turn', turnMs)}${line('commit', commitMs)}</svg>`;
}
