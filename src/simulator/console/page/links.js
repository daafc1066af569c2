// @ts-check

/** The address after `#` names what is shown, so that it can be kept and passed on. */

const part = encodeURIComponent;

export const links = {
  /** @param {string} thing */
  thing: (thing) => `#/things/${part(thing)}`,
  /** @param {string} jobId */
  job: (jobId) => `#/jobs/${part(jobId)}`,
  /** @param {string} thing @param {string} jobId @param {number} number */
  execution: (thing, jobId, number) => `#/executions/${part(thing)}/${part(jobId)}/${number}`,
};

/**
 * @typedef {{ kind: 'home' }
 *   | { kind: 'thing', thing: string }
 *   | { kind: 'job', jobId: string }
 *   | { kind: 'execution', thing: string, jobId: string, number: string }} Route
 */

/**
 * @param {string} hash
 * @returns {Route}
 */
export function routeOf(hash) {
  let parts = ['', ''];
  try {
    parts = hash.replace(/^#\//, '').split('/').map(decodeURIComponent);
  } catch {
    return { kind: 'home' };
  }
  const [kind, a = '', b = '', c = ''] = parts;
  if (kind === 'things' && a !== '') return { kind: 'thing', thing: a };
  if (kind === 'jobs' && a !== '') return { kind: 'job', jobId: a };
  if (kind === 'executions' && b !== '') return { kind: 'execution', thing: a, jobId: b, number: c || '1' };
  return { kind: 'home' };
}
