import { once } from 'node:events';
import type { Socket } from 'node:net';
import { createServer, type TLSSocket } from 'node:tls';
import { generate, parser } from 'mqtt-packet';
import { describe, expect, test } from 'vitest';
import { alpnOf, parseEndpoint } from '../../src/transport/endpoint.ts';
import type { Transport, TransportTls } from '../../src/transport/port.ts';
import { connack } from '../support/fake-broker.ts';
import { until } from '../support/until.ts';
import { certificates } from './scenes.ts';
import { ADAPTERS, createAdapter, endings, up } from './transports.ts';

/** What both adapters make of certificates, of the name of the protocol, and of names that are not resolved. */

const WAYS = ADAPTERS.flatMap((adapter) =>
  ([4, 5] as const).map((mqttVersion) => ({ adapter, mqttVersion })),
);

describe.each(WAYS)('$adapter, MQTT version $mqttVersion', ({ adapter, mqttVersion }) => {
  const atEnd = endings();

  async function transport(url: string, tls?: TransportTls): Promise<Transport> {
    const link = await createAdapter(adapter, {
      url,
      filters: [],
      mqttVersion,
      connectTimeoutMs: 1000,
      ...(tls && { tls }),
    });
    atEnd(() => link.close());
    return link;
  }

  /** Takes any client with a certificate, and says CONNACK. */
  async function tlsServer(): Promise<{ url: string; sockets: TLSSocket[] }> {
    const { server: files } = await certificates();
    const sockets: TLSSocket[] = [];
    const server = createServer(
      { ...files, requestCert: true, rejectUnauthorized: true, ALPNProtocols: ['x-amzn-mqtt-ca'] },
      (socket) => {
        sockets.push(socket);
        const reader = parser();
        reader.on('packet', ({ cmd }) => {
          if (cmd === 'connect') socket.write(generate(connack(0), { protocolVersion: mqttVersion }));
        });
        socket.on('error', () => undefined);
        socket.on('data', (chunk: Buffer) => reader.parse(chunk));
      },
    );
    const raw: Socket[] = [];
    server.on('connection', (socket: Socket) => raw.push(socket));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    atEnd(async () => {
      for (const socket of raw) socket.destroy();
      server.close();
      await once(server, 'close');
    });
    return { url: `mqtts://localhost:${(server.address() as { port: number }).port}`, sockets };
  }

  test('asks for the protocol by name, shows its certificate, and speaks TLS 1.2 or later', async () => {
    const { client } = await certificates();
    const { url, sockets } = await tlsServer();
    await up(await transport(url, { ...client, alpn: ['x-amzn-mqtt-ca'] }));
    const [socket] = sockets;
    expect(socket?.alpnProtocol).toBe('x-amzn-mqtt-ca');
    expect(socket?.getPeerCertificate().subject.CN).toBe('boat');
    expect(['TLSv1.2', 'TLSv1.3']).toContain(socket?.getProtocol());
  });

  // The CRT holds a failure of TLS back for 10 to 30 s, and its client of 3.1.1 cannot be ended meanwhile.
  const waits = adapter === 'aws-sdk' && mqttVersion === 4;
  test.skipIf(waits)('does not connect to a broker of an unknown authority, and says so', async () => {
    const { client } = await certificates();
    const { url } = await tlsServer();
    const { ca: _, ...rest } = client;
    const link = await transport(url, rest);
    link.start();
    const failure = await until('a failure', () => link.lastFailure);
    expect(failure).toMatch(adapter === 'aws-sdk' ? /TLS failed/ : /issuer|self-signed|verify/);
    expect(link.up).toBe(false);
  });

  test('does not connect with a key that is none, and says so', async () => {
    const { client } = await certificates();
    const { url } = await tlsServer();
    const link = await transport(url, { ...client, privateKey: 'x' });
    link.start();
    expect(await until('a failure', () => link.lastFailure)).toMatch(/none that TLS can use|DECODER|PEM/);
    expect(link.up).toBe(false);
  });

  test('a name that is not resolved is a failure like any other', async () => {
    const link = await transport('mqtt://nobody.invalid:1883');
    link.start();
    expect(await until('a failure', () => link.lastFailure)).toMatch(/ENOTFOUND|EAI_AGAIN/);
  });
});

test('on port 443 the agent asks for MQTT by the name that AWS gives it there, and nowhere else', () => {
  const alpn = (url: string): readonly string[] => alpnOf(parseEndpoint(url));
  expect(alpn('mqtts://a-ats.iot.eu-west-1.amazonaws.com:443')).toEqual(['x-amzn-mqtt-ca']);
  expect(alpn('mqtts://a-ats.iot.eu-west-1.amazonaws.com:8883')).toEqual([]);
});
