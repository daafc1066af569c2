// @ts-check
import { read } from './api.js';
import { byId, clockTime, copyButton, h, pretty, prettyText } from './dom.js';

/** @typedef {import('../trace-view.ts').TraceRow} TraceRow */

/** Rows in the page; older ones leave it. */
const ROWS_MAX = 500;

/** The live trace: follows the newest row while it is in sight, and holds still while it is paused. */
export class TracePane {
  rows = byId('trace-rows');
  filter = /** @type {HTMLInputElement} */ (byId('trace-filter'));
  paused = false;
  /** @type {TraceRow[]} */
  #waiting = [];
  #missed = 0;
  #left = 0;
  #last = 0;
  /** What was cleared stays away. */
  #clearedTo = 0;
  #generation = 0;

  /** @param {(search: string) => void} onFilter */
  constructor(onFilter) {
    this.onFilter = onFilter;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let typing;
    this.filter.oninput = () => {
      clearTimeout(typing);
      typing = setTimeout(() => onFilter(this.search), 200);
    };
    byId('trace-pause').onclick = () => this.togglePause();
    byId('trace-clear').onclick = () => this.clear();
    this.rows.onkeydown = (event) => this.#onKey(event);
    this.#draw();
  }

  get search() {
    return this.filter.value.trim();
  }

  /** @param {string} text */
  setFilter(text) {
    this.filter.value = text;
    this.onFilter(text);
  }

  /** All that the simulator still has and the filter lets through; what is shown stays where it does not answer. */
  async load() {
    this.#generation += 1;
    const generation = this.#generation;
    const items = await read.trace(this.search).then(
      (found) => found.items,
      // The link says so at the top of the page, and everything is read again when it is back.
      () => undefined,
    );
    if (!items || generation !== this.#generation) return;
    this.rows.replaceChildren();
    this.#waiting = [];
    this.#missed = 0;
    this.#left = 0;
    this.#last = 0;
    this.#show(items.filter(({ sequence }) => sequence > this.#clearedTo));
  }

  /**
   * @param {TraceRow[]} rows
   * @param {number} skipped
   */
  add(rows, skipped) {
    if (!this.paused) {
      this.#left += skipped;
      this.#show(rows);
      return;
    }
    this.#waiting.push(...rows);
    this.#missed += skipped + Math.max(0, this.#waiting.length - ROWS_MAX);
    this.#waiting = this.#waiting.slice(-ROWS_MAX);
    this.#draw();
  }

  togglePause() {
    this.paused = !this.paused;
    if (!this.paused) {
      this.#left += this.#missed;
      this.#missed = 0;
      this.#show(this.#waiting.splice(0));
      this.rows.scrollTop = this.rows.scrollHeight;
    }
    this.#draw();
  }

  clear() {
    this.#clearedTo = Math.max(this.#last, ...this.#waiting.map(({ sequence }) => sequence), this.#clearedTo);
    this.rows.replaceChildren();
    this.#waiting = [];
    this.#missed = 0;
    this.#left = 0;
    this.#draw();
  }

  focus() {
    const row =
      this.rows.querySelector('.message > button[tabindex="0"]') ??
      this.rows.querySelector('.message:last-child > button');
    if (row instanceof HTMLElement) this.#focusRow(row);
  }

  /** @param {number} by */
  step(by) {
    const buttons = /** @type {HTMLElement[]} */ ([...this.rows.querySelectorAll('.message > button')]);
    const at = buttons.findIndex((one) => one.tabIndex === 0);
    const next = buttons[Math.max(0, Math.min(buttons.length - 1, at < 0 ? buttons.length - 1 : at + by))];
    if (next) this.#focusRow(next);
  }

  /** @param {HTMLElement} button */
  #focusRow(button) {
    for (const other of this.rows.querySelectorAll('.message > button[tabindex="0"]'))
      other.setAttribute('tabindex', '-1');
    button.tabIndex = 0;
    button.focus();
    button.scrollIntoView({ block: 'nearest' });
  }

  /** @param {TraceRow[]} rows */
  #show(rows) {
    const follow = this.rows.scrollHeight - this.rows.scrollTop - this.rows.clientHeight < 60;
    const fresh = rows.filter(({ sequence }) => sequence > this.#last).slice(-ROWS_MAX);
    this.#last = Math.max(this.#last, fresh.at(-1)?.sequence ?? 0);
    this.rows.append(...fresh.map(traceItem));
    for (let over = this.rows.childElementCount - ROWS_MAX; over > 0; over -= 1) {
      const [first] = this.rows.children;
      // A row that somebody reads is not taken from under the reader.
      if (first?.contains(document.activeElement)) break;
      first?.remove();
    }
    if (!this.rows.querySelector('.message > button[tabindex="0"]')) {
      this.rows.querySelector('.message:last-child > button')?.setAttribute('tabindex', '0');
    }
    if (follow) this.rows.scrollTop = this.rows.scrollHeight;
    this.#draw();
  }

  #draw() {
    const shown = this.rows.childElementCount;
    byId('trace-count').textContent =
      this.#left > 0 ? `${shown}, ${this.#left} too fast to show` : `${shown}`;
    const waiting = this.#waiting.length + this.#missed;
    const pause = byId('trace-pause');
    pause.setAttribute('aria-pressed', String(this.paused));
    pause.textContent = this.paused ? `Resume${waiting > 0 ? ` (${waiting} new)` : ''}` : 'Pause';
    const empty = byId('trace-empty');
    empty.hidden = shown > 0;
    empty.textContent =
      this.search === ''
        ? 'No messages yet: each one that a device sends or gets appears here.'
        : 'No message has all these words.';
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    /** @type {Record<string, number>} */
    const steps = { ArrowDown: 1, ArrowUp: -1, Home: -ROWS_MAX, End: ROWS_MAX };
    const by = steps[event.key];
    if (by === undefined || !(event.target instanceof HTMLButtonElement)) return;
    this.step(by);
    event.preventDefault();
  }
}

/** @param {TraceRow} row */
function traceItem(row) {
  const item = h('li', { class: 'message', 'data-kind': row.kind, 'data-direction': row.direction });
  const button = h(
    'button',
    {
      type: 'button',
      tabindex: -1,
      'aria-expanded': 'false',
      onclick: () => {
        const open = item.querySelector('.payload');
        if (open) open.remove();
        else item.append(payloadOf(row));
        button.setAttribute('aria-expanded', String(!open));
      },
    },
    h(
      'span',
      { class: 'line' },
      h('span', { class: 'at', title: new Date(row.atMs).toISOString() }, clockTime(row.atMs)),
      h('span', { class: 'way' }, wayOf(row)),
      h('span', { class: 'client' }, row.client),
      row.bytes !== undefined && h('span', { class: 'size' }, `${row.bytes} B`),
    ),
    h('span', { class: 'subject' }, ...subjectOf(row)),
  );
  item.append(button);
  return item;
}

/** What all topics of a thing begin with is there, and out of the way. @param {TraceRow} row */
function subjectOf({ kind, subject }) {
  const [prefix] = (kind === 'message' && /^\$aws\/things\/[^/]+\//.exec(subject)) || [''];
  return [h('span', { class: 'prefix' }, prefix), subject.slice(prefix.length)];
}

/** @param {TraceRow} row */
function wayOf({ kind, direction }) {
  if (kind !== 'message') return '• link';
  return direction === 'in' ? '↑ from' : '↓ to';
}

/** @param {TraceRow} row */
function payloadOf(row) {
  const pre = h(
    'pre',
    { tabindex: 0 },
    row.kind === 'message' ? prettyText(row.text) || '(empty)' : 'No payload.',
  );
  const whole = async () => {
    if (!row.cut) return row.text;
    return (await read.payload(row.sequence).catch(() => ({ payload: row.text }))).payload;
  };
  if (row.cut)
    void whole().then((text) => {
      pre.textContent = prettyText(text);
    });
  const { kind, client, direction, qos, subject, atMs } = row;
  const asJson = async () => {
    const text = await whole();
    return (
      pretty({
        at: new Date(atMs).toISOString(),
        kind,
        direction,
        client,
        qos,
        topic: subject,
        payload: parsed(text),
      }) ?? ''
    );
  };
  return h(
    'div',
    { class: 'payload' },
    h(
      'div',
      { class: 'buttons' },
      copyButton('Copy message', asJson),
      kind === 'message' && copyButton('Copy payload', whole),
      kind === 'message' && copyButton('Copy topic', () => subject),
      h('span', { class: 'muted' }, qos === undefined ? '' : `QoS ${qos}`),
    ),
    kind === 'message' && pre,
  );
}

/** @param {string} text */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
