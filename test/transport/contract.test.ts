import { afterEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../src/host/clock.ts';
import { createMqttjsTransport } from '../../src/transport/mqttjs.ts';
import type { Transport, TransportMessage } from '../../src/transport/port.ts';
import { aedes, type Broker, mosquitto } from '../support/brokers.ts';
import { until } from '../support/until.ts';

const FILTERS = Array.from({ length: 11 }, (_, index) => `t/${index}/+`);
const TIMEOUT_MS = 3000;

describe.each([
  ['mosquitto, MQTT 5', mosquitto],
  ['aedes, MQTT 3.1.1', aedes],
])('the mqtt.js transport on %s', (_, startBroker) => {
  const ends: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });

  async function broker(): Promise<Broker> {
    const started = await startBroker();
    ends.push(() => started.remove());
    await started.start();
    return started;
  }

  function transport(url: string, clientId = 'client', keepAliveSeconds = 60): Transport {
    const created = createMqttjsTransport(
      {
        url,
        clientId,
        filters: FILTERS,
        keepAliveSeconds,
        connectTimeoutMs: TIMEOUT_MS,
        publishQueueMax: 3,
        backoff: { firstMs: 20, maxMs: 200, healthyAfterMs: 1000 },
      },
      { clock: systemClock },
    );
    ends.push(() => created.close());
    return created;
  }

  function heard(by: Transport): TransportMessage[] {
    const messages: TransportMessage[] = [];
    by.subscribe({ onMessage: (message) => void messages.push(message) });
    return messages;
  }

  async function up(link: Transport): Promise<Transport> {
    link.start();
    await until('the link', () => link.up);
    return link;
  }

  test('is up when all filters are granted, more than eight too, and delivers in order', async () => {
    const { url } = await broker();
    const link = await up(transport(url));
    const messages = heard(link);
    for (let n = 0; n < 20; n += 1) await link.publish(`t/${n % 11}/ü`, Buffer.from(String(n)), TIMEOUT_MS);
    await until('all messages', () => messages.length === 20);
    expect(messages.map(({ payload }) => Number(Buffer.from(payload).toString()))).toEqual([
      ...Array(20).keys(),
    ]);
  });

  test('carries 128 KiB, and refuses more', async () => {
    const { url } = await broker();
    const link = await up(transport(url));
    const messages = heard(link);
    await link.publish('t/1/big', Buffer.alloc(128 * 1024, 1), TIMEOUT_MS);
    await until('the message', () => messages.length === 1);
    expect(messages[0]?.payload.length).toBe(128 * 1024);
    await expect(link.publish('t/1/big', Buffer.alloc(128 * 1024 + 1), TIMEOUT_MS)).rejects.toThrow(
      /128|131072/,
    );
  });

  test('refuses while the link is down, and never sends that later', async () => {
    const stopped = await broker();
    const link = await up(transport(stopped.url));
    await stopped.stop();
    await until('the link to be down', () => !link.up);
    await expect(link.publish('t/1/late', Buffer.from('late'), 200)).rejects.toMatchObject({
      failure: 'linkDown',
    });
    const messages = heard(link);
    await stopped.start();
    await until('the link again', () => link.up);
    await link.publish('t/1/now', Buffer.from('now'), TIMEOUT_MS);
    await until('a message', () => messages.length > 0);
    expect(messages.map(({ topic }) => topic)).toEqual(['t/1/now']);
  });

  test('a refused connection is explained, and tried again until the broker is there', async () => {
    const later = await broker();
    await later.stop();
    const link = transport(later.url);
    link.start();
    await until('a failure', () => link.lastFailure);
    expect(link.lastFailure).toContain('ECONNREFUSED');
    await later.start();
    await until('the link', () => link.up);
  });

  test('a round trip is answered, and a renewed link is another connection', async () => {
    const { url } = await broker();
    const link = await up(transport(url));
    const changes: string[] = [];
    link.subscribe({ onUp: () => void changes.push('up'), onDown: () => void changes.push('down') });
    await link.roundTrip(TIMEOUT_MS);
    expect(changes).toEqual([]);
    await link.renew(TIMEOUT_MS);
    expect(changes).toEqual(['down', 'up']);
    await link.roundTrip(TIMEOUT_MS);
  });

  test('a second client of the same name takes over, and the first comes back by itself', async () => {
    const { url } = await broker();
    const first = await up(transport(url, 'same'));
    let downs = 0;
    first.subscribe({
      onDown: () => {
        downs += 1;
      },
    });
    const second = await up(transport(url, 'same'));
    await until('the first to be thrown out', () => downs > 0);
    await second.close();
    await until('the first again', () => first.up);
  });

  test('closed is closed: every later call is refused', async () => {
    const { url } = await broker();
    const link = await up(transport(url));
    await link.close();
    expect(link.up).toBe(false);
    await expect(link.publish('t/1/x', Buffer.from('x'), 200)).rejects.toMatchObject({ failure: 'closed' });
    await expect(link.roundTrip(200)).rejects.toMatchObject({ failure: 'closed' });
  });
});
