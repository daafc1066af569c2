// @ts-check

/**
 * The page's own small kit: elements from text only (nothing is ever parsed as markup), and a patch that brings an old
 * tree to a new one without losing focus, scrolling or what the reader has opened.
 */

/** @typedef {Node | string | number | false | null | undefined} Child */

const HANDLERS = /** @type {const} */ (['onclick', 'onkeydown', 'oninput', 'onchange', 'onsubmit']);

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, unknown> | null} [props] attributes; names that begin with `on` are handlers
 * @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function h(tag, props, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    // In data- and aria- attributes "false" is a value like another.
    const isWord = name.startsWith('data-') || name.startsWith('aria-');
    if (value === undefined || value === null || (value === false && !isWord)) continue;
    if (name.startsWith('on')) Object.assign(element, { [name]: value });
    else element.setAttribute(name, value === true && !isWord ? '' : textOf(value));
  }
  for (const child of children.flat()) {
    if (child === undefined || child === null || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

/**
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @returns {T}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element #${id}`);
  return /** @type {T} */ (found);
}

/**
 * Makes the children of `parent` those of `children`.
 * @param {Element} parent
 * @param {Child[]} children
 */
export function render(parent, ...children) {
  const fresh = h('div', null, ...children);
  patchChildren(parent, fresh);
}

/** @param {Node} node */
const keyOf = (node) => (node instanceof HTMLElement ? node.dataset['key'] : undefined);

/**
 * @param {Element} old
 * @param {Element} fresh
 */
function patchChildren(old, fresh) {
  const keyed = new Map([...old.childNodes].map((node) => [keyOf(node), node]));
  keyed.delete(undefined);
  let at = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const key = keyOf(wanted);
    const match = key === undefined ? at : (keyed.get(key) ?? null);
    if (!match || !isSame(match, wanted)) {
      old.insertBefore(wanted, at);
      continue;
    }
    if (match === at) at = at.nextSibling;
    else old.insertBefore(match, at);
    patch(match, wanted);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

/**
 * @param {Node} a
 * @param {Node} b
 */
function isSame(a, b) {
  return a.nodeName === b.nodeName && keyOf(a) === keyOf(b);
}

/**
 * @param {Node} old
 * @param {Node} fresh
 */
function patch(old, fresh) {
  if (!(old instanceof HTMLElement) || !(fresh instanceof HTMLElement)) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  for (const { name } of [...old.attributes]) {
    // What the reader has opened stays open.
    if (!fresh.hasAttribute(name) && !(name === 'open' && old instanceof HTMLDetailsElement)) {
      old.removeAttribute(name);
    }
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const name of HANDLERS) Object.assign(old, { [name]: fresh[name] });
  patchChildren(old, fresh);
}

/** How far this machine's clock is from the simulator's, in milliseconds. */
let clockOffsetMs = 0;

/** @param {number} simulatorNowMs */
export function syncClock(simulatorNowMs) {
  clockOffsetMs = simulatorNowMs - Date.now();
}

/** @param {number} atMs */
export function ago(atMs) {
  const seconds = Math.round((Date.now() + clockOffsetMs - atMs) / 1000);
  if (seconds < 1) return 'now';
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86_400)} d ago`;
}

/** @param {number} atMs */
export function clockTime(atMs) {
  const date = new Date(atMs);
  const two = (/** @type {number} */ n) => String(n).padStart(2, '0');
  const ms = String(date.getMilliseconds()).padStart(3, '0');
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${ms}`;
}

/**
 * Relative, and exact where the pointer rests on it.
 * @param {number} atMs
 */
export function time(atMs) {
  const iso = new Date(atMs).toISOString();
  return h('time', { datetime: iso, title: iso, 'data-at': atMs }, ago(atMs));
}

/** Keeps all relative times true. */
export function tickTimes() {
  for (const element of document.querySelectorAll('time[data-at]')) {
    const text = ago(Number(element.getAttribute('data-at')));
    if (element.textContent !== text) element.textContent = text;
  }
}

/** @type {Record<string, string>} */
const MARKS = {
  QUEUED: '○',
  IN_PROGRESS: '▶',
  SUCCEEDED: '✓',
  COMPLETED: '✓',
  FAILED: '✕',
  REJECTED: '⊘',
  TIMED_OUT: '◔',
  REMOVED: '−',
  CANCELED: '■',
};

/** @param {string} status */
export function badge(status) {
  const mark = h('span', { 'aria-hidden': 'true' }, MARKS[status] ?? '•');
  return h('span', { class: 'badge', 'data-status': status }, mark, status);
}

/** @param {string} text */
export function announce(text) {
  byId('announce').textContent = text;
}

/**
 * @param {string} label
 * @param {() => string | Promise<string>} text
 * @param {string} [name] what a screen reader says, where the label alone is too little
 */
export function copyButton(label, text, name) {
  return h(
    'button',
    {
      type: 'button',
      class: 'quiet small',
      'aria-label': name,
      onclick: async (/** @type {Event} */ event) => {
        const button = /** @type {HTMLButtonElement} */ (event.currentTarget);
        const copied = await copy(await text());
        button.textContent = copied ? 'Copied' : 'Cannot copy';
        announce(button.textContent);
        setTimeout(() => {
          button.textContent = label;
        }, 1500);
      },
    },
    label,
  );
}

/** @param {string} text */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without a secure context (another machine's address) there is only the old way.
    const area = h('textarea', { class: 'hidden' });
    area.value = text;
    (document.querySelector('dialog[open]') ?? document.body).append(area);
    area.select();
    // eslint-disable-next-line @typescript-eslint/no-deprecated
    const copied = document.execCommand('copy');
    area.remove();
    return copied;
  }
}

/** @param {string} text */
export function command(text) {
  return h(
    'div',
    { class: 'command' },
    h('code', null, text),
    copyButton('Copy', () => text, 'Copy the command'),
  );
}

/** @param {string} text a value as the shell takes it */
export function quoted(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** @param {unknown} value */
export function pretty(value) {
  return JSON.stringify(value, null, 2);
}

/** @param {string} text JSON where it is, else the text itself */
export function prettyText(text) {
  try {
    return pretty(JSON.parse(text));
  } catch {
    return text;
  }
}

/**
 * What a device wrote may be anything.
 * @param {unknown} value
 */
export function textOf(value) {
  if (value === undefined || value === null) return '';
  return typeof value === 'string' ? value : JSON.stringify(value);
}
