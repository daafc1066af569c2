import { createHash } from 'node:crypto';
import { nameOf } from '../advice.ts';
import type { StoryOutputs } from '../library.ts';
import { nameWords, outcomeWords } from '../paper.ts';
import type { Story, StoryResource } from '../story.ts';
import { duration, moment, shortPrint } from '../words.ts';
import { type Content, html, Markup } from './markup.ts';
import { STYLE } from './style.ts';
import { timeline } from './timeline.ts';

/**
 * A story as one page for whoever was not there: no script, nothing from the network, and a policy of its own that
 * allows neither. What a document or a program said is text in it.
 */
export function pageOf(story: Story, outputs: StoryOutputs | undefined): string {
  const hash = createHash('sha256').update(STYLE).digest('base64');
  const policy = `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'`;
  const { text } = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${new Markup(policy)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${nameWords(story)}: ${outcomeWords(story)}</title>
<style>${new Markup(STYLE)}</style>
</head>
<body>
<main>
<h1>${nameWords(story)}</h1>
<p><span class="badge ${outcomeClass(story)}">${outcomeWords(story)}</span></p>
${factsOf(story)}
${adviceOf(story)}
${story.steps.length === 0 ? '' : html`<h2>Steps over time</h2>${timeline(story)}`}
${section('What it touched', resourcesOf(story.resources))}
${section('What happened', eventsOf(story))}
${section('What its programs said', outputsOf(outputs))}
<footer class="soft">evenkeel ${story.agentVersion ?? ''}, thing ${story.thing}; times are UTC, by this device's clock</footer>
</main>
</body>
</html>
`;
  return text;
}

function outcomeClass({ state, outcome, verified, resolved }: Story): string {
  if (state === 'unreadable') return 'bad';
  switch (outcome) {
    case 'committed':
      return 'good';
    case 'rolledBack':
      return verified ? 'calm' : 'warn';
    case 'inconsistent':
      return resolved ? 'warn' : 'bad';
    case 'underWay':
      return 'plain';
    case 'notReversed':
    case 'unknown':
      return 'warn';
  }
}

function section(title: string, content: Content): Content {
  return Array.isArray(content) && content.length === 0 ? '' : html`<h2>${title}</h2>${content}`;
}

function factsOf(story: Story): Markup {
  const facts: [string, string | undefined][] = [
    ['because', story.reason],
    ['cloud', story.cloudStatus],
    ['though', story.exception],
    ['began', story.startedAt && moment(story.startedAt)],
    ['took', story.durationMs === undefined ? undefined : tookWords(story.durationMs, story.undoMs)],
    ['undo', story.startedAt && `grade ${story.grade}${story.verified ? ', every resource compared' : ''}`],
  ];
  return html`<dl>${facts.map(([name, value]) =>
    value === undefined ? '' : html`<dt>${name}</dt><dd>${value}</dd>`,
  )}</dl>`;
}

function tookWords(ms: number, undoMs: number | undefined): string {
  return `${duration(ms)}${undoMs === undefined ? '' : `, of which ${duration(undoMs)} to go back`}`;
}

function adviceOf({ advice }: Story): Content {
  if (advice.length === 0) return '';
  return html`<div class="card advice"><b>What to do</b><ul>${advice.map((line) => html`<li>${line}</li>`)}</ul></div>`;
}

const NOW: Record<StoryResource['now'], { words: string; kind: string }> = {
  old: { words: 'as before the job', kind: 'calm' },
  new: { words: 'as the job left it', kind: 'good' },
  neither: { words: '≠ neither old nor new', kind: 'bad' },
  changing: { words: 'changing', kind: 'warn' },
  unknown: { words: 'unknown', kind: 'warn' },
};

function resourcesOf(resources: readonly StoryResource[]): Content[] {
  return resources.map(({ id, before, after, now, steps }) => {
    const { words, kind } = NOW[now];
    const changed = after !== undefined && after !== before;
    return html`<div class="card resource${now === 'neither' ? ' differs' : ''}">
<header><code>${nameOf(id)}</code><span class="badge ${kind}">${words}</span></header>
<div class="prints"><span>before</span><div class="print">${changed ? differing(before, after) : shortPrint(before)}</div>
${
  changed
    ? html`<span>after step ${steps.at(-1) ?? ''}</span><div class="print">${differing(after, before)}</div>`
    : html`<span></span><small>${after === undefined ? 'no step finished with it' : 'no step changed it'}</small>`
}</div>
</div>
`;
  });
}

/** A fingerprint with what differs from the other one marked. */
function differing(print: string, other: string): Content {
  const others = other.split(' ');
  return print
    .split(' ')
    .map(
      (part, at) => html`${part === others[at] ? shortPrint(part) : html`<mark>${shortPrint(part)}</mark>`} `,
    );
}

const LOUD = ['aborted', 'failed', 'undoFailed', 'judged', 'committed', 'interrupted'];

function eventsOf({ events }: Story): Content[] {
  const told = events.filter(({ type }) => type !== 'process');
  if (told.length === 0) return [];
  return [
    html`<ol class="card events">${told.map(
      ({ at, sinceStartMs, text, type }, index) =>
        html`<li><time datetime="${at}">${index === 0 ? at.slice(11, 19) : `+${duration(sinceStartMs)}`}</time><span class="${LOUD.includes(type) ? 'strong' : ''}">${text}</span></li>
`,
    )}</ol>`,
  ];
}

function outputsOf(outputs: StoryOutputs | undefined): Content[] {
  return (outputs?.runs ?? []).map(
    ({ step, name, direction, attempt, stdout, stderr }) =>
      html`<details class="card"><summary>step ${step} (${name})${direction === 'undo' ? ', undo' : ''}${attempt > 1 ? `, try ${attempt}` : ''}</summary>${
        stdout === '' ? '' : html`<pre>${stdout}</pre>`
      }${stderr === '' ? '' : html`<pre class="err">${stderr}</pre>`}</details>
`,
  );
}
