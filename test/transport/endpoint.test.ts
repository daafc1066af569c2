import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect as connectTcp, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { Aedes } from 'aedes';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { proxyOf } from '../../src/cli/proxy.ts';
import { credentialFile } from '../../src/config/credentials.ts';
import { systemClock } from '../../src/host/clock.ts';
import { alpnOf, parseEndpoint } from '../../src/transport/endpoint.ts';
import { createMqttjsTransport } from '../../src/transport/mqttjs.ts';
import type { Transport, TransportOptions } from '../../src/transport/port.ts';
import { createAuthority, type Issued, type TestAuthority } from '../support/certificates.ts';
import { until } from '../support/until.ts';

/** Ways to reach a broker: TLS with a name and a protocol, through a proxy, by IPv6. Each against real servers. */

let directory: string;
let authority: TestAuthority;
let server: Issued;
const ends: (() => unknown)[] = [];

beforeAll(async () => {
  directory = await mkdtemp('/var/tmp/evenkeel-endpoint-');
  authority = await createAuthority(directory, 'Authority');
  server = await authority.issue({ commonName: 'broker', names: ['DNS:broker.example', 'IP:127.0.0.1'] });
});
afterAll(() => rm(directory, { recursive: true }));
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function listen(listener: Server, host = '127.0.0.1'): Promise<number> {
  const sockets = new Set<Socket>();
  listener.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
  });
  listener.listen(0, host);
  await once(listener, 'listening');
  ends.push(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => listener.close(resolve));
  });
  return (listener.address() as { port: number }).port;
}

async function handle(): Promise<Aedes> {
  const broker = await Aedes.createBroker();
  ends.push(() => new Promise<void>((resolve) => broker.close(() => resolve())));
  return broker;
}

/** A broker with TLS that tells what each client asked for in the handshake. */
async function tlsBroker(
  protocols?: string[],
): Promise<{ port: number; seen: { sni: unknown; alpn: unknown }[] }> {
  const broker = await handle();
  const seen: { sni: unknown; alpn: unknown }[] = [];
  const options = { cert: server.cert, key: server.key, ...(protocols && { ALPNProtocols: protocols }) };
  const listener = createTlsServer(options, (socket: TLSSocket) => {
    seen.push({ sni: (socket as { servername?: unknown }).servername, alpn: socket.alpnProtocol });
    broker.handle(socket);
  });
  return { port: await listen(listener), seen };
}

function connected(options: Partial<TransportOptions> & { url: string }): Transport {
  const transport = createMqttjsTransport(
    {
      clientId: 'client',
      filters: ['a/+'],
      keepAliveSeconds: 60,
      connectTimeoutMs: 20_000,
      publishQueueMax: 3,
      backoff: { firstMs: 20, maxMs: 200, healthyAfterMs: 1000 },
      ...options,
    },
    { clock: systemClock },
  );
  ends.push(() => transport.close());
  transport.start();
  return transport;
}

const up = (transport: Transport) => until('the link', () => transport.up);

test('a name to be proved that is not the host (SNI), and a protocol to agree to (ALPN)', async () => {
  const { port, seen } = await tlsBroker(['x-amzn-mqtt-ca']);
  const tls = { ca: authority.ca, serverName: 'broker.example', alpn: ['x-amzn-mqtt-ca'] };
  await up(connected({ url: `mqtts://127.0.0.1:${port}`, tls }));
  expect(seen[0]).toEqual({ sni: 'broker.example', alpn: 'x-amzn-mqtt-ca' });
  const wrong = connected({ url: `mqtts://127.0.0.1:${port}`, tls: { ...tls, serverName: 'other.example' } });
  await until('the refusal', () => wrong.lastFailure?.includes('altnames'));
});

test('ALPN goes by itself on port 443 of TLS, and nowhere else', () => {
  const of = (url: string, alpn?: string[]) => alpnOf(parseEndpoint(url), alpn ? { alpn } : {});
  expect(of('mqtts://a-ats.iot.eu-west-1.amazonaws.com:443')).toEqual(['x-amzn-mqtt-ca']);
  expect(of('mqtts://a-ats.iot.eu-west-1.amazonaws.com')).toEqual([]);
  expect(of('mqtt://broker.example:443')).toEqual([]);
  expect(of('mqtts://broker.example:443', [])).toEqual([]);
  expect(of('mqtts://broker.example:8883', ['mqtt'])).toEqual(['mqtt']);
});

test('an address of IPv6', async () => {
  const broker = await handle();
  const port = await listen(
    createServer((socket) => broker.handle(socket)),
    '::1',
  );
  await up(connected({ url: `mqtt://[::1]:${port}` }));
});

/** A proxy that tunnels where it is asked to, for who has the password. */
async function proxy(wanted?: string): Promise<{ url: string; asked: string[] }> {
  const asked: string[] = [];
  const listener = createServer((socket) => {
    socket.once('data', (chunk: Buffer) => {
      const head = chunk.toString();
      asked.push(head.split('\r\n')[0] ?? '');
      if (wanted !== undefined && !head.includes(`Proxy-Authorization: Basic ${wanted}\r\n`)) {
        socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
        return;
      }
      const [, host = '', port] = /^CONNECT \[?([^\]\s]+?)\]?:(\d+) /.exec(head) ?? [];
      const to = connectTcp(Number(port), host, () => {
        // In two pieces, as networks have it.
        socket.write('HTTP/1.1 200 Connection est');
        socket.write('ablished\r\nVia: test\r\n\r\n');
        socket.pipe(to).pipe(socket);
      });
      to.on('error', () => socket.destroy());
      ends.push(() => to.destroy());
    });
  });
  return { url: `http://127.0.0.1:${await listen(listener)}`, asked };
}

test('TLS through a proxy: the broker is verified behind it, messages go both ways, and the end is noticed', async () => {
  const { port, seen } = await tlsBroker();
  const { url: proxyUrl, asked } = await proxy();
  const transport = connected({
    url: `mqtts://127.0.0.1:${port}`,
    tls: { ca: authority.ca },
    proxy: proxyUrl,
  });
  await up(transport);
  const got: string[] = [];
  transport.subscribe({
    onMessage: ({ payload }) => void got.push(Buffer.from(payload).toString().slice(0, 3)),
  });
  await transport.publish('a/b', Buffer.from('one'), 20_000);
  await transport.publish('a/b', Buffer.from(`two${'x'.repeat(100_000)}`), 20_000);
  await until('both', () => got.length === 2);
  expect(got).toEqual(['one', 'two']);
  expect(new Set(asked)).toEqual(new Set([`CONNECT 127.0.0.1:${port} HTTP/1.1`]));
  const before = seen.length;
  await transport.roundTrip(20_000);
  await transport.renew(20_000);
  expect(seen).toHaveLength(before + 1);

  const untrusting = connected({ url: `mqtts://127.0.0.1:${port}`, proxy: proxyUrl });
  await until('the refusal', () => /unable to (get|verify)|self-signed/.test(untrusting.lastFailure ?? ''));
});

test('a proxy with a password, and plain MQTT through it', async () => {
  const broker = await handle();
  const port = await listen(createServer((socket) => broker.handle(socket)));
  const { url } = await proxy(Buffer.from('boat:p@ss').toString('base64'));
  await up(connected({ url: `mqtt://127.0.0.1:${port}`, proxy: url.replace('//', '//boat:p%40ss@') }));
  const without = connected({ url: `mqtt://127.0.0.1:${port}`, proxy: url });
  await until('the refusal', () => without.lastFailure?.includes('407 Proxy Authentication Required'));
});

test.each([
  ['hangs up', (socket: Socket) => void socket.end(), /hung up before it had opened a tunnel/],
  ['speaks no HTTP', (socket: Socket) => void socket.write('SSH-2.0-x\r\n\r\n'), /no HTTP/],
  ['never stops', (socket: Socket) => void socket.write('x'.repeat(20_000)), /no HTTP/],
])('a proxy that %s', async (_, act, words) => {
  const port = await listen(createServer((socket) => void socket.once('data', () => act(socket))));
  const transport = connected({ url: 'mqtts://127.0.0.1:1', proxy: `http://127.0.0.1:${port}` });
  await until('the refusal', () => words.test(transport.lastFailure ?? ''));
});

test('the environment names a proxy only where the configuration says so', () => {
  const env = { HTTPS_PROXY: 'http://proxy:3128', NO_PROXY: 'localhost, .internal,b.example:8883,::1' };
  const of = (url: string, setting: string | undefined = 'environment') =>
    proxyOf({ connection: { url, ...(setting !== undefined && { proxy: setting }) } as never }, env);
  expect(proxyOf({ connection: { url: 'mqtts://a.example' } as never }, env)).toBeUndefined();
  expect(of('mqtts://a.example')).toBe('http://proxy:3128');
  expect(of('mqtts://a.example', 'http://other:1')).toBe('http://other:1');
  expect(of('mqtts://x.internal')).toBeUndefined();
  expect(of('mqtts://xinternal')).toBe('http://proxy:3128');
  expect(of('mqtts://b.example:8883')).toBeUndefined();
  expect(of('mqtts://b.example:443')).toBe('http://proxy:3128');
  expect(of('mqtts://[::1]:8883')).toBeUndefined();
});

test('credentials: a path, a name, one that is there by itself, and none', async () => {
  await writeFile(join(directory, 'certificate'), 'PEM');
  expect(credentialFile('certificate', '/a/b', directory)).toBe('/a/b');
  expect(credentialFile('certificate', 'credential:thing', directory)).toBe(join(directory, 'thing'));
  expect(credentialFile('certificate', undefined, directory)).toBe(join(directory, 'certificate'));
  expect(credentialFile('privateKey', undefined, directory)).toBeUndefined();
  expect(credentialFile('privateKey', undefined, undefined)).toBeUndefined();
  expect(() => credentialFile('privateKey', 'credential:key', undefined)).toThrow(/LoadCredential=/);
});
