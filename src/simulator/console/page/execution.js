// @ts-check
import { badge, clockTime, h, pretty, prettyText, textOf, time } from './dom.js';
import { links } from './links.js';
import { facts, link, source } from './views.js';

/** One execution: its state, its receipt, and its timeline. */

/**
 * @typedef {import('../views.ts').ExecutionView} ExecutionView
 * @typedef {import('../history.ts').HistoryEntry} HistoryEntry
 */

const TERMINAL = ['SUCCEEDED', 'FAILED', 'REJECTED', 'TIMED_OUT', 'REMOVED', 'CANCELED'];

/** @param {string} status */
export const isOpen = (status) => !TERMINAL.includes(status);

/**
 * @param {ExecutionView} view
 * @param {{ cancelExecution: (view: ExecutionView, force: boolean) => void, deleteExecution: (view: ExecutionView) => void,
 *   filterTrace: (search: string) => void }} act
 */
export function executionView(view, act) {
  const { thing, jobId, executionNumber, status } = view;
  const open = isOpen(status);
  const others = view.attempts.filter((one) => one.executionNumber !== executionNumber);
  return {
    head: [
      h(
        'p',
        { class: 'kind' },
        'Execution of ',
        h('a', { href: links.job(jobId) }, jobId),
        ' on ',
        h('a', { href: links.thing(thing) }, thing),
      ),
      h('h2', null, jobId, h('span', { class: 'on' }, ' on '), thing, ' ', badge(status)),
      h(
        'div',
        { class: 'buttons' },
        open && h('button', { type: 'button', onclick: () => act.cancelExecution(view, false) }, 'Cancel…'),
        open &&
          h(
            'button',
            { type: 'button', class: 'danger', onclick: () => act.cancelExecution(view, true) },
            'Force cancel…',
          ),
        h('button', { type: 'button', onclick: () => act.filterTrace(`${thing} ${jobId}`) }, 'Its messages'),
        h('button', { type: 'button', class: 'danger', onclick: () => act.deleteExecution(view) }, 'Delete…'),
      ),
      facts([
        ['version', view.versionNumber],
        ['execution number', executionNumber],
        ['device', link(view.connected)],
        ['queued', time(view.queuedAt * 1000)],
        ['started', view.startedAt !== undefined && time(view.startedAt * 1000)],
        ['last update', time(view.lastUpdatedAt * 1000)],
        ['times out in', view.secondsLeft !== undefined && duration(view.secondsLeft)],
        [
          'other attempts',
          others.length > 0 &&
            h(
              'span',
              { class: 'attempts' },
              ...others.map((one) =>
                h(
                  'a',
                  { href: links.execution(thing, jobId, one.executionNumber) },
                  `#${one.executionNumber} ${one.status}`,
                ),
              ),
            ),
        ],
      ]),
      Object.keys(view.details).length > 0 && h('h3', null, 'Status details'),
      Object.keys(view.details).length > 0 && detailTable(view.details),
    ],
    body: [
      ...receiptCard(view),
      h('h3', { id: 'timeline-title' }, 'Timeline'),
      timeline(view),
      view.document !== undefined && source('Job document', prettyText(view.document)),
    ],
  };
}

/** @param {number} seconds */
function duration(seconds) {
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

/** @param {Record<string, string>} details */
function detailTable(details) {
  return h(
    'dl',
    { class: 'details' },
    ...Object.entries(details).map(([name, value]) =>
      h('div', null, h('dt', null, name), h('dd', null, value)),
    ),
  );
}

/** @type {Record<string, string>} */
const OUTCOMES = {
  committed: 'Committed: the device is new',
  rolledBack: 'Rolled back: the device is as it was before',
  notReversed: 'Not reversed: some of it could not be undone',
  inconsistent: 'Inconsistent: the device is neither old nor new',
  localStateLost: 'The device had lost its journal',
  observed: 'Only observed',
  resolved: 'Resolved by an operator',
};

/** @param {ExecutionView} view */
function receiptCard({ receipt, status, startedAt, forceCanceled }) {
  if (!receipt) {
    const waits = startedAt !== undefined && (status === 'CANCELED' || status === 'TIMED_OUT');
    return waits
      ? [
          h(
            'div',
            { class: 'receipt', 'data-outcome': 'none' },
            h('h3', null, 'No receipt yet'),
            h(
              'p',
              null,
              `The service does not tell a device that its execution was ${forceCanceled ? 'cancelled' : 'ended'}, and takes no more updates of it. The agent learns of it from its next update or notification; what it then did, it writes to the shadow “evenkeel”.`,
            ),
          ),
        ]
      : [];
  }
  const text = (/** @type {string} */ name) => textOf(receipt[name]);
  const list = (/** @type {string} */ name) => {
    const value = receipt[name];
    return Array.isArray(value) && value.length > 0 ? value.map((one) => textOf(one)).join(', ') : undefined;
  };
  const cause = /** @type {{ kind?: unknown, reason?: unknown } | undefined} */ (receipt['cause']);
  const outcome = text('outcome') ?? '';
  return [
    h(
      'div',
      { class: 'receipt', 'data-outcome': outcome },
      h('h3', null, 'Receipt'),
      h('p', { class: 'outcome' }, Object.hasOwn(OUTCOMES, outcome) ? OUTCOMES[outcome] : outcome),
      facts([
        ['outcome', outcome],
        ['device state', text('deviceState')],
        ['verified', receipt['verified'] === true ? 'yes, by comparison' : 'no'],
        ['exception', text('exception')],
        ['undone', list('undone')],
        ['not undone', list('notUndone')],
        ['items', list('items')],
        ['kept', list('kept')],
        ['cause', cause && [cause.kind, cause.reason].map(textOf).filter(Boolean).join(': ')],
      ]),
      source('Receipt as JSON', pretty(receipt) ?? ''),
    ),
  ];
}

/** @param {ExecutionView} view */
function timeline({ history, historyLeft }) {
  const items = history.map((entry, index) => {
    const before = history[index - 1];
    return h(
      'li',
      {
        'data-key': `${entry.kind}-${entry.atMs}-${index}`,
        'data-kind': entry.kind,
        'data-status': entry.status,
      },
      h('div', { class: 'when' }, h('span', { class: 'at' }, clockTime(entry.atMs)), time(entry.atMs)),
      h(
        'div',
        { class: 'what' },
        h(
          'p',
          null,
          h('strong', null, headline(entry)),
          ' ',
          h('span', { class: 'version' }, `version ${entry.versionNumber}`),
        ),
        ...body(entry, before),
      ),
    );
  });
  const gap = h(
    'li',
    { 'data-key': 'gap', 'data-kind': 'gap' },
    h('div', { class: 'when' }),
    h('div', { class: 'what' }, `${historyLeft} earlier entries are no longer kept`),
  );
  if (historyLeft > 0) items.splice(Math.min(2, items.length), 0, gap);
  return h('ol', { class: 'timeline', 'aria-labelledby': 'timeline-title' }, ...items);
}

/** @param {HistoryEntry} entry */
function headline(entry) {
  switch (entry.kind) {
    case 'queued':
      return 'Queued';
    case 'started':
      return 'Started by the device';
    case 'update':
      return 'Update';
    case 'refused':
      return `Update refused: ${entry.refusal?.code ?? ''}`;
    case 'receipt':
      return `Receipt: ${textOf(entry.receipt?.['outcome'])}`;
    case 'deleted':
      return 'Deleted';
    case 'ended':
      return ended(entry);
  }
}

/** @param {HistoryEntry} entry */
function ended({ status, forceCanceled }) {
  if (status === 'CANCELED') return forceCanceled ? 'Cancelled by force' : 'Cancelled';
  if (status === 'TIMED_OUT') return 'Timed out';
  if (status === 'REMOVED') return 'Removed: its thing is gone';
  return `${status}, said by the device`;
}

/**
 * @param {HistoryEntry} entry
 * @param {HistoryEntry | undefined} before
 */
function body(entry, before) {
  if (entry.kind === 'refused')
    return entry.refusal?.message ? [h('p', { class: 'muted' }, entry.refusal.message)] : [];
  if (entry.kind === 'receipt') {
    const { deviceState, verified } = entry.receipt ?? {};
    return [
      h(
        'p',
        { class: 'muted' },
        `device ${textOf(deviceState)}, ${verified === true ? 'verified' : 'not verified'}`,
      ),
    ];
  }
  const details = Object.entries(entry.details);
  if (details.length === 0) return [];
  return [
    h(
      'dl',
      { class: 'details' },
      ...details.map(([name, value]) =>
        h('div', { 'data-same': before?.details[name] === value }, h('dt', null, name), h('dd', null, value)),
      ),
    ),
  ];
}
