// @ts-check

/**
 * What the page reads is the console's; what it does are AWS's own operations, sent to the same port as `aws` sends
 * them, so that a refusal is the one that a script would get.
 */

/**
 * @typedef {import('../views.ts').Overview} Overview
 * @typedef {import('../views.ts').ThingRow} ThingRow
 * @typedef {import('../views.ts').JobRow} JobRow
 * @typedef {import('../views.ts').ExecutionRow} ExecutionRow
 * @typedef {import('../views.ts').ThingView} ThingView
 * @typedef {import('../views.ts').JobView} JobView
 * @typedef {import('../views.ts').ExecutionView} ExecutionView
 * @typedef {import('../trace-view.ts').TraceRow} TraceRow
 * @typedef {import('../live.ts').Batch} Batch
 * @typedef {{ key: string, description?: string, regex?: string, example?: string, optional?: boolean }} TemplateParameter
 * @typedef {{ templateName: string, templateArn: string, templateVersion?: string, description?: string,
 *   documentParameters?: TemplateParameter[], document?: string }} Template
 */

/** An answer that is no success, in the service's words. */
export class Refused extends Error {
  /**
   * @param {string} name
   * @param {string} message
   * @param {number} status
   */
  constructor(name, message, status) {
    super(message);
    this.name = name;
    this.status = status;
  }
}

/**
 * @param {string} method
 * @param {string} path
 * @param {object} [body]
 * @returns {Promise<any>}
 */
async function request(method, path, body) {
  const { response, text } = await answerTo(path, {
    method,
    ...(body && { body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' } }),
  });
  /** @type {any} */
  let answer = {};
  try {
    answer = text === '' ? {} : JSON.parse(text);
  } catch {
    answer = { message: text };
  }
  if (response.ok) return answer;
  const name = response.headers.get('x-amzn-ErrorType')?.split(':')[0] ?? `HTTP ${response.status}`;
  throw new Refused(name, answer.message ?? '', response.status);
}

/**
 * The simulator may end before its answer, and in the middle of it.
 * @param {string} path
 * @param {RequestInit} init
 */
async function answerTo(path, init) {
  try {
    const response = await fetch(path, init);
    return { response, text: await response.text() };
  } catch {
    throw new Refused('Unreachable', 'the simulator does not answer; is it still running?', 0);
  }
}

const part = encodeURIComponent;
const BASE = '/_simulator/console';

/** @param {Record<string, string | number | undefined>} query */
function queryOf(query) {
  const set = Object.entries(query).filter(([, value]) => value !== undefined && value !== '');
  return new URLSearchParams(set.map(([name, value]) => [name, String(value)])).toString();
}

export const read = {
  /** @returns {Promise<Overview>} */
  overview: () => request('GET', `${BASE}/overview`),
  /**
   * @param {'things' | 'jobs' | 'executions'} list
   * @param {Record<string, string | number | undefined>} query
   */
  list: (list, query) => request('GET', `${BASE}/${list}?${queryOf(query)}`),
  /** @param {string} thing @returns {Promise<ThingView>} */
  thing: (thing) => request('GET', `${BASE}/things/${part(thing)}`),
  /** @param {string} job @returns {Promise<JobView>} */
  job: (job) => request('GET', `${BASE}/jobs/${part(job)}`),
  /** @param {string} thing @param {string} job @param {string} number @returns {Promise<ExecutionView>} */
  execution: (thing, job, number) =>
    request('GET', `${BASE}/executions/${part(thing)}/${part(job)}/${part(number)}`),
  /** @param {string} search @returns {Promise<{ items: TraceRow[] }>} */
  trace: (search) => request('GET', `${BASE}/trace?${queryOf({ search })}`),
  /** @param {number} sequence @returns {Promise<{ payload: string }>} */
  payload: (sequence) => request('GET', `${BASE}/trace/${sequence}`),
};

export const aws = {
  /** @param {string} thing */
  createThing: (thing) => request('POST', `/things/${part(thing)}`, {}),
  /** @param {string} thing */
  deleteThing: (thing) => request('DELETE', `/things/${part(thing)}`),
  /** @param {string} jobId @param {object} job */
  createJob: (jobId, job) => request('PUT', `/jobs/${part(jobId)}`, job),
  /** @param {string} jobId @param {boolean} force @param {object} reasons */
  cancelJob: (jobId, force, reasons) =>
    request('PUT', `/jobs/${part(jobId)}/cancel${forced(force)}`, reasons),
  /** @param {string} jobId @param {boolean} force */
  deleteJob: (jobId, force) => request('DELETE', `/jobs/${part(jobId)}${forced(force)}`),
  /** @param {string} thing @param {string} jobId @param {boolean} force @param {object} body */
  cancelExecution: (thing, jobId, force, body) =>
    request('PUT', `/things/${part(thing)}/jobs/${part(jobId)}/cancel${forced(force)}`, body),
  /** @param {string} thing @param {string} jobId @param {number} number @param {boolean} force */
  deleteExecution: (thing, jobId, number, force) =>
    request('DELETE', `/things/${part(thing)}/jobs/${part(jobId)}/executionNumber/${number}${forced(force)}`),
  /** @returns {Promise<{ managedJobTemplates?: Template[] }>} */
  templates: () => request('GET', '/managed-job-templates?maxResults=250'),
  /** @param {string} name @returns {Promise<Template>} */
  template: (name) => request('GET', `/managed-job-templates/${part(name)}`),
};

/** @param {boolean} force */
function forced(force) {
  return force ? '?force=true' : '';
}

/**
 * @param {{ hello: () => void, batch: (batch: Batch) => void, lost: () => void }} on
 * @param {string} search
 */
export function listen(on, search) {
  const source = new EventSource(`/_simulator/events?${queryOf({ search })}`);
  source.addEventListener('hello', () => on.hello());
  source.addEventListener('batch', (event) => on.batch(JSON.parse(event.data)));
  source.addEventListener('error', () => on.lost());
  return source;
}
