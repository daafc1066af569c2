import { readdir } from 'node:fs/promises';
import { Hono } from 'hono';
import { connectAsync } from 'mqtt';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../../src/host/clock.ts';
import { ownPagesOnly } from '../../../src/simulator/console/guard.ts';
import { HISTORY_ENTRIES_MAX } from '../../../src/simulator/console/history.ts';
import { type Batch, Feed } from '../../../src/simulator/console/live.ts';
import type { ExecutionView, Page, ThingRow } from '../../../src/simulator/console/views.ts';
import { type Simulator, startSimulator } from '../../../src/simulator/index.ts';
import { thingArn } from '../../../src/simulator/service/jobs-service.ts';
import { until } from '../../support/until.ts';

/** What the console answers, and to whom. */

let simulator: Simulator;
beforeEach(async () => {
  simulator = await startSimulator({ clock: systemClock });
});
afterEach(() => simulator.close());

const get = (path: string, headers: Record<string, string> = {}) =>
  fetch(`${simulator.httpUrl}${path}`, { headers });
const read = async <T>(path: string): Promise<T> =>
  (await (await get(`/_simulator/console${path}`)).json()) as T;

const createJob = (jobId: string, things: string[]) =>
  simulator.service.createJob({ jobId, targets: things.map(thingArn), document: '{}' });
const history = async (path: string): Promise<string[]> =>
  (await read<ExecutionView>(`/executions/${path}`)).history.map(
    ({ kind, status, versionNumber }) => `${kind} ${status} v${versionNumber}`,
  );

describe('the files', () => {
  test('every file of the page is served with its type and a strict policy, and asks for nothing from elsewhere', async () => {
    const folder = new URL('../../../src/simulator/console/page/', import.meta.url);
    const types: Record<string, string> = {
      html: 'text/html',
      js: 'text/javascript',
      css: 'text/css',
      svg: 'image/svg',
    };
    for (const file of await readdir(folder)) {
      const answer = await get(file === 'page.html' ? '/' : `/_simulator/console/page/${file}`);
      expect(answer.status, file).toBe(200);
      expect(answer.headers.get('content-type')).toContain(types[file.split('.')[1] ?? '']);
      const policy = answer.headers.get('content-security-policy') ?? '';
      expect(policy).toContain("default-src 'self'");
      expect(policy).not.toMatch(/unsafe|\*|https?:/);
      const text = (await answer.text()).replaceAll('http://www.w3.org/2000/svg', '');
      expect(text, file).not.toMatch(/https?:\/\/|style="|onclick="|innerHTML|insertAdjacentHTML|\beval\b/);
    }
  });

  test('nothing but the files of the page can be asked for', async () => {
    for (const file of ['..%2fbook.ts', '%2e%2e/console-app.ts', 'page.html', 'none.js', 'main.js%00.css']) {
      expect((await get(`/_simulator/console/page/${file}`)).status, file).toBe(404);
    }
  });
});

describe('who may ask', () => {
  const post = (headers: Record<string, string>, path = '/things/mine') =>
    fetch(`${simulator.httpUrl}${path}`, { method: 'POST', headers, body: '{}' });
  const json = { 'content-type': 'application/json' };

  test('a script that is no browser may do everything', async () => {
    expect((await post({})).status).toBe(200);
    expect(simulator.service.hasThing('mine')).toBe(true);
  });

  test('pages of other sites, other ports and rebound names may neither change nor read', async () => {
    const { host } = new URL(simulator.httpUrl);
    const strangers: Record<string, string>[] = [
      { origin: 'http://evil.example' },
      { origin: 'null' },
      { origin: 'http://127.0.0.1:1' },
      { 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'same-site' },
      { origin: `http://${host}`, 'sec-fetch-site': 'cross-site' },
    ];
    for (const headers of strangers) {
      expect((await post({ ...json, ...headers })).status, JSON.stringify(headers)).toBe(403);
      expect((await get('/_simulator/console/things', headers)).status).toBe(403);
      expect((await get('/_simulator/events', headers)).status).toBe(403);
    }
    expect(simulator.service.things()).toEqual([]);
  });

  test('a name that somebody else may point here is not this machine', async () => {
    const app = new Hono().use(ownPagesOnly('simulator')).get('/things', (c) => c.text('mine'));
    const asked = async (host: string): Promise<number> =>
      (await app.request('/things', { headers: { host, 'sec-fetch-site': 'same-origin' } })).status;
    for (const host of [
      'evil.example',
      'evil.example:8080',
      '127.0.0.1.evil.example',
      'localhost.evil.example:1',
    ])
      expect(await asked(host), host).toBe(403);
    for (const host of [
      '127.0.0.1:8080',
      '192.168.1.5:80',
      '[::1]:8080',
      'localhost',
      'a.localhost:1',
      'simulator:8080',
    ])
      expect(await asked(host), host).toBe(200);
    expect((await app.request('/things', { headers: { host: 'evil.example' } })).status).toBe(200);
  });

  test('the page itself may, with a JSON type only; a link from elsewhere may open it', async () => {
    const { host } = new URL(simulator.httpUrl);
    const own = { origin: `http://${host}`, 'sec-fetch-site': 'same-origin' };
    expect((await post({ ...own, 'content-type': 'text/plain' })).status).toBe(403);
    expect((await post({ ...own, ...json })).status).toBe(200);
    expect((await get('/', { 'sec-fetch-site': 'cross-site' })).status).toBe(200);
  });
});

describe('what is read', () => {
  test('lists come by the page, searched and in natural order', async () => {
    for (const name of ['pump-10', 'pump-9', 'Valve-1']) simulator.service.createThing(name);
    const all = await read<Page<ThingRow>>('/things');
    expect(all.items.map(({ thing }) => thing)).toEqual(['pump-9', 'pump-10', 'Valve-1']);
    expect(await read('/things?search=VALVE')).toMatchObject({ total: 1, items: [{ thing: 'Valve-1' }] });
    expect(await read('/things?offset=1&limit=1')).toMatchObject({
      total: 3,
      offset: 1,
      items: [{ thing: 'pump-10' }],
    });
    expect(await read('/things?offset=-1&limit=x')).toMatchObject({ total: 3, offset: 0 });
    expect((await get('/_simulator/console/things/none')).status).toBe(404);
    expect((await get('/_simulator/console/executions/a/b/1')).status).toBe(404);
  });

  test('an execution keeps its history: queued, started, each update, the end, and a retry of its own', async () => {
    simulator.service.createThing('t');
    simulator.service.createJob({
      jobId: 'one',
      targets: [thingArn('t')],
      document: '{}',
      jobExecutionsRetryConfig: { criteriaList: [{ failureType: 'FAILED', numberOfRetries: 1 }] },
    });
    simulator.service.startNext('t', {});
    simulator.service.update('t', 'one', { status: 'IN_PROGRESS', statusDetails: { step: '1' } });
    simulator.service.update('t', 'one', { status: 'FAILED' });
    expect(await history('t/one/1')).toEqual([
      'queued QUEUED v1',
      'started IN_PROGRESS v2',
      'update IN_PROGRESS v3',
      'ended FAILED v4',
    ]);
    expect(await history('t/one/2')).toEqual(['queued QUEUED v1']);
    expect(await read('/executions/t/one/2')).toMatchObject({
      attempts: [{ executionNumber: 1 }, { executionNumber: 2 }],
    });
    expect(await read('/jobs')).toMatchObject({ items: [{ counts: { FAILED: 1, QUEUED: 1 } }] });
    simulator.service.deleteJob('one', true);
    expect((await get('/_simulator/console/executions/t/one/1')).status).toBe(404);
    expect(await read('/executions?thing=t')).toMatchObject({ total: 0 });
  });

  test('a history is bounded: the beginning and the newest stay, and what is left out is counted', async () => {
    simulator.service.createThing('t');
    createJob('long', ['t']);
    for (let n = 0; n < HISTORY_ENTRIES_MAX + 50; n += 1)
      simulator.service.update('t', 'long', { status: 'IN_PROGRESS' });
    const view = await read<ExecutionView>('/executions/t/long/1');
    expect(view.history.length).toBe(HISTORY_ENTRIES_MAX);
    expect(view.historyLeft).toBe(51);
    expect(view.history.slice(0, 2).map(({ kind }) => kind)).toEqual(['queued', 'started']);
    expect(view.history.at(-1)?.versionNumber).toBe(HISTORY_ENTRIES_MAX + 51);
  });

  test('a receipt goes to the execution that it names, once; another shadow is none', async () => {
    simulator.service.createThing('t');
    createJob('one', ['t']);
    createJob('two', ['t']);
    const receipt = { jobId: 'one', executionNumber: 1, outcome: 'rolledBack' };
    simulator.shadows.update('t', 'other', { reported: { receipt } }, 1);
    expect(await history('t/one/1')).toEqual(['queued QUEUED v1']);
    simulator.shadows.update('t', 'evenkeel', { reported: { condition: 'well', receipt } }, 1);
    simulator.shadows.update('t', 'evenkeel', { reported: { condition: 'well', receipt } }, 2);
    expect(await history('t/one/1')).toEqual(['queued QUEUED v1', 'receipt QUEUED v1']);
    expect(await read('/executions/t/one/1')).toMatchObject({ outcome: 'rolledBack', receipt });
    expect(await history('t/two/1')).toEqual(['queued QUEUED v1']);
    expect(await read('/things/t')).toMatchObject({
      condition: 'well',
      shadows: [{ name: 'other' }, { name: 'evenkeel' }],
    });
  });

  test('a thing is connected while a client of its name is, or one that uses its topics', async () => {
    for (const name of ['a', 'b']) simulator.service.createThing(name);
    const connected = async (): Promise<string> =>
      (await read<Page<ThingRow>>('/things')).items
        .filter((one) => one.connected)
        .map(({ thing }) => thing)
        .join();
    expect(await connected()).toBe('');
    const named = await connectAsync(simulator.mqttUrl, { clientId: 'a' });
    await until('a', async () => (await connected()) === 'a');
    const other = await connectAsync(simulator.mqttUrl, { clientId: 'gateway' });
    await other.subscribeAsync('$aws/things/b/jobs/notify-next', { qos: 1 });
    await until('b, too', async () => (await connected()) === 'a,b');
    await other.endAsync();
    await named.endAsync();
    await until('nobody', async () => (await connected()) === '');
  });
});

describe('the stream', () => {
  const feed = (): Feed => new Feed({ ...systemClock, sleep: () => Promise.resolve() }, '');
  const next = async (one: Feed): Promise<Batch | undefined> => one.next(new AbortController().signal);

  test('names what has changed, once', async () => {
    const one = feed();
    for (let n = 0; n < 3; n += 1) one.changed({ kind: 'thing', key: 'a' });
    one.changed({ kind: 'execution', key: 'a/b/1' });
    expect(await next(one)).toEqual({
      changed: { thing: ['a'], job: [], execution: ['a/b/1'] },
      trace: [],
      skipped: 0,
    });
    expect(await next(one)).toBeUndefined();
  });

  test('too many to name are all, and too many messages are counted: a slow page costs nothing', async () => {
    const one = feed();
    for (let n = 0; n < 10_000; n += 1) {
      one.changed({ kind: 'thing', key: String(n) });
      one.traced({ kind: 'unsubscribe', client: 'c', filters: [], sequence: n, wallMs: 0 });
    }
    const batch = await next(one);
    expect(batch?.changed).toBeNull();
    expect(batch?.trace.length).toBe(200);
    expect(batch?.trace.at(-1)?.sequence).toBe(9999);
    expect(batch?.skipped).toBe(9800);
  });

  test('says hello, then what happens; its end leaves nothing behind that keeps the simulator from closing', async () => {
    const end = new AbortController();
    const answer = await fetch(`${simulator.httpUrl}/_simulator/events`, { signal: end.signal });
    const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    const heard = async (what: string): Promise<void> => {
      while (!text.includes(what)) text += (await reader?.read())?.value ?? '';
    };
    await heard('event: hello');
    simulator.service.createThing('pump-1');
    await heard('"thing":["pump-1"]');
    await simulator.close();
    end.abort();
  });
});
