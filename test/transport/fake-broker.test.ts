import type { Packet } from 'mqtt-packet';
import { describe, expect, test } from 'vitest';
import type { Transport, TransportOptions } from '../../src/transport/port.ts';
import { type Behaviour, connack, type FakeBroker, fakeBroker } from '../support/fake-broker.ts';
import { until } from '../support/until.ts';
import { wireTo } from '../support/wire.ts';
import { ADAPTERS, changesOf, createAdapter, endings, heard, TIMEOUT_MS, textOf, up } from './transports.ts';

/** The contract of both adapters where a broker must say what no real one can be brought to say. */

const FILTERS = Array.from({ length: 11 }, (_, index) => `t/${index}`);
const WAYS = ADAPTERS.flatMap((adapter) =>
  ([4, 5] as const).map((mqttVersion) => ({ adapter, mqttVersion })),
);

describe.each(WAYS)('$adapter, MQTT version $mqttVersion', ({ adapter, mqttVersion }) => {
  const atEnd = endings();

  async function broker(behave?: Behaviour): Promise<FakeBroker> {
    const started = await fakeBroker(behave);
    atEnd(() => started.close());
    return started;
  }

  async function transport(url: string, options: Partial<TransportOptions> = {}): Promise<Transport> {
    const link = await createAdapter(adapter, { url, filters: FILTERS, mqttVersion, ...options });
    atEnd(() => link.close());
    return link;
  }

  const sent = <C extends Packet['cmd']>({ packets }: FakeBroker, cmd: C) =>
    packets.filter((packet): packet is Extract<Packet, { cmd: C }> => packet.cmd === cmd);

  test('asks for a clean session, with its keep-alive, its user name and nothing beside it', async () => {
    const fake = await broker();
    await up(await transport(fake.url, { keepAliveSeconds: 33, username: 'boat', password: 'pässword' }));
    const [connect] = sent(fake, 'connect');
    expect(connect).toMatchObject({
      clean: true,
      clientId: 'client',
      keepalive: 33,
      protocolVersion: mqttVersion,
      username: 'boat',
    });
    expect(connect?.password?.toString()).toBe('pässword');
    expect(connect?.properties?.sessionExpiryInterval ?? 0).toBe(0);
  });

  test('L20: subscribes at QoS 1, in packets of at most eight filters, and is up after the last SUBACK', async () => {
    const withheld: (() => void)[] = [];
    const fake = await broker((packet, client) => {
      if (packet.cmd !== 'subscribe') return false;
      withheld.push(() =>
        client.send({
          cmd: 'suback',
          messageId: packet.messageId ?? 0,
          granted: packet.subscriptions.map(() => 1),
        }),
      );
      return true;
    });
    const link = await transport(fake.url);
    link.start();
    const filtersAsked = (): { topic: string; qos: number }[] =>
      sent(fake, 'subscribe').flatMap(({ subscriptions }) => subscriptions);
    await until('all filters', () => filtersAsked().length === FILTERS.length);
    expect(sent(fake, 'subscribe').every(({ subscriptions }) => subscriptions.length <= 8)).toBe(true);
    expect(filtersAsked().map(({ topic, qos }) => [topic, qos])).toEqual(FILTERS.map((topic) => [topic, 1]));
    const last = withheld.pop();
    for (const grant of withheld) grant();
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(link.up).toBe(false);
    last?.();
    await until('the link', () => link.up);
  });

  test('a refused filter is named; the link comes up once it is granted', async () => {
    let refuses = true;
    const code = mqttVersion === 5 ? 0x87 : 0x80;
    const fake = await broker((packet, client) => {
      if (packet.cmd !== 'subscribe' || !refuses) return false;
      const granted = packet.subscriptions.map(({ topic }) => (topic === 't/9' ? code : 1));
      client.send({ cmd: 'suback', messageId: packet.messageId ?? 0, granted });
      return true;
    });
    const link = await transport(fake.url);
    link.start();
    const failure = await until('a failure', () => link.lastFailure);
    expect(failure).toMatch(new RegExp(`^cannot subscribe to t/9: .*\\(0x${code.toString(16)}\\)$`));
    expect(link.up).toBe(false);
    refuses = false;
    await until('the link', () => link.up);
  });

  test('A22: a broker that hangs up over a filter or a message is said to have done so', async () => {
    let over: Packet['cmd'] = 'subscribe';
    const fake = await broker((packet, client) => {
      if (packet.cmd !== over) return false;
      client.end();
      return true;
    });
    const link = await transport(fake.url);
    link.start();
    expect(await until('a failure', () => link.lastFailure)).toMatch(
      /^cannot subscribe to t\/0, t\/1.*: the broker hung up$/,
    );
    over = 'publish';
    await until('the link', () => link.up);
    await expect(link.publish('t/0', Buffer.from('x'), TIMEOUT_MS)).rejects.toMatchObject({
      failure: 'linkDown',
      message: expect.stringContaining('the broker hung up') as string,
    });
    await until('the link again', () => link.up);
    expect(sent(fake, 'publish').length).toBe(1);
  });

  test.runIf(mqttVersion === 5)(
    'a refused publish is refused, with its reason, and changes nothing else',
    async () => {
      const fake = await broker((packet, client) => {
        if (packet.cmd !== 'publish') return false;
        const reasonCode = packet.topic === 't/denied' ? 0x87 : packet.topic === 't/nobody' ? 0x10 : 0;
        client.send({ cmd: 'puback', messageId: packet.messageId ?? 0, reasonCode });
        return true;
      });
      const link = await up(await transport(fake.url));
      const changes = changesOf(link);
      await expect(link.publish('t/denied', Buffer.from('x'), TIMEOUT_MS)).rejects.toMatchObject({
        failure: 'refused',
        message: expect.stringMatching(/Not authorized \(0x87\)/) as string,
      });
      await link.publish('t/nobody', Buffer.from('x'), TIMEOUT_MS);
      await link.publish('t/0', Buffer.from('x'), TIMEOUT_MS);
      expect(changes).toEqual([]);
    },
  );

  test('a message that comes twice is heard twice, with each of them acknowledged', async () => {
    const fake = await broker();
    const link = await up(await transport(fake.url));
    const messages = heard(link);
    const message = {
      cmd: 'publish',
      topic: 't/1',
      payload: 'same',
      qos: 1,
      messageId: 7,
      retain: false,
    } as const;
    fake.clients()[0]?.send({ ...message, dup: false });
    await until('the first acknowledgement', () => sent(fake, 'puback').length === 1);
    fake.clients()[0]?.send({ ...message, dup: true });
    await until('the second', () => sent(fake, 'puback').length === 2);
    expect(messages.map(textOf)).toEqual(['same', 'same']);
    expect(sent(fake, 'puback').map(({ messageId }) => messageId)).toEqual([7, 7]);
  });

  test('a broker that does not acknowledge: the publish ends in time, is not said again, and the next is', async () => {
    let mute = true;
    const fake = await broker((packet) => packet.cmd === 'publish' && mute);
    const link = await up(await transport(fake.url));
    await expect(link.publish('t/0', Buffer.from('slow'), 200)).rejects.toMatchObject({ failure: 'timeout' });
    mute = false;
    await link.publish('t/0', Buffer.from('next'), TIMEOUT_MS);
    await link.renew(TIMEOUT_MS);
    await link.roundTrip(TIMEOUT_MS);
    expect(sent(fake, 'publish').map(({ payload }) => payload.toString())).toEqual(['slow', 'next']);
  });

  test('a broker that is slow: what waits is bounded, and what it takes at once is not exceeded', async () => {
    const receiveMaximum = 2;
    const ids: number[] = [];
    const fake = await broker((packet, client) => {
      if (packet.cmd === 'connect' && mqttVersion === 5) {
        client.send({ ...connack(0), properties: { receiveMaximum } } as Packet);
        return true;
      }
      if (packet.cmd === 'publish') ids.push(packet.messageId ?? 0);
      return packet.cmd === 'publish';
    });
    const link = await up(await transport(fake.url, { publishQueueMax: 5 }));
    const said = Array.from({ length: 5 }, (_, n) => link.publish('t/0', Buffer.from(String(n)), TIMEOUT_MS));
    await expect(link.publish('t/0', Buffer.from('5'), TIMEOUT_MS)).rejects.toMatchObject({
      failure: 'queueFull',
    });
    const expected = mqttVersion === 5 ? receiveMaximum : said.length;
    await until('the first', () => ids.length === expected);
    await link.roundTrip(TIMEOUT_MS);
    expect(ids.length).toBe(expected);
    for (let next = 0; next < said.length; next += 1) {
      await until('the next', () => ids.length > next);
      fake.clients()[0]?.send({ cmd: 'puback', messageId: ids[next] ?? 0, reasonCode: 0 });
    }
    await Promise.all(said);
    expect(sent(fake, 'publish').map(({ payload }) => payload.toString())).toEqual(['0', '1', '2', '3', '4']);
  });

  test('a network that takes no more: publishes end in time, and so does the link', async () => {
    const fake = await broker();
    const wire = await wireTo(fake.url);
    atEnd(() => wire.close());
    const link = await up(await transport(wire.url));
    wire.freeze();
    const payload = Buffer.alloc(128 * 1024);
    // More than the buffers of two sockets hold.
    const said = Array.from({ length: 80 }, () => link.publish('t/0', payload, 300));
    for (const one of said) await expect(one).rejects.toMatchObject({ failure: 'timeout' });
    await link.close();
    expect(link.up).toBe(false);
  });

  test('a broker that says nothing at all is given up after the connect timeout', async () => {
    let mute = true;
    const fake = await broker((packet) => packet.cmd === 'connect' && mute);
    const link = await transport(fake.url, { connectTimeoutMs: 300 });
    link.start();
    const failure = await until('a failure', () => link.lastFailure);
    expect(failure).toMatch(/^cannot connect to .*/);
    mute = false;
    await until('the link', () => link.up);
  });

  test('closes while it is still connecting', async () => {
    const fake = await broker((packet) => packet.cmd === 'connect');
    const link = await transport(fake.url, { connectTimeoutMs: 1000 });
    link.start();
    await until('CONNECT', () => sent(fake, 'connect').length > 0);
    await link.close();
    expect(link.up).toBe(false);
    await until('the end of the connection', () => fake.clients().length === 0);
  });

  test('a listener that throws, or an empty message, harms nobody', async () => {
    const fake = await broker();
    const link = await up(await transport(fake.url));
    link.subscribe({
      onMessage() {
        throw new Error('a listener');
      },
    });
    const messages = heard(link);
    const client = fake.clients()[0];
    client?.send({ cmd: 'publish', topic: 't/1', payload: '', qos: 0, dup: false, retain: false });
    client?.send({ cmd: 'publish', topic: 't/1', payload: 'x', qos: 0, dup: false, retain: false });
    await until('both', () => messages.length === 2);
    expect(messages.map(textOf)).toEqual(['', 'x']);
    await link.roundTrip(TIMEOUT_MS);
  });

  const long = Buffer.concat([Buffer.from([0x30, 0xff, 0xff, 0xff, 0x7f]), Buffer.alloc(2 * 1024 * 1024)]);
  test.each([
    ['no packet', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')],
    ['a topic that is no UTF-8', Buffer.from([0x30, 0x05, 0x00, 0x02, 0xff, 0xfe, 0x00])],
    ['an answer to nothing', Buffer.from([0x40, 0x02, 0x12, 0x34])],
    ['a type that is not used', Buffer.from([0xf0, 0x00])],
    ['a packet of 256 MB', long],
  ])('I9: bytes that are %s cost a connection at most', async (_, bytes) => {
    const fake = await broker();
    const link = await up(await transport(fake.url));
    heard(link);
    fake.clients()[0]?.write(bytes);
    await new Promise((resolve) => setTimeout(resolve, 100));
    await link.renew(TIMEOUT_MS);
    await link.publish('t/0', Buffer.from('x'), TIMEOUT_MS);
  });

  test('a broker that speaks the other version alone is found', async () => {
    const fake = await broker((packet, client) => {
      if (packet.cmd !== 'connect' || packet.protocolVersion === mqttVersion) return false;
      // It answers in the words of its own version.
      client.write(Buffer.from(mqttVersion === 4 ? [0x20, 2, 0, 1] : [0x20, 3, 0, 0x84, 0]));
      client.end();
      return true;
    });
    const { mqttVersion: _only, ...free } = { mqttVersion };
    const link = await createAdapter(adapter, { url: fake.url, filters: FILTERS, ...free });
    atEnd(() => link.close());
    await up(link);
    expect(sent(fake, 'connect').at(-1)?.protocolVersion).toBe(mqttVersion);
  });
});
