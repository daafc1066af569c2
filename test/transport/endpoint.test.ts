import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { Aedes } from 'aedes';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { proxyOf } from '../../src/cli/proxy.ts';
import { credentialFile } from '../../src/config/credentials.ts';
import { alpnOf, parseEndpoint } from '../../src/transport/endpoint.ts';
import type { Transport, TransportOptions } from '../../src/transport/port.ts';
import { createAuthority, type Issued, type TestAuthority } from '../support/certificates.ts';
import { connectProxy } from '../support/connect-proxy.ts';
import { until } from '../support/until.ts';
import { ADAPTERS, type Adapter, createAdapter, up } from './transports.ts';

/** Ways to reach a broker: TLS with a name and a protocol, through a proxy, by IPv6. Each against real servers. */

let directory: string;
let authority: TestAuthority;
let server: Issued;
const ends: (() => unknown)[] = [];

beforeAll(async () => {
  directory = await mkdtemp('/var/tmp/evenkeel-endpoint-');
  authority = await createAuthority(directory, 'Authority');
  server = await authority.issue({
    commonName: 'broker',
    names: ['DNS:broker.example', 'DNS:localhost', 'IP:127.0.0.1', 'IP:::1'],
  });
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

async function transport(
  adapter: Adapter,
  options: Partial<TransportOptions> & { url: string },
): Promise<Transport> {
  const link = await createAdapter(adapter, { filters: ['a/+'], connectTimeoutMs: 20_000, ...options });
  ends.push(() => link.close());
  return link;
}

test('a name to be proved that is not the host (SNI), and a protocol to agree to (ALPN)', async () => {
  const { port, seen } = await tlsBroker(['x-amzn-mqtt-ca']);
  const url = `mqtts://127.0.0.1:${port}`;
  const tls = { ca: authority.ca, serverName: 'broker.example', alpn: ['x-amzn-mqtt-ca'] };
  await up(await transport('mqttjs', { url, tls }));
  expect(seen[0]).toEqual({ sni: 'broker.example', alpn: 'x-amzn-mqtt-ca' });
  const wrong = await transport('mqttjs', { url, tls: { ...tls, serverName: 'other.example' } });
  wrong.start();
  await until('the refusal', () => wrong.lastFailure?.includes('altnames'));
});

describe.each(ADAPTERS)('%s', (adapter) => {
  test('the host is the name that the server must prove, and is told (SNI)', async () => {
    const { port, seen } = await tlsBroker();
    const tls = { ca: authority.ca };
    await up(await transport(adapter, { url: `mqtts://localhost:${port}`, tls }));
    expect(seen.at(-1)?.sni).toBe('localhost');
  });

  test.each([
    ['plain', false],
    ['TLS', true],
  ])('an address of IPv6, %s', async (_, secure) => {
    const broker = await handle();
    const take = (socket: Socket): void => void broker.handle(socket);
    const listener = secure
      ? createTlsServer({ cert: server.cert, key: server.key }, take)
      : createServer(take);
    const port = await listen(listener, '::1');
    const tls = { ca: authority.ca };
    await up(await transport(adapter, { url: `${secure ? 'mqtts' : 'mqtt'}://[::1]:${port}`, tls }));
  });
});

test('ALPN goes by itself on port 443 of TLS, and nowhere else', () => {
  const of = (url: string, alpn?: string[]) => alpnOf(parseEndpoint(url), alpn ? { alpn } : {});
  expect(of('mqtts://a-ats.iot.eu-west-1.amazonaws.com:443')).toEqual(['x-amzn-mqtt-ca']);
  expect(of('mqtts://a-ats.iot.eu-west-1.amazonaws.com')).toEqual([]);
  expect(of('mqtt://broker.example:443')).toEqual([]);
  expect(of('mqtts://broker.example:443', [])).toEqual([]);
  expect(of('mqtts://broker.example:8883', ['mqtt'])).toEqual(['mqtt']);
});

test('plain MQTT through a proxy', async () => {
  const broker = await handle();
  const port = await listen(createServer((socket) => broker.handle(socket)));
  const { url, asked, close } = await connectProxy();
  ends.push(close);
  await up(await transport('mqttjs', { url: `mqtt://127.0.0.1:${port}`, proxy: url }));
  expect(asked).toContain(`CONNECT 127.0.0.1:${port} HTTP/1.1`);
});

test('a proxy that never stops talking', async () => {
  const { url, close } = await connectProxy({ act: (socket) => void socket.write('x'.repeat(20_000)) });
  ends.push(close);
  const link = await transport('mqttjs', { url: 'mqtts://127.0.0.1:1', proxy: url });
  link.start();
  await until('the refusal', () => link.lastFailure?.includes('no HTTP'));
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
