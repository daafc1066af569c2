import { once } from 'node:events';
import * as fs from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Bench, createBench } from './bench.ts';

/** Where a download is redirected to is judged before anything is asked of it. */

let bench: Bench;
let server: Server;
let port: number;
/** The host and the path of every request that came. */
let asked: string[];
beforeEach(async () => {
  asked = [];
  server = createServer((request, response) => {
    const { host = '' } = request.headers;
    const url = new URL(request.url ?? '', `http://${host}`);
    asked.push(`${host.replace(/:.*/, '')}${url.pathname}`);
    const to = url.searchParams.get('to');
    if (to === null) response.end('content');
    else response.writeHead(Number(url.searchParams.get('status') ?? 302), { location: to }).end('moved');
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  ({ port } = server.address() as AddressInfo);
});
afterEach(async () => {
  server.closeAllConnections();
  server.close();
  await bench.remove();
});

async function fetched(to: string, settings: object, status = 302): Promise<string> {
  bench = await createBench(settings);
  const url = `http://127.0.0.1:${port}/first?status=${status}&to=${encodeURIComponent(to)}`;
  const step = bench.step({ type: 'downloadFile', input: { url, path: bench.path('file') } });
  const done = await bench.do(step, await bench.prepare(step));
  if (done.result !== 'ok') return done.reason;
  return await fs.readFile(bench.path('file'), 'utf8');
}

test.each([301, 302, 303, 307, 308])('%i leads on', async (status) => {
  expect(await fetched(`http://localhost:${port}/second`, {}, status)).toBe('content');
  expect(asked).toEqual(['127.0.0.1/first', 'localhost/second']);
});

test('also within a host, and over several hops', async () => {
  expect(await fetched(`/second?to=${encodeURIComponent('third')}`, { allowedHosts: ['127.0.0.1'] })).toBe(
    'content',
  );
  expect(asked).toEqual(['127.0.0.1/first', '127.0.0.1/second', '127.0.0.1/third']);
});

test('a host that is not allowed is asked nothing, not even at the second hop', async () => {
  const settings = { allowedHosts: ['127.0.0.1'] };
  const said = await fetched(
    `http://127.0.0.1:${port}/b?to=${encodeURIComponent(`http://localhost:${port}/c`)}`,
    settings,
  );
  expect(said).toMatch(/redirected to localhost, which policy\.allowedHosts does not allow/);
  expect(asked).toEqual(['127.0.0.1/first', '127.0.0.1/b']);
});

test('neither is the first one, when the cloud gives another url than the document had', async () => {
  expect(await fetched('', { allowedHosts: ['other'] })).toMatch(/127\.0\.0\.1, which policy\.allowedHosts/);
  expect(asked).toEqual([]);
});

test.each(['file:///etc/shadow', 'ftp://h/f', 'data:,x', 'javascript:1'])(
  '%s is not followed',
  async (to) => {
    expect(await fetched(to, {})).toMatch(/redirected to a url that is not https/);
  },
);

test('plain http is not followed where the policy wants https', async () => {
  expect(await fetched(`http://localhost:${port}/x`, { allowHttp: false })).toMatch(
    /a url that is not https/,
  );
  expect(asked).toEqual([]);
});

test('a circle ends', async () => {
  const circle = `http://127.0.0.1:${port}/circle`;
  server.removeAllListeners('request');
  server.on('request', (_, response) => {
    asked.push('circle');
    response.writeHead(302, { location: circle }).end();
  });
  expect(await fetched(circle, {})).toMatch(/redirected more than 10 times/);
  expect(asked.length).toBe(11);
});
