// @ts-check
import { aws, read } from './api.js';
import { field, openForm } from './dialogs.js';
import { h, quoted, render } from './dom.js';

/**
 * @typedef {import('./api.js').Template} Template
 * @typedef {import('./api.js').TemplateParameter} TemplateParameter
 */

const EXAMPLE = `{
  "version": "1.0",
  "steps": [
    {
      "action": {
        "name": "hello",
        "type": "runCommand",
        "input": { "command": "sleep,30" }
      }
    }
  ]
}`;

/**
 * A job from a document or from one of AWS's managed templates, whose parameters make the form.
 * Targets are ARNs, and what they begin with is the simulator's to say, as soon as it answers.
 * @param {{ endpoint: string, arnPrefix: () => string | undefined, thing?: string | undefined, done: (jobId: string, things: string[]) => void }} options
 */
export function newJob({ endpoint, arnPrefix, thing, done }) {
  const jobId = h('input', {
    name: 'jobId',
    required: true,
    maxlength: 64,
    pattern: '[a-zA-Z0-9_\\-]+',
    value: freshId(),
    autocomplete: 'off',
    spellcheck: 'false',
  });
  const targets = targetPicker(thing);
  const documentText = h('textarea', { name: 'document', rows: 12, spellcheck: 'false', class: 'code' });
  documentText.value = EXAMPLE;
  documentText.oninput = () => documentText.setCustomValidity(jsonProblem(documentText.value));
  const description = h('input', { name: 'description', maxlength: 2028, autocomplete: 'off' });
  const minutes = h('input', { type: 'number', name: 'minutes', min: 1, max: 10_080, class: 'short' });
  const template = templatePicker(() => form.refreshCommand());
  const byDocument = h('input', { type: 'radio', name: 'source', value: 'document', checked: true });
  const byTemplate = h('input', { type: 'radio', name: 'source', value: 'template' });
  const documentField = field('Job document', documentText);
  const onSource = () => {
    documentField.hidden = byTemplate.checked;
    documentText.disabled = byTemplate.checked;
    template.show(byTemplate.checked);
    form.refreshCommand();
  };
  byDocument.onchange = onSource;
  byTemplate.onchange = onSource;
  const job = () => ({
    targets: targets.values().map((one) => (one.startsWith('arn:') ? one : `${arnPrefix() ?? ''}${one}`)),
    ...(byTemplate.checked ? template.values() : { document: documentText.value }),
    ...(description.value && { description: description.value }),
    ...(minutes.value && { timeoutConfig: { inProgressTimeoutInMinutes: Number(minutes.value) } }),
  });
  const form = openForm({
    title: 'New job',
    submit: 'Create job',
    said: 'Job created',
    wide: true,
    fields: [
      h('div', { class: 'columns' }, field('Job id', jobId), targets.element),
      h(
        'fieldset',
        { class: 'choice' },
        h('legend', null, 'From'),
        h('label', { class: 'check' }, byDocument, 'a document'),
        h('label', { class: 'check' }, byTemplate, 'an AWS managed template'),
      ),
      documentField,
      template.element,
      h(
        'div',
        { class: 'columns' },
        field('Description', description, 'Optional'),
        field('Times out in progress after (minutes)', minutes, 'Optional'),
      ),
    ],
    command: () => createCommand(jobId.value, job(), endpoint),
    run: () => {
      targets.commit();
      return aws.createJob(jobId.value, job());
    },
    done: () => done(jobId.value, targets.values()),
  });
  targets.onChange(() => form.refreshCommand());
}

function freshId() {
  const now = new Date();
  const two = (/** @type {number} */ n) => String(n).padStart(2, '0');
  return `job-${two(now.getHours())}${two(now.getMinutes())}${two(now.getSeconds())}`;
}

/** @param {string} text */
function jsonProblem(text) {
  try {
    JSON.parse(text);
    return '';
  } catch (error) {
    return error instanceof Error ? error.message : 'no JSON';
  }
}

/**
 * @param {string} jobId
 * @param {Record<string, any>} job
 * @param {string} endpoint
 */
function createCommand(jobId, job, endpoint) {
  return [
    `aws iot create-job --job-id ${quoted(jobId)}`,
    `--targets ${job['targets'].map(quoted).join(' ')}`,
    job['document'] !== undefined && `--document ${quoted(oneLine(job['document']))}`,
    job['jobTemplateArn'] && `--job-template-arn ${quoted(job['jobTemplateArn'])}`,
    job['documentParameters'] && `--document-parameters ${quoted(JSON.stringify(job['documentParameters']))}`,
    job['description'] && `--description ${quoted(job['description'])}`,
    job['timeoutConfig'] && `--timeout-config ${quoted(JSON.stringify(job['timeoutConfig']))}`,
    `--endpoint-url ${endpoint}`,
  ]
    .filter(Boolean)
    .join(' ');
}

/** @param {string} text */
function oneLine(text) {
  try {
    return JSON.stringify(JSON.parse(text));
  } catch {
    return text;
  }
}

/** Things by name, with what the simulator has as suggestions. @param {string | undefined} first */
function targetPicker(first) {
  /** @type {Set<string>} */
  const chosen = new Set(first === undefined ? [] : [first]);
  /** @type {() => void} */
  let changed = () => undefined;
  const suggestions = h('datalist', { id: 'target-suggestions' });
  const chips = h('ul', { class: 'chips' });
  const input = h('input', {
    name: 'targets',
    list: 'target-suggestions',
    autocomplete: 'off',
    spellcheck: 'false',
    placeholder: 'Name of a thing, then Enter',
    'data-first': true,
  });
  const draw = () => {
    input.setCustomValidity(chosen.size === 0 ? 'choose a thing' : '');
    render(
      chips,
      ...[...chosen].map((name) =>
        h(
          'li',
          { 'data-key': name },
          name,
          h(
            'button',
            {
              type: 'button',
              class: 'quiet small',
              'aria-label': `Remove ${name}`,
              onclick: () => {
                chosen.delete(name);
                draw();
                input.focus();
              },
            },
            '×',
          ),
        ),
      ),
    );
    changed();
  };
  const commit = () => {
    const names = input.value.split(/[\s,]+/).filter(Boolean);
    for (const name of names) chosen.add(name);
    if (names.length > 0) {
      input.value = '';
      draw();
    }
    return names.length > 0;
  };
  input.onkeydown = (event) => {
    if ((event.key === 'Enter' || event.key === ',') && commit()) event.preventDefault();
    if (event.key === 'Backspace' && input.value === '') {
      chosen.delete([...chosen].at(-1) ?? '');
      draw();
    }
  };
  input.onchange = commit;
  input.oninput = async () => {
    const search = input.value;
    // Suggestions are a help: without them the name can still be typed.
    const { items } = await read.list('things', { search, limit: 20 }).catch(() => ({ items: [] }));
    if (search !== input.value) return;
    render(
      suggestions,
      ...items.map((/** @type {{ thing: string }} */ { thing }) => h('option', { value: thing })),
    );
  };
  void input.oninput(new InputEvent('input'));
  draw();
  return {
    element: h('div', { class: 'targets' }, field('Targets', input), suggestions, chips),
    values: () => [...chosen],
    commit,
    /** @param {() => void} listener */
    onChange: (listener) => {
      changed = listener;
    },
  };
}

/** @param {() => void} changed */
function templatePicker(changed) {
  const select = h('select', { name: 'template' });
  const fields = h('div', null);
  const about = h('p', { class: 'hint' });
  const element = h('div', { hidden: true }, field('Template', select), about, fields);
  /** @type {Template | undefined} */
  let chosen;
  const choose = async () => {
    const name = select.value;
    const template = await aws.template(name).catch(() => undefined);
    if (name !== select.value) return;
    chosen = template;
    about.textContent = template?.description ?? '';
    render(fields, ...(template?.documentParameters ?? []).map(parameterField));
    changed();
  };
  select.onchange = () => void choose();
  const load = async () => {
    try {
      const { managedJobTemplates = [] } = await aws.templates();
      render(
        select,
        ...managedJobTemplates.map(({ templateName }) => h('option', { value: templateName }, templateName)),
      );
      await choose();
    } catch (error) {
      about.textContent = `The templates cannot be had: ${error instanceof Error ? error.message : ''}`;
    }
  };
  return {
    element,
    /** @param {boolean} shown */
    show(shown) {
      element.hidden = !shown;
      const controls = /** @type {NodeListOf<HTMLInputElement>} */ (
        element.querySelectorAll('input, select')
      );
      for (const control of controls) control.disabled = !shown;
      if (shown && !chosen) void load();
    },
    values() {
      const inputs = /** @type {HTMLInputElement[]} */ ([...fields.querySelectorAll('input')]);
      const given = inputs.filter(({ value }) => value !== '').map(({ name, value }) => [name, value]);
      return {
        jobTemplateArn: chosen?.templateArn,
        ...(given.length > 0 && { documentParameters: Object.fromEntries(given) }),
      };
    },
  };
}

/** @param {TemplateParameter} parameter */
function parameterField({ key, description, regex, example, optional }) {
  const input = h('input', {
    name: key,
    required: !optional,
    pattern: htmlPattern(regex),
    placeholder: example,
    autocomplete: 'off',
    spellcheck: 'false',
  });
  return h('div', { 'data-key': key }, field(optional ? `${key} (optional)` : key, input, description));
}

/** The template's expression, where the browser can read it. @param {string | undefined} regex */
function htmlPattern(regex) {
  if (!regex) return undefined;
  try {
    new RegExp(regex, 'v');
    return regex;
  } catch {
    return undefined;
  }
}
