// @ts-check
import { aws, listen, read } from './api.js';
import { cancelExecution, cancelJob, confirmDelete, deleteThing, help, newThing } from './dialogs.js';
import { announce, badge, byId, h, render, syncClock, tickTimes, time } from './dom.js';
import { executionView, isOpen } from './execution.js';
import { listenToKeys } from './keyboard.js';
import { links, routeOf } from './links.js';
import { List } from './list.js';
import { newJob } from './new-job.js';
import { TracePane } from './trace.js';
import { condition, home, jobView, link, thingView } from './views.js';

/**
 * @typedef {import('./api.js').ThingRow} ThingRow
 * @typedef {import('./api.js').JobRow} JobRow
 * @typedef {import('./api.js').ExecutionRow} ExecutionRow
 * @typedef {import('./api.js').Batch} Batch
 */

const STATUSES = [
  'QUEUED',
  'IN_PROGRESS',
  'SUCCEEDED',
  'FAILED',
  'REJECTED',
  'TIMED_OUT',
  'REMOVED',
  'CANCELED',
];

let route = routeOf(location.hash);
let search = '';
/** @type {import('./api.js').Overview | undefined} */
let overview;
/** What the detail shows. @type {{ kind: string, view: any } | undefined} */
let shown;

const things = new List(byId('things'), {
  label: 'Things',
  fetch: (offset, limit) => read.list('things', { search, offset, limit }),
  key: (/** @type {ThingRow} */ { thing }) => thing,
  row: (one) => [
    h('span', { class: 'name' }, one.thing),
    h('span', { class: 'under' }, link(one.connected), queueOf(one), condition(one.condition)),
  ],
  open: ({ thing }) => go(links.thing(thing)),
  empty: () => [
    search === ''
      ? h(
          'p',
          null,
          'No things yet. ',
          h('button', { type: 'button', class: 'inline', onclick: openNewThing }, 'Create one'),
        )
      : h('p', null, `No thing has “${search}” in its name.`),
  ],
  count: (total) => count('things', total),
});

const jobs = new List(byId('jobs'), {
  label: 'Jobs',
  fetch: (offset, limit) => read.list('jobs', { search, offset, limit }),
  key: (/** @type {JobRow} */ { jobId }) => jobId,
  row: (one) => [
    h('span', { class: 'name' }, one.jobId, time(one.createdAt * 1000)),
    h('span', { class: 'under' }, badge(one.status), countsOf(one)),
  ],
  open: ({ jobId }) => void openJob(jobId),
  empty: () => [
    search === ''
      ? h(
          'p',
          null,
          'No jobs yet. ',
          h('button', { type: 'button', class: 'inline', onclick: () => openNewJob() }, 'Create one'),
        )
      : h('p', null, `No job has “${search}” in its id.`),
  ],
  count: (total) => count('jobs', total),
});

const executions = new List(byId('executions'), {
  label: 'Executions',
  fetch: (offset, limit) =>
    read.list('executions', { ...executionsOf(), status: statusFilter().value, offset, limit }),
  key: (/** @type {ExecutionRow} */ { key }) => key,
  row: (one) => [
    h(
      'span',
      { class: 'name' },
      route.kind === 'thing' ? one.jobId : one.thing,
      one.executionNumber > 1 ? ` #${one.executionNumber}` : '',
    ),
    h(
      'span',
      { class: 'under' },
      badge(one.status),
      `version ${one.versionNumber}`,
      one.outcome && h('span', { class: 'outcome' }, one.outcome),
      time(one.lastUpdatedAt * 1000),
    ),
  ],
  open: ({ thing, jobId, executionNumber }) => go(links.execution(thing, jobId, executionNumber)),
  empty: () => [h('p', null, statusFilter().value === '' ? 'None.' : `None is ${statusFilter().value}.`)],
  count: (total) => count('executions', total),
});

/** The list that `j` and `k` move in. @type {{ step: (by: number) => void, focus: () => void, openActive?: () => void }} */
let activeList = things;

const trace = new TracePane(() => connect());

/** @param {ThingRow} row */
function queueOf({ queued, inProgress }) {
  const parts = [inProgress > 0 && `${inProgress} in progress`, queued > 0 && `${queued} queued`].filter(
    Boolean,
  );
  return parts.length > 0 && h('span', null, parts.join(', '));
}

/** @param {JobRow} row */
function countsOf({ counts }) {
  const entries = STATUSES.flatMap((status) => {
    const n = counts[/** @type {keyof typeof counts} */ (status)] ?? 0;
    return n > 0 ? [`${n} ${status.toLowerCase().replace('_', ' ')}`] : [];
  });
  return h('span', { class: 'counts' }, entries.join(', '));
}

function executionsOf() {
  if (route.kind === 'thing') return { thing: route.thing };
  return { job: route.kind === 'job' ? route.jobId : '' };
}

const statusFilter = () => /** @type {HTMLSelectElement} */ (byId('executions-status'));

/** @param {string} list @param {number} total */
function count(list, total) {
  byId(`${list}-count`).textContent = String(total);
}

/** @param {string} hash */
function go(hash) {
  if (location.hash === hash) void showRoute();
  else location.hash = hash;
  showPane('detail');
}

/** A job with one execution opens at it: that is where the timeline is. @param {string} jobId */
async function openJob(jobId) {
  // Where nobody answers, the job itself is what to show as soon as somebody does.
  const { items } = await read.list('executions', { job: jobId, limit: 2 }).catch(() => ({ items: [] }));
  const [only, other] = items;
  if (only && !other) go(links.execution(only.thing, only.jobId, only.executionNumber));
  else go(links.job(jobId));
}

const act = {
  cancelExecution: (/** @type {import('./api.js').ExecutionView} */ view, /** @type {boolean} */ force) =>
    cancelExecution(view, force, endpoint()),
  cancelJob: (/** @type {import('./api.js').JobView} */ view, /** @type {boolean} */ force) =>
    cancelJob(view, force, endpoint()),
  deleteExecution: (
    /** @type {import('./api.js').ExecutionView} */ { thing, jobId, executionNumber, status },
  ) =>
    confirmDelete({
      title: 'Delete the execution',
      what: `${jobId} on ${thing}, number ${executionNumber}, is forgotten by the service.`,
      inProgress: status === 'IN_PROGRESS',
      run: (force) => aws.deleteExecution(thing, jobId, executionNumber, force),
      done: () => go(links.job(jobId)),
    }),
  deleteJob: (/** @type {import('./api.js').JobView} */ { jobId, status }) =>
    confirmDelete({
      title: `Delete the job ${jobId}`,
      what: 'The job and all its executions are forgotten by the service.',
      inProgress: status === 'IN_PROGRESS',
      run: (force) => aws.deleteJob(jobId, force),
      done: () => go('#/'),
    }),
  deleteThing: (/** @type {string} */ thing) => deleteThing(thing, () => go('#/')),
  filterTrace: (/** @type {string} */ text) => {
    trace.setFilter(text);
    showPane('trace');
    announce(`Messages with ${text}`);
  },
  newJob: (/** @type {string} */ thing) => openNewJob(thing),
};

const endpoint = () => overview?.httpUrl ?? location.origin;

function openNewThing() {
  newThing(endpoint(), (thing) => go(links.thing(thing)));
}

/** @param {string} [thing] */
function openNewJob(thing) {
  const current = route.kind === 'thing' || route.kind === 'execution' ? route.thing : undefined;
  newJob({
    endpoint: endpoint(),
    arnPrefix: () => overview?.thingArnPrefix,
    thing: thing ?? current,
    done: (jobId) => void openJob(jobId),
  });
}

let loading = false;
let loadAgain = false;

/** Shows what the address names; asked for again while an answer is under way, it looks once more afterwards. */
async function showRoute() {
  if (loading) {
    loadAgain = true;
    return;
  }
  loading = true;
  do {
    loadAgain = false;
    const wanted = route;
    try {
      const view = await viewOf(wanted);
      if (wanted === route) draw(wanted, view);
    } catch (error) {
      if (wanted === route) drawMissing(wanted, error);
    }
  } while (loadAgain);
  loading = false;
}

/** @param {import('./links.js').Route} wanted @returns {Promise<any>} */
function viewOf(wanted) {
  if (wanted.kind === 'thing') return read.thing(wanted.thing);
  if (wanted.kind === 'job') return read.job(wanted.jobId);
  if (wanted.kind === 'execution') return read.execution(wanted.thing, wanted.jobId, wanted.number);
  return read.overview();
}

/** @param {import('./links.js').Route} wanted @param {any} view */
function draw(wanted, view) {
  if (
    wanted.kind === 'execution' &&
    shown?.kind === 'execution' &&
    shown.view.key === view.key &&
    shown.view.status !== view.status
  ) {
    announce(`${view.jobId} on ${view.thing} is ${view.status}`);
  }
  shown = { kind: wanted.kind, view };
  const parts =
    wanted.kind === 'thing'
      ? thingView(view, act, overview?.mqttUrl ?? '')
      : wanted.kind === 'job'
        ? jobView(view, act)
        : wanted.kind === 'execution'
          ? executionView(view, act)
          : { head: home(view), body: [] };
  // A key of its own keeps one thing's focus and open parts from another's.
  const key = JSON.stringify(wanted);
  render(byId('detail-head'), h('div', { 'data-key': key }, ...parts.head));
  render(byId('detail-body'), h('div', { 'data-key': key }, ...parts.body));
  byId('detail-list').hidden = wanted.kind !== 'thing' && wanted.kind !== 'job';
  document.title = `${titleOf(wanted)}Evenkeel simulator`;
}

/** @param {import('./links.js').Route} wanted */
function titleOf(wanted) {
  if (wanted.kind === 'thing') return `${wanted.thing} – `;
  if (wanted.kind === 'job') return `${wanted.jobId} – `;
  return wanted.kind === 'execution' ? `${wanted.jobId} on ${wanted.thing} – ` : '';
}

/** @param {import('./links.js').Route} wanted @param {unknown} error */
function drawMissing(wanted, error) {
  // A link that is down is said at the top; what is shown stays.
  if (!(error instanceof Error && 'status' in error && error.status === 404)) return;
  shown = undefined;
  render(
    byId('detail-head'),
    h(
      'div',
      { 'data-key': `missing ${JSON.stringify(wanted)}` },
      h('h2', null, 'Not here'),
      h(
        'p',
        { class: 'lead' },
        `There is ${error.message}. It may have been deleted, or the simulator was started anew.`,
      ),
      h('p', null, h('a', { href: '#/' }, 'Back to the start')),
    ),
  );
  render(byId('detail-body'));
  byId('detail-list').hidden = true;
}

function onRoute() {
  route = routeOf(location.hash);
  things.select(route.kind === 'thing' || route.kind === 'execution' ? route.thing : '');
  jobs.select(route.kind === 'job' || route.kind === 'execution' ? route.jobId : '');
  statusFilter().value = '';
  if (route.kind === 'thing' || route.kind === 'job') executions.reset();
  byId('detail').scrollTop = 0;
  void showRoute();
}

async function refreshOverview() {
  try {
    overview = await read.overview();
    syncClock(overview.nowMs);
  } catch {
    // The link says so at the top of the page; what was known stays known.
  }
}

/** @param {Batch} batch */
function onBatch({ changed, trace: rows, skipped }) {
  trace.add(rows, skipped);
  const has = (/** @type {'thing' | 'job' | 'execution'} */ kind) =>
    changed === null || changed[kind].length > 0;
  if (has('thing')) void things.refresh();
  if (has('job')) void jobs.refresh();
  const listed = route.kind === 'thing' || route.kind === 'job';
  if (listed && has('execution')) void executions.refresh();
  if (concerns(changed)) void showRoute();
}

/** @param {Batch['changed']} changed */
function concerns(changed) {
  if (changed === null || route.kind === 'home') return true;
  if (route.kind === 'thing') return changed.thing.includes(route.thing);
  if (route.kind === 'job') return changed.job.includes(route.jobId);
  return (
    changed.execution.includes(`${route.thing}/${route.jobId}/${route.number}`) ||
    changed.thing.includes(route.thing)
  );
}

/** @type {EventSource | undefined} */
let stream;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let revival;

/** Opens the stream anew, with the present filter; all that is shown is read again, since something may have been missed. */
function connect() {
  stream?.close();
  clearTimeout(revival);
  const mine = listen(
    {
      hello: () => {
        setLink('live', 'Live');
        void refreshOverview().then(refreshAll);
      },
      batch: onBatch,
      lost: () => {
        setLink('lost', 'Not connected, trying again…');
        // A refused stream is not tried again by the browser itself.
        if (mine.readyState === EventSource.CLOSED) revival = setTimeout(connect, 2000);
      },
    },
    trace.search,
  );
  stream = mine;
}

function refreshAll() {
  void things.refresh();
  void jobs.refresh();
  if (!byId('detail-list').hidden) void executions.refresh();
  void showRoute();
  void trace.load();
}

/** @param {string} state @param {string} text */
function setLink(state, text) {
  const element = byId('link');
  if (element.dataset['state'] === state) return;
  element.dataset['state'] = state;
  render(element, h('span', null, text));
  if (state === 'lost') announce(text);
}

/** @param {string} pane */
function showPane(pane) {
  document.body.dataset['pane'] = pane;
  for (const button of document.querySelectorAll('.panes button')) {
    button.setAttribute('aria-pressed', String(button.getAttribute('data-pane') === pane));
  }
}

function cycleLists() {
  const listed = route.kind === 'thing' || route.kind === 'job';
  /** @type {(typeof activeList)[]} */
  const lists = [things, jobs, ...(listed ? [executions] : [])].filter(({ total }) => total > 0);
  const all = [...lists, trace];
  const at = all.indexOf(activeList);
  const here =
    document.activeElement instanceof HTMLElement && document.activeElement.closest('.list-box, .rows');
  const next = all[here ? (at + 1) % all.length : Math.max(0, at)];
  if (!next) return;
  activeList = next;
  showPane(next === trace ? 'trace' : next === executions ? 'detail' : 'lists');
  next.focus();
}

function cancelShown() {
  if (shown?.kind === 'execution' && isOpen(shown.view.status))
    act.cancelExecution(shown.view, shown.view.status === 'IN_PROGRESS');
  else if (shown?.kind === 'job' && shown.view.status === 'IN_PROGRESS')
    act.cancelJob(shown.view, (shown.view.counts.IN_PROGRESS ?? 0) > 0);
  else announce('Nothing that is shown can be cancelled');
}

const searchBox = /** @type {HTMLInputElement} */ (byId('search'));

/** @type {Record<string, () => void>} */
const SHORTCUTS = {
  '/': () => {
    showPane('lists');
    searchBox.focus();
    searchBox.select();
  },
  f: () => {
    showPane('trace');
    trace.filter.focus();
    trace.filter.select();
  },
  j: () => activeList.step(1),
  k: () => activeList.step(-1),
  Enter: () => activeList.openActive?.(),
  g: cycleLists,
  n: () => openNewJob(),
  t: openNewThing,
  c: cancelShown,
  p: () => trace.togglePause(),
  '?': help,
};

function start() {
  render(
    statusFilter(),
    h('option', { value: '' }, 'All'),
    ...STATUSES.map((status) => h('option', { value: status }, status)),
  );
  statusFilter().onchange = () => executions.reset();
  searchBox.oninput = () => {
    search = searchBox.value.trim();
    things.reset();
    jobs.reset();
  };
  byId('new-thing').onclick = openNewThing;
  byId('new-job').onclick = () => openNewJob();
  byId('help').onclick = help;
  for (const button of document.querySelectorAll('.panes button')) {
    /** @type {HTMLElement} */ (button).onclick = () => showPane(button.getAttribute('data-pane') ?? 'lists');
  }
  for (const list of [things, jobs, executions])
    list.box.addEventListener('focus', () => {
      activeList = list;
    });
  trace.rows.addEventListener('focusin', () => {
    activeList = trace;
  });
  addEventListener('hashchange', onRoute);
  listenToKeys(SHORTCUTS, searchBox, () => {
    activeList = things.total > 0 ? things : jobs;
    activeList.focus();
  });
  setInterval(tickTimes, 1000);
  showPane(route.kind === 'home' ? 'lists' : 'detail');
  onRoute();
  connect();
}

start();
