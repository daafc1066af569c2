import { mkdtemp, rm } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { systemClock } from '../../src/host/clock.ts';
import type { Transport, TransportOptions, TransportTls } from '../../src/transport/port.ts';
import { type Broker, mosquitto } from '../support/brokers.ts';
import { createAuthority } from '../support/certificates.ts';
import { type ConnectProxy, connectProxy, type ProxyManners } from '../support/connect-proxy.ts';
import { until } from '../support/until.ts';
import { ADAPTERS, changesOf, createAdapter, endings, heard, TIMEOUT_MS, up } from './transports.ts';

/** Both adapters through an HTTP proxy (CONNECT), to a broker whose name nobody but the proxy can resolve. */

const NAME = 'broker.example';
const TOPIC = '$aws/things/boat/1/x';
const WAYS = ADAPTERS.flatMap((adapter) =>
  ([4, 5] as const).map((mqttVersion) => ({ adapter, mqttVersion })),
);

let directory: string;
let broker: Broker;
let tls: TransportTls;
let url: string;
beforeAll(async () => {
  directory = await mkdtemp('/var/tmp/evenkeel-proxy-');
  const { ca, caFile, issue } = await createAuthority(directory, 'Authority');
  const server = await issue({ commonName: 'broker', names: [`DNS:${NAME}`] });
  const client = await issue({ commonName: 'boat' });
  broker = await mosquitto({ ...server, ca, caFile });
  await broker.start();
  tls = { ca, certificate: client.cert, privateKey: client.key };
  url = broker.url.replace('localhost', NAME);
});
afterAll(async () => {
  await broker.remove();
  await rm(directory, { recursive: true });
});

describe.each(WAYS)('$adapter, MQTT version $mqttVersion', ({ adapter, mqttVersion }) => {
  const atEnd = endings();

  async function proxy(manners: ProxyManners = {}): Promise<ConnectProxy> {
    const opened = await connectProxy({ names: { [NAME]: '127.0.0.1' }, ...manners });
    atEnd(() => opened.close());
    return opened;
  }

  async function transport(proxyUrl: string, options: Partial<TransportOptions> = {}): Promise<Transport> {
    const link = await createAdapter(adapter, {
      url,
      filters: ['$aws/things/boat/1/+'],
      mqttVersion,
      tls,
      proxy: proxyUrl,
      connectTimeoutMs: 2000,
      ...options,
    });
    atEnd(() => link.close());
    return link;
  }

  test('the broker is verified behind it, messages go both ways, and every connection is a tunnel', async () => {
    const { url: proxyUrl, asked } = await proxy();
    const link = await up(await transport(proxyUrl));
    const messages = heard(link);
    await link.publish(TOPIC, Buffer.from('one'), TIMEOUT_MS);
    await link.publish(TOPIC, Buffer.from(`two${'x'.repeat(100_000)}`), TIMEOUT_MS);
    await until('both', () => messages.length === 2);
    expect(messages.map(({ payload }) => payload.length)).toEqual([3, 100_003]);
    await link.roundTrip(TIMEOUT_MS);
    const before = asked.length;
    await link.renew(TIMEOUT_MS);
    // The CRT's is tried first by a tunnel of ours.
    expect(asked.length).toBe(before + (adapter === 'aws-sdk' ? 2 : 1));
    expect(new Set(asked)).toEqual(new Set([`CONNECT ${NAME}:${new URL(url).port} HTTP/1.1`]));
  });

  test('a tunnel that breaks is noticed, and made anew', async () => {
    const opened = await proxy();
    const link = await up(await transport(opened.url));
    const changes = changesOf(link);
    opened.cut();
    await until('the link again', () => changes.join() === 'down,up');
    await link.publish(TOPIC, Buffer.from('x'), TIMEOUT_MS);
  });

  test('a password opens it; without one the refusal is said', async () => {
    const { url: proxyUrl } = await proxy({ credentials: 'boat:p@ss:word' });
    await up(await transport(proxyUrl.replace('//', '//boat:p%40ss%3Aword@')));
    const without = await transport(proxyUrl);
    without.start();
    const failure = await until('the refusal', () => without.lastFailure);
    expect(failure).toMatch(
      /the proxy .* (refuses a tunnel to .*: 407|wants another user name and password)/,
    );
    expect(failure).not.toContain('p@ss');
    expect(without.up).toBe(false);
  });

  test.each([
    ['hangs up', (socket: Socket) => void socket.end(), /the proxy .*hung up/],
    [
      'refuses',
      (socket: Socket) => void socket.end('HTTP/1.1 403 Forbidden\r\n\r\n'),
      /the proxy .*refuses .*403 Forbidden/,
    ],
    ['speaks no HTTP', (socket: Socket) => void socket.write('SSH-2.0-x\r\n\r\n'), /the proxy .*no HTTP/],
    ['says nothing', () => undefined, /no CONNACK within/],
  ])('a proxy that %s is a failure in words, and is asked again', async (_, act, words) => {
    const { url: proxyUrl, asked } = await proxy({ act });
    const link = await transport(proxyUrl, { connectTimeoutMs: 1000 });
    link.start();
    expect(await until('the failure', () => link.lastFailure)).toMatch(words);
    await until('another attempt', () => asked.length > 1);
    expect(link.up).toBe(false);
  });

  test('a proxy that is not there is named', async () => {
    const link = await transport('http://127.0.0.1:1');
    link.start();
    expect(await until('the failure', () => link.lastFailure)).toMatch(
      /cannot reach the proxy 127\.0\.0\.1:1/,
    );
  });
});

// Its client of 3.1.1 cannot be ended before CONNACK, and nothing in the CRT bounds the wait for a proxy.
test.each([4, 5] as const)(
  'aws-sdk, MQTT version %i: a proxy that falls silent after the first look is not waited for for ever',
  async (mqttVersion) => {
    let silent = false;
    const opened = await connectProxy({
      names: { [NAME]: '127.0.0.1' },
      // Only the CRT says that.
      act: (_, head) => silent && head.includes('Proxy-Connection'),
    });
    const clock = {
      ...systemClock,
      sleep: (delayMs: number, signal?: AbortSignal) =>
        systemClock.sleep(delayMs === 60_000 ? 500 : delayMs, signal),
    };
    const link = await createAdapter(
      'aws-sdk',
      { url, filters: [], mqttVersion, tls, proxy: opened.url, connectTimeoutMs: 1000, keepAliveSeconds: 30 },
      { clock },
    );
    try {
      silent = true;
      link.start();
      expect(await until('the failure', () => link.lastFailure)).toMatch(/no CONNACK within/);
      silent = false;
      await until('the link', () => link.up);
    } finally {
      await link.close();
      await opened.close();
    }
  },
);

test('aws-sdk takes a proxy for TLS alone, and says so', async () => {
  const plain = createAdapter('aws-sdk', { url: 'mqtt://a.example', filters: [], proxy: 'http://p:1' });
  await expect(plain).rejects.toThrow(/a proxy for mqtts:\/\/ alone; transport mqttjs can/);
  const address = createAdapter('aws-sdk', { url: 'mqtts://[::1]', filters: [], proxy: 'http://p:1' });
  await expect(address).rejects.toThrow(/no address of IPv6/);
});
