import { readFile } from 'node:fs/promises';
import { type Context, Hono } from 'hono';
import { streamSSE } from 'hono/streaming';
import type { TraceEntry } from '../trace.ts';
import { Book, type BookDeps } from './book.ts';
import { PAGE_HEADERS } from './guard.ts';
import { Feed } from './live.ts';
import type { ConsoleTrace } from './trace-view.ts';
import { type ListQuery, Views, type ViewsService } from './views.ts';

/**
 * The web console: the page, what it reads, and the stream of what changes. It only reads; what the page does, it does
 * by the AWS operations of the same port, as `aws` and the SDKs do.
 */

export interface ConsoleDeps extends BookDeps {
  service: BookDeps['service'] & ViewsService;
  shadows: BookDeps['shadows'] & ConstructorParameters<typeof Views>[0]['shadows'];
  trace: ConsoleTrace;
  /** Where devices connect to. */
  mqttUrl: string;
}

export interface Console {
  app: Hono;
  close(): void;
}

const BASE = '/_simulator/console';
const FILES = new URL('./page/', import.meta.url);
const TYPES: Record<string, string> = {
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
};
const LIST_MAX = 200;
/** Open pages; each holds a connection. */
const PAGES_MAX = 64;

export function createConsole(deps: ConsoleDeps): Console {
  const book = new Book(deps);
  const views = new Views({ ...deps, book });
  const feeds = new Set<Feed>();
  const end = new AbortController();
  for (const entry of deps.trace.since(0)) notePresence(book, entry);
  const stopTrace = deps.trace.subscribe((entry) => {
    notePresence(book, entry);
    noteRefusal(book, entry);
    for (const feed of feeds) feed.traced(entry);
  });
  const stopBook = book.onChange((changed) => {
    for (const feed of feeds) feed.changed(changed);
  });
  const app = new Hono();
  files(app);
  reads(app, views);
  app.get('/_simulator/events', (c) => {
    if (feeds.size >= PAGES_MAX) return c.json({ message: 'too many open pages' }, 503);
    return streamSSE(c, async (stream) => {
      const feed = new Feed(deps.clock, c.req.query('search') ?? '');
      const gone = new AbortController();
      stream.onAbort(() => gone.abort());
      feeds.add(feed);
      try {
        await stream.writeSSE({ event: 'hello', data: '{}', retry: 1000 });
        const ended = AbortSignal.any([gone.signal, end.signal]);
        while (!ended.aborted) {
          const batch = await feed.next(ended);
          if (ended.aborted) break;
          await stream.writeSSE({ event: batch ? 'batch' : 'alive', data: JSON.stringify(batch ?? {}) });
        }
      } finally {
        feeds.delete(feed);
      }
    });
  });
  return {
    app,
    close() {
      end.abort();
      stopTrace();
      stopBook();
      book.close();
    },
  };
}

function notePresence({ presence }: Book, entry: TraceEntry): void {
  if (entry.kind === 'connect') presence.connected(entry.client);
  else if (entry.kind === 'disconnect') presence.disconnected(entry.client);
  else if (entry.kind === 'subscribe')
    for (const { filter } of entry.filters) presence.used(entry.client, filter);
  else if (entry.kind === 'message' && entry.direction === 'in') presence.used(entry.client, entry.topic);
}

/** The service does not remember the updates that it refused. */
function noteRefusal(book: Book, entry: TraceEntry): void {
  if (entry.kind !== 'message' || entry.direction !== 'out') return;
  const { topic, payload } = entry;
  const [, thing, jobId] = /^\$aws\/things\/([^/]+)\/jobs\/([^/]+)\/update\/rejected$/.exec(topic) ?? [];
  if (thing === undefined || jobId === undefined) return;
  try {
    const { code, message: text } = JSON.parse(payload) as { code?: unknown; message?: unknown };
    book.refused(thing, jobId, { code: String(code), message: typeof text === 'string' ? text : '' });
  } catch {
    // Not an answer of this service.
  }
}

function files(app: Hono): void {
  const send = async (c: Context, name: string, type: string): Promise<Response> =>
    c.body(await readFile(new URL(name, FILES), 'utf8'), 200, {
      ...PAGE_HEADERS,
      'Content-Type': type,
      'Cache-Control': 'no-cache',
    });
  app.get('/', (c) => send(c, 'page.html', 'text/html; charset=utf-8'));
  // The pattern keeps every other file out of reach.
  app.get(`${BASE}/page/:file{[a-z-]+\\.(?:js|css|svg)}`, async (c) => {
    const file = c.req.param('file');
    try {
      return await send(c, file, TYPES[file.split('.')[1] ?? ''] ?? 'text/plain');
    } catch {
      return c.json({ message: 'no such file' }, 404);
    }
  });
}

function reads(app: Hono, views: Views): void {
  const found = (c: Context, view: object | undefined, what: string): Response => {
    c.header('Cache-Control', 'no-store');
    return view ? c.json(view) : c.json({ message: `no ${what}` }, 404);
  };
  app.get(`${BASE}/overview`, (c) => found(c, views.overview(new URL(c.req.url).origin), ''));
  app.get(`${BASE}/things`, (c) => found(c, views.things(listQuery(c)), ''));
  app.get(`${BASE}/jobs`, (c) => found(c, views.jobs(listQuery(c)), ''));
  app.get(`${BASE}/executions`, (c) => {
    const thing = c.req.query('thing');
    const of = thing === undefined ? { jobId: c.req.query('job') ?? '' } : { thing };
    return found(c, views.executions(of, c.req.query('status') ?? '', listQuery(c)), '');
  });
  app.get(`${BASE}/things/:thing`, (c) => {
    const thing = c.req.param('thing');
    return found(c, views.thing(thing), `thing ${thing}`);
  });
  app.get(`${BASE}/jobs/:job`, (c) => {
    const jobId = c.req.param('job');
    return found(c, views.job(jobId), `job ${jobId}`);
  });
  app.get(`${BASE}/executions/:thing/:job/:number`, (c) => {
    const { thing, job, number } = c.req.param();
    return found(c, views.execution(thing, job, Number(number)), `execution ${number} of ${job} on ${thing}`);
  });
  app.get(`${BASE}/trace`, (c) => found(c, { items: views.trace(c.req.query('search') ?? '') }, ''));
  app.get(`${BASE}/trace/:sequence`, (c) => {
    const payload = views.payload(Number(c.req.param('sequence')));
    return found(c, payload === undefined ? undefined : { payload }, 'such message any more');
  });
}

function listQuery(c: Context): ListQuery {
  const number = (name: string, max: number, otherwise: number): number => {
    const value = Number(c.req.query(name) ?? otherwise);
    return Number.isInteger(value) && value >= 0 ? Math.min(value, max) : otherwise;
  };
  return {
    search: c.req.query('search') ?? '',
    offset: number('offset', Number.MAX_SAFE_INTEGER, 0),
    limit: number('limit', LIST_MAX, 50),
  };
}
