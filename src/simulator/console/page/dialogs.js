// @ts-check
import { aws, Refused } from './api.js';
import { announce, byId, command, h, quoted, render } from './dom.js';

/**
 * @typedef {import('../views.ts').ExecutionView} ExecutionView
 * @typedef {import('../views.ts').JobView} JobView
 */

/**
 * A dialog with a form: keeps the focus, closes by Escape, shows a refusal in place, and the same thing as a command.
 * @param {{ title: string, submit: string, danger?: boolean, fields: (HTMLElement | false)[], wide?: boolean,
 *   command?: () => string, run: () => Promise<unknown>, done?: () => void, said: string }} options
 */
export function openForm(options) {
  const error = h('p', { class: 'error', role: 'alert' });
  const shown = h('div', null);
  const submit = h(
    'button',
    { type: 'submit', class: options.danger ? 'danger solid' : 'primary' },
    options.submit,
  );
  const close = () => dialog.close();
  const asCommand = options.command;
  const form = h(
    'form',
    {
      novalidate: true,
      oninput: () => {
        error.textContent = '';
        if (asCommand) render(shown, command(asCommand()));
      },
      onsubmit: async (/** @type {Event} */ event) => {
        event.preventDefault();
        const wrong = firstInvalid(form);
        if (wrong) {
          error.textContent = `${wrong.labels?.[0]?.firstChild?.textContent ?? wrong.name}: ${wrong.validationMessage}`;
          wrong.focus();
          return;
        }
        submit.disabled = true;
        try {
          await options.run();
          close();
          announce(options.said);
          options.done?.();
        } catch (refusal) {
          error.textContent =
            refusal instanceof Refused ? `${refusal.name}: ${refusal.message}` : String(refusal);
        } finally {
          submit.disabled = false;
        }
      },
    },
    h('h2', { id: 'dialog-title' }, options.title),
    ...options.fields,
    asCommand && h('details', { class: 'source' }, h('summary', null, 'As a command'), shown),
    error,
    h('div', { class: 'buttons end' }, h('button', { type: 'button', onclick: close }, 'Close'), submit),
  );
  const dialog = openDialog(form, options.wide ? 'wide' : '');
  if (asCommand) render(shown, command(asCommand()));
  const first = form.querySelector('[data-first]') ?? form.querySelector('input, textarea, select');
  if (first instanceof HTMLElement) first.focus();
  return { dialog, form, refreshCommand: () => asCommand && render(shown, command(asCommand())) };
}

/**
 * @param {HTMLElement} content
 * @param {string} kind
 */
function openDialog(content, kind) {
  const before = document.activeElement;
  const dialog = h('dialog', { 'aria-labelledby': 'dialog-title', class: kind }, content);
  dialog.addEventListener('close', () => {
    dialog.remove();
    if (before instanceof HTMLElement) before.focus();
  });
  byId('dialogs').append(dialog);
  dialog.showModal();
  return dialog;
}

export const isDialogOpen = () => document.querySelector('dialog[open]') !== null;

/**
 * @param {HTMLFormElement} form
 * @returns {HTMLInputElement | undefined}
 */
function firstInvalid(form) {
  return /** @type {HTMLInputElement[]} */ ([...form.elements]).find(
    (one) => one.willValidate && !one.validity.valid,
  );
}

/**
 * @param {string} label
 * @param {HTMLElement} control
 * @param {string} [hint]
 */
export function field(label, control, hint) {
  return h('label', { class: 'field' }, label, control, hint ? h('span', { class: 'hint' }, hint) : null);
}

/** @param {string} endpoint */
const endpointFlag = (endpoint) => `--endpoint-url ${endpoint}`;

/** @param {string} endpoint @param {(thing: string) => void} done */
export function newThing(endpoint, done) {
  const name = h('input', {
    name: 'thing',
    required: true,
    maxlength: 128,
    pattern: '[a-zA-Z0-9:_\\-]+',
    autocomplete: 'off',
    spellcheck: 'false',
  });
  openForm({
    title: 'New thing',
    submit: 'Create thing',
    said: 'Thing created',
    fields: [field('Name', name, 'Letters, digits, : _ and -. A device connects with it as its client id.')],
    command: () =>
      `aws iot create-thing --thing-name ${quoted(name.value || 'my-thing')} ${endpointFlag(endpoint)}`,
    run: () => aws.createThing(name.value),
    done: () => done(name.value),
  });
}

/** Pairs of keys and values, as many as the service takes. */
function detailsEditor() {
  const rows = h('div', { class: 'pairs' });
  const add = (key = '', value = '') => {
    const index = rows.childElementCount + 1;
    rows.append(
      h(
        'div',
        { class: 'pair' },
        h('input', {
          name: `key${index}`,
          'aria-label': `Key ${index}`,
          placeholder: 'key',
          value: key,
          maxlength: 128,
          pattern: '[a-zA-Z0-9:_\\-]+',
          autocomplete: 'off',
        }),
        h('input', {
          name: `value${index}`,
          'aria-label': `Value ${index}`,
          placeholder: 'value',
          value,
          maxlength: 1024,
          autocomplete: 'off',
        }),
      ),
    );
    more.disabled = rows.childElementCount >= 10;
  };
  const more = h(
    'button',
    {
      type: 'button',
      class: 'quiet small',
      onclick: () => {
        add();
        /** @type {HTMLElement | null} */ (rows.querySelector('.pair:last-child input'))?.focus();
      },
    },
    'Add a pair',
  );
  add();
  return {
    element: h('fieldset', null, h('legend', null, 'Status details'), rows, more),
    /** @returns {Record<string, string>} */
    values: () =>
      Object.fromEntries(
        [...rows.children].flatMap((row) => {
          const [key, value] = [...row.querySelectorAll('input')].map((input) => input.value);
          return key ? [[key, value ?? '']] : [];
        }),
      ),
  };
}

/** @param {ExecutionView} view @param {boolean} force @param {string} endpoint */
export function cancelExecution(view, force, endpoint) {
  const { thing, jobId, versionNumber, status } = view;
  const guard = h('input', { type: 'checkbox', name: 'guarded' });
  const version = h('input', {
    type: 'number',
    name: 'expectedVersion',
    min: 1,
    value: versionNumber,
    'aria-label': 'Expected version',
    class: 'short',
  });
  const details = detailsEditor();
  const body = () => ({
    ...(guard.checked && { expectedVersion: Number(version.value) }),
    ...(Object.keys(details.values()).length > 0 && { statusDetails: details.values() }),
  });
  openForm({
    title: force ? 'Force cancel the execution' : 'Cancel the execution',
    submit: force ? 'Force cancel' : 'Cancel the execution',
    danger: true,
    said: `${jobId} on ${thing} is cancelled`,
    fields: [
      h('p', null, `${jobId} on ${thing} is ${status}, version ${versionNumber}.`),
      h(
        'p',
        { class: 'hint' },
        force
          ? 'The service ends it at once, tells the device nothing, and refuses its further updates. To get back to a valid state is left to the device.'
          : status === 'IN_PROGRESS'
            ? 'Without force the service refuses to cancel what is in progress.'
            : 'It has not started: it is taken from the queue.',
      ),
      h('label', { class: 'check' }, guard, 'Only if the version is still ', version),
      details.element,
    ],
    command: () => {
      const { expectedVersion, statusDetails } =
        /** @type {{ expectedVersion?: number, statusDetails?: Record<string, string> }} */ (body());
      return [
        `aws iot cancel-job-execution --job-id ${quoted(jobId)} --thing-name ${quoted(thing)}`,
        force && '--force',
        expectedVersion !== undefined && `--expected-version ${expectedVersion}`,
        statusDetails && `--status-details ${quoted(JSON.stringify(statusDetails))}`,
        endpointFlag(endpoint),
      ]
        .filter(Boolean)
        .join(' ');
    },
    run: () => aws.cancelExecution(thing, jobId, force, body()),
  });
}

/** @param {JobView} view @param {boolean} force @param {string} endpoint */
export function cancelJob({ jobId, counts }, force, endpoint) {
  const reason = h('input', {
    name: 'reasonCode',
    maxlength: 128,
    pattern: '[\\p{Upper}\\p{Digit}_]+',
    autocomplete: 'off',
    placeholder: 'ROLLBACK',
  });
  const comment = h('input', { name: 'comment', maxlength: 2028, autocomplete: 'off' });
  const running = counts.IN_PROGRESS ?? 0;
  openForm({
    title: force ? `Force cancel the job ${jobId}` : `Cancel the job ${jobId}`,
    submit: force ? 'Force cancel' : 'Cancel the job',
    danger: true,
    said: `Job ${jobId} is cancelled`,
    fields: [
      h(
        'p',
        { class: 'hint' },
        force
          ? `Ends what is queued (${counts.QUEUED ?? 0}) and what is in progress (${running}).`
          : `Ends what is queued (${counts.QUEUED ?? 0}); what is in progress (${running}) goes on.`,
      ),
      field('Reason code', reason, 'Optional; capitals, digits and _'),
      field('Comment', comment, 'Optional'),
    ],
    command: () =>
      [
        `aws iot cancel-job --job-id ${quoted(jobId)}`,
        force && '--force',
        reason.value && `--reason-code ${quoted(reason.value)}`,
        comment.value && `--comment ${quoted(comment.value)}`,
        endpointFlag(endpoint),
      ]
        .filter(Boolean)
        .join(' '),
    run: () =>
      aws.cancelJob(jobId, force, {
        ...(reason.value && { reasonCode: reason.value }),
        ...(comment.value && { comment: comment.value }),
      }),
  });
}

/**
 * @param {{ title: string, what: string, inProgress: boolean, run: (force: boolean) => Promise<unknown>, done: () => void }} options
 */
export function confirmDelete({ title, what, inProgress, run, done }) {
  const force = h('input', { type: 'checkbox', name: 'force', 'data-first': true });
  openForm({
    title,
    submit: 'Delete',
    danger: true,
    said: 'Deleted',
    fields: [
      h('p', null, what),
      h('label', { class: 'check' }, force, 'Also if it is in progress (force)'),
      inProgress && h('p', { class: 'hint' }, 'It is in progress: without force the service refuses.'),
    ],
    run: () => run(force.checked),
    done,
  });
}

/** @param {string} thing @param {() => void} done */
export function deleteThing(thing, done) {
  openForm({
    title: `Delete the thing ${thing}`,
    submit: 'Delete',
    danger: true,
    said: 'Thing deleted',
    fields: [
      h(
        'p',
        { tabindex: -1, 'data-first': true },
        'Its open executions become REMOVED. A connected device stays connected.',
      ),
    ],
    run: () => aws.deleteThing(thing),
    done,
  });
}

/** @type {[string[], string][]} */
const KEYS = [
  [['/'], 'search things and jobs'],
  [['j', 'k'], 'next and previous in the list, or ↓ and ↑'],
  [['Enter'], 'open'],
  [['g'], 'to things, and again to jobs, executions, messages'],
  [['n'], 'new job'],
  [['t'], 'new thing'],
  [['c'], 'cancel what is shown; by force where that is needed'],
  [['f'], 'filter messages'],
  [['p'], 'pause or resume messages'],
  [['Esc'], 'close; clear the search'],
  [['?'], 'this'],
];

export function help() {
  const list = h(
    'dl',
    { class: 'keys' },
    ...KEYS.map(([keys, text]) =>
      h('div', null, h('dt', null, ...keys.map((key) => h('kbd', null, key))), h('dd', null, text)),
    ),
  );
  const dialog = openDialog(
    h(
      'div',
      null,
      h('h2', { id: 'dialog-title' }, 'Keyboard'),
      list,
      h(
        'div',
        { class: 'buttons end' },
        h(
          'button',
          { type: 'button', class: 'primary', autofocus: true, onclick: () => dialog.close() },
          'Close',
        ),
      ),
    ),
    '',
  );
}
