import type { Packet } from 'mqtt-packet';
import { describe, expect, test } from 'vitest';
import type { Transport, TransportOptions } from '../../src/transport/port.ts';
import type { MqttVersion } from '../../src/transport/protocol-version.ts';
import { type Behaviour, connack, type FakeBroker, fakeBroker } from '../support/fake-broker.ts';
import { until } from '../support/until.ts';
import { ADAPTERS, changesOf, createAdapter, endings, TIMEOUT_MS, up } from './transports.ts';

/**
 * What a CONNACK can say against a client, with both adapters: each code by its own words, and a link that is there
 * again afterwards. The codes and their names are those of the standards (3.1.1 table 3.1, 5 table 3-1).
 */

const REFUSALS: Record<MqttVersion, Readonly<Record<number, string>>> = {
  4: {
    1: 'Unacceptable protocol version',
    2: 'Identifier rejected',
    3: 'Server unavailable',
    4: 'Bad username or password',
    5: 'Not authorized',
  },
  5: {
    128: 'Unspecified error',
    129: 'Malformed Packet',
    130: 'Protocol Error',
    131: 'Implementation specific error',
    132: 'Unsupported Protocol Version',
    133: 'Client Identifier not valid',
    134: 'Bad User Name or Password',
    135: 'Not authorized',
    136: 'Server unavailable',
    137: 'Server busy',
    138: 'Banned',
    140: 'Bad authentication method',
    144: 'Topic Name invalid',
    149: 'Packet too large',
    151: 'Quota exceeded',
    153: 'Payload format invalid',
    154: 'Retain not supported',
    155: 'QoS not supported',
    156: 'Use another server',
    157: 'Server moved',
    159: 'Connection rate exceeded',
  },
};
const WAYS = ADAPTERS.flatMap((adapter) =>
  ([4, 5] as const).map((mqttVersion) => ({ adapter, mqttVersion })),
);

describe.each(WAYS)('$adapter, MQTT version $mqttVersion', ({ adapter, mqttVersion }) => {
  const atEnd = endings();

  async function broker(behave: Behaviour): Promise<FakeBroker> {
    const started = await fakeBroker(behave);
    atEnd(() => started.close());
    return started;
  }

  async function transport(url: string, options: Partial<TransportOptions> = {}): Promise<Transport> {
    const link = await createAdapter(adapter, { url, filters: ['t/0'], mqttVersion, ...options });
    atEnd(() => link.close());
    return link;
  }

  const versions = ({ packets }: FakeBroker): (number | undefined)[] =>
    packets.flatMap((packet) => (packet.cmd === 'connect' ? [packet.protocolVersion] : []));

  test.each(Object.entries(REFUSALS[mqttVersion]).map(([code, words]) => ({ code: Number(code), words })))(
    'a link that was up and is then refused by "$words" ($code) says so, and comes back',
    async ({ code, words }) => {
      let refusals = 0;
      let refuses = false;
      const fake = await broker((packet, client) => {
        if (packet.cmd !== 'connect' || !refuses) return false;
        refusals += 1;
        client.send(connack(code));
        client.end();
        return true;
      });
      const link = await up(await transport(fake.url));
      const changes = changesOf(link);
      refuses = true;
      fake.clients()[0]?.end();
      await until('two refusals', () => refusals >= 2);
      const shown = `${words} (0x${code.toString(16).padStart(2, '0')})`;
      // The CRT does not tell the code of MQTT 3.1.1.
      const isTold = adapter === 'mqttjs' || mqttVersion === 5;
      const reason = isTold
        ? `cannot connect to ${fake.url}: the broker refuses: ${shown}`
        : `cannot connect to ${fake.url}: the broker refuses, with a code that this client does not tell`;
      await until('the refusal', () => link.lastFailure === reason).catch(() => undefined);
      expect(link.lastFailure).toBe(reason);
      // Whoever asks for something meanwhile is told the same.
      await expect(link.publish('t/0', Buffer.from('x'), TIMEOUT_MS)).rejects.toMatchObject({
        failure: 'linkDown',
        message: `cannot publish on t/0: ${reason}`,
      });
      expect(changes).toEqual(['down']);
      refuses = false;
      await until('the link again', () => link.up);
      await link.publish('t/0', Buffer.from('x'), TIMEOUT_MS);
      expect(changes).toEqual(['down', 'up']);
    },
  );

  test('no refusal but that of the version makes it speak another version', async () => {
    const others = Object.keys(REFUSALS[5]).map(Number);
    const codes = others.filter((code) => code !== 0x84);
    const fake = await broker((packet, client) => {
      const code = packet.cmd === 'connect' ? codes.shift() : undefined;
      if (code === undefined) return false;
      client.send(connack(code));
      client.end();
      return true;
    });
    const free: Partial<TransportOptions> = { backoff: { firstMs: 5, maxMs: 10, healthyAfterMs: 1000 } };
    const link = await createAdapter(adapter, { url: fake.url, filters: ['t/0'], ...free });
    atEnd(() => link.close());
    await up(link);
    expect(versions(fake)).toEqual(others.map(() => 5));
  });

  // MQTT-3.2.2-2: whoever asks for a clean session has none. MQTT 5 wants such a connection closed (MQTT-3.2.2-4);
  // in MQTT 3.1.1 nothing of ours rests on it, and a broker that is wrong about it is better than none.
  test('a broker that claims a session that this client never had', async () => {
    let connects = 0;
    const fake = await broker((packet, client) => {
      if (packet.cmd !== 'connect') return false;
      connects += 1;
      client.send({ ...connack(0), sessionPresent: connects < 3 } as Packet);
      return true;
    });
    const link = await transport(fake.url);
    const sessions: boolean[] = [];
    link.subscribe({ onUp: (sessionPresent) => void sessions.push(sessionPresent) });
    await up(link);
    await link.publish('t/0', Buffer.from('x'), TIMEOUT_MS);
    const subscribes = fake.packets.filter(({ cmd }) => cmd === 'subscribe');
    expect(subscribes).toHaveLength(1);
    expect(sessions).toEqual([mqttVersion === 4]);
    expect(connects).toBe(mqttVersion === 4 ? 1 : 3);
    expect(link.lastFailure).toBe(
      mqttVersion === 4
        ? undefined
        : `cannot connect to ${fake.url}: the broker claims a session that this client never had`,
    );
  });
});
