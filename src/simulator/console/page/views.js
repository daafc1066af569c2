// @ts-check
import { badge, command, copyButton, h, pretty, prettyText, quoted, time } from './dom.js';

/** What the detail pane shows of a thing, of a job, and where nothing is chosen yet. */

/**
 * @typedef {import('../views.ts').Overview} Overview
 * @typedef {import('../views.ts').ThingView} ThingView
 * @typedef {import('../views.ts').JobView} JobView
 * @typedef {import('../views.ts').ExecutionView} ExecutionView
 */

/** @param {[string, Node | string | number | undefined | false][]} pairs */
export function facts(pairs) {
  const shown = pairs.filter(([, value]) => value !== undefined && value !== false && value !== '');
  return h(
    'dl',
    { class: 'facts' },
    ...shown.map(([name, value]) => h('div', null, h('dt', null, name), h('dd', null, value ?? ''))),
  );
}

/** @param {boolean} connected */
export function link(connected) {
  return h(
    'span',
    { class: 'presence', 'data-connected': connected },
    h('span', { 'aria-hidden': 'true' }, connected ? '●' : '○'),
    connected ? 'connected' : 'not connected',
  );
}

/** @param {string} title @param {string} text @param {boolean} [open] */
export function source(title, text, open = false) {
  return h(
    'details',
    { class: 'source', open },
    h('summary', null, title),
    h(
      'div',
      { class: 'code' },
      copyButton('Copy', () => text, `Copy ${title}`),
      h('pre', { tabindex: 0 }, text),
    ),
  );
}

/** @param {string | undefined} condition */
export function condition(condition) {
  return condition && h('span', { class: 'condition', 'data-condition': condition }, condition);
}

/** @param {Overview} overview */
export function home(overview) {
  const thing = 'my-thing';
  const steps = [
    h(
      'li',
      { 'data-done': overview.things > 0 },
      h('h3', null, 'Create a thing'),
      h('p', null, 'With the button above, or as you would at AWS:'),
      command(`aws iot create-thing --thing-name ${thing} --endpoint-url ${overview.httpUrl}`),
    ),
    h(
      'li',
      { 'data-done': overview.connected > 0 },
      h('h3', null, 'Connect a device'),
      h(
        'p',
        null,
        `Your own agent, by MQTT to `,
        h('code', null, overview.mqttUrl),
        ' with the thing’s name as client id; or this one:',
      ),
      command(evenkeelRun(thing, overview.mqttUrl)),
    ),
    h(
      'li',
      { 'data-done': overview.jobs > 0 },
      h('h3', null, 'Create a job, and cancel it'),
      h(
        'p',
        null,
        'Press ',
        h('kbd', null, 'n'),
        ' for a new job. Open its execution and press ',
        h('kbd', null, 'c'),
        ' while it runs: the timeline shows what your agent makes of a forced cancel.',
      ),
    ),
  ];
  return [
    h('h2', null, overview.things === 0 ? 'AWS IoT Jobs, on this machine' : 'Choose a thing or a job'),
    h(
      'p',
      { class: 'lead' },
      'Whatever devices and scripts do here is shown while it happens. ',
      h('kbd', null, '?'),
      ' lists the keys.',
    ),
    h('ol', { class: 'steps' }, ...steps),
  ];
}

/**
 * A configuration of its own, beside wherever it is pasted: the state directory must be an absolute path.
 * @param {string} thing
 * @param {string} mqttUrl
 */
function evenkeelRun(thing, mqttUrl) {
  const config = `thing: "${thing}"\\nconnection: {url: "${mqttUrl}"}\\nstate: {directory: "%s/state"}\\n`;
  return `printf ${quoted(config)} "$PWD" > evenkeel.yaml && evenkeel run -c evenkeel.yaml`;
}

/**
 * @param {ThingView} view
 * @param {{ filterTrace: (search: string) => void, newJob: (thing: string) => void, deleteThing: (thing: string) => void }} act
 * @param {string} mqttUrl
 */
export function thingView(view, act, mqttUrl) {
  const { thing, connected, shadows } = view;
  const title = (/** @type {string} */ name) => (name === '' ? 'Unnamed shadow' : `Shadow “${name}”`);
  return {
    head: [
      h('p', { class: 'kind' }, 'Thing'),
      h('h2', null, thing, ' ', link(connected), ' ', condition(view.condition)),
      h(
        'div',
        { class: 'buttons' },
        h('button', { type: 'button', onclick: () => act.newJob(thing) }, 'New job for it'),
        h('button', { type: 'button', onclick: () => act.filterTrace(thing) }, 'Its messages'),
        h('button', { type: 'button', class: 'danger', onclick: () => act.deleteThing(thing) }, 'Delete…'),
      ),
    ],
    body: [
      !connected && h('h3', null, 'Connect it'),
      !connected &&
        h(
          'p',
          { class: 'lead' },
          'By MQTT to ',
          h('code', null, mqttUrl),
          ' with its name as client id; or with the agent:',
        ),
      !connected && command(evenkeelRun(thing, mqttUrl)),
      h('h3', null, 'Shadows'),
      ...(shadows.length === 0
        ? [h('p', { class: 'empty' }, 'None yet. An agent writes its receipts to the shadow “evenkeel”.')]
        : shadows.map((one) =>
            source(
              `${title(one.name)}, version ${one.version}`,
              pretty(one.state) ?? '',
              one.name === 'evenkeel',
            ),
          )),
    ],
  };
}

/**
 * @param {JobView} view
 * @param {{ cancelJob: (view: JobView, force: boolean) => void, deleteJob: (view: JobView) => void, filterTrace: (search: string) => void }} act
 */
export function jobView(view, act) {
  const open = view.status === 'IN_PROGRESS';
  return {
    head: [
      h('p', { class: 'kind' }, 'Job'),
      h('h2', null, view.jobId, ' ', badge(view.status)),
      view.description && h('p', { class: 'lead' }, view.description),
      h(
        'div',
        { class: 'buttons' },
        open && h('button', { type: 'button', onclick: () => act.cancelJob(view, false) }, 'Cancel…'),
        open &&
          h(
            'button',
            { type: 'button', class: 'danger', onclick: () => act.cancelJob(view, true) },
            'Force cancel…',
          ),
        h('button', { type: 'button', onclick: () => act.filterTrace(view.jobId) }, 'Its messages'),
        h('button', { type: 'button', class: 'danger', onclick: () => act.deleteJob(view) }, 'Delete…'),
      ),
      facts([
        ['created', time(view.createdAt * 1000)],
        ['completed', view.completedAt !== undefined && time(view.completedAt * 1000)],
        ['selection', view.targetSelection],
        ['not yet rolled out', view.waiting !== undefined && `${view.waiting} things`],
        [
          'timeout',
          view.inProgressTimeoutInMinutes !== undefined &&
            `${view.inProgressTimeoutInMinutes} min in progress`,
        ],
        ['cancelled', view.forceCanceled && 'by force'],
        ['reason', view.reasonCode],
        ['comment', view.comment],
      ]),
    ],
    body: [source('Job document', prettyText(view.document), true)],
  };
}
