import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Transport, TransportOptions, TransportTls } from '../../src/transport/port.ts';
import type { MqttVersion } from '../../src/transport/protocol-version.ts';
import type { Broker } from '../support/brokers.ts';
import { connected } from '../support/raw-mqtt.ts';
import { until } from '../support/until.ts';
import { type Wire, wireTo } from '../support/wire.ts';
import {
  type Adapter,
  changesOf,
  createAdapter,
  endings,
  heard,
  TIMEOUT_MS,
  textOf,
  up,
} from './transports.ts';

/** One broker and one way to it. */
export interface Scene {
  broker: Broker;
  mqttVersion: MqttVersion;
  /** With it, the broker lets a client touch its own thing's topics alone. */
  tls?: TransportTls;
  /** What this broker does with a message that its policy does not allow. */
  denied: 'refused' | 'linkDown' | 'swallowed';
  /** What it does with a filter that its policy does not allow. */
  deniedFilter: 'refused' | 'granted';
}

export interface Way {
  name: string;
  /** Mutual TLS, and a policy. */
  secure: boolean;
  open(): Promise<Scene>;
}

const OWN = '$aws/things/boat';
/** Eleven, so more than one SUBSCRIBE packet holds. */
const FILTERS = Array.from({ length: 11 }, (_, index) => `${OWN}/${index}/+`);

/** What an adapter must do on every broker. */
function transportContract(adapter: Adapter, { secure, open }: Way): void {
  const atEnd = endings();
  let scene: Scene;
  let wire: Wire;
  let lastClient = 0;
  beforeAll(async () => {
    scene = await open();
    await scene.broker.start();
    wire = await wireTo(scene.broker.url);
  });
  afterAll(async () => {
    await wire.close();
    await scene.broker.remove();
  });

  async function transport(options: Partial<TransportOptions> = {}): Promise<Transport> {
    lastClient += 1;
    const link = await createAdapter(adapter, {
      url: wire.url,
      clientId: `boat-${lastClient}`,
      filters: FILTERS,
      mqttVersion: scene.mqttVersion,
      ...(scene.tls && { tls: scene.tls }),
      ...options,
    });
    atEnd(() => link.close());
    return link;
  }

  test('is up when all filters are granted, more than eight too; each of them delivers', async () => {
    const link = await up(await transport());
    const messages = heard(link);
    for (const n of FILTERS.keys()) await link.publish(`${OWN}/${n}/x`, Buffer.from(String(n)), TIMEOUT_MS);
    await until('all messages', () => messages.length === FILTERS.length);
    expect(messages.map(textOf)).toEqual(FILTERS.map((_, n) => String(n)));
  });

  test('publishes are acknowledged, and their order is kept', async () => {
    const link = await up(await transport());
    const messages = heard(link);
    const numbers = Array.from({ length: 80 }, (_, n) => String(n));
    await Promise.all(numbers.map((n) => link.publish(`${OWN}/1/x`, Buffer.from(n), TIMEOUT_MS)));
    await until('all messages', () => messages.length === numbers.length);
    expect(messages.map(textOf)).toEqual(numbers);
  });

  test('carries 128 KiB, nothing at all, and topics in any script', async () => {
    const link = await up(await transport());
    const messages = heard(link);
    const big = Buffer.alloc(128 * 1024, 'x');
    await link.publish(`${OWN}/1/grüße-日本-🚢`, big, TIMEOUT_MS);
    await link.publish(`${OWN}/1/empty`, Buffer.alloc(0), TIMEOUT_MS);
    await until('the messages', () => messages.length === 2);
    expect(messages.map(({ topic }) => topic)).toEqual([`${OWN}/1/grüße-日本-🚢`, `${OWN}/1/empty`]);
    expect(Buffer.compare(messages[0]?.payload ?? Buffer.alloc(0), big)).toBe(0);
    expect(messages[1]?.payload.length).toBe(0);
    await expect(link.publish(`${OWN}/1/x`, Buffer.alloc(big.length + 1), TIMEOUT_MS)).rejects.toThrow(
      /131072/,
    );
  });

  test('a round trip is answered and changes nothing; a renewed link is another connection', async () => {
    const link = await up(await transport());
    const changes = changesOf(link);
    const messages = heard(link);
    await Promise.all([link.roundTrip(TIMEOUT_MS), link.roundTrip(TIMEOUT_MS)]);
    expect(changes).toEqual([]);
    const connections = wire.connections;
    await link.renew(TIMEOUT_MS);
    expect(wire.connections).toBe(connections + 1);
    expect(changes).toEqual(['down', 'up']);
    await link.roundTrip(TIMEOUT_MS);
    await link.publish(`${OWN}/1/x`, Buffer.from('still subscribed'), TIMEOUT_MS);
    await until('a message', () => messages.length === 1);
  });

  test('a second client of the same name takes over, and the first comes back by itself', async () => {
    const first = await up(await transport({ clientId: 'same' }));
    const changes = changesOf(first);
    const second = await transport({ clientId: 'same' });
    second.start();
    await until('the first to be thrown out', () => changes.includes('down'));
    await second.close();
    await until('the first again', () => first.up);
  });

  test('a broker that restarts: refused meanwhile, never sent later, up again', async () => {
    const link = await up(await transport());
    const messages = heard(link);
    await scene.broker.stop();
    await until('the link to be down', () => !link.up);
    await expect(link.publish(`${OWN}/1/late`, Buffer.from('late'), 200)).rejects.toMatchObject({
      failure: 'linkDown',
    });
    await expect(link.roundTrip(200)).rejects.toMatchObject({ failure: 'linkDown' });
    await scene.broker.start();
    await until('the link again', () => link.up);
    await link.publish(`${OWN}/1/now`, Buffer.from('now'), TIMEOUT_MS);
    await until('a message', () => messages.length > 0);
    await link.roundTrip(TIMEOUT_MS);
    expect(messages.map(({ topic }) => topic)).toEqual([`${OWN}/1/now`]);
  });

  test('a connection that is reset is lost, and made anew', async () => {
    const link = await up(await transport());
    const changes = changesOf(link);
    const lost = link.publish(`${OWN}/1/x`, Buffer.alloc(100_000), TIMEOUT_MS);
    wire.cut();
    await expect(lost).rejects.toMatchObject({ failure: 'linkDown' });
    await until('the link again', () => changes.join() === 'down,up');
  });

  test('a half-open link is noticed by the keep-alive, and replaced', async () => {
    const link = await up(await transport({ keepAliveSeconds: 1, connectTimeoutMs: 1000 }));
    const messages = heard(link);
    wire.freeze();
    const lost = link.publish(`${OWN}/1/lost`, Buffer.from('lost'), 300);
    await expect(lost).rejects.toMatchObject({ failure: 'timeout' });
    await expect(link.roundTrip(100)).rejects.toMatchObject({ failure: 'timeout' });
    await until('the link to be down', () => !link.up);
    wire.thaw();
    await until('the link again', () => link.up);
    await link.publish(`${OWN}/1/now`, Buffer.from('now'), TIMEOUT_MS);
    await until('a message', () => messages.length > 0);
    expect(messages.map(textOf)).toEqual(['now']);
  });

  // The older client is a raw one, which does no TLS.
  test.skipIf(secure)(
    'begins a session of its own: what waits for an older client of its name is not delivered',
    async () => {
      const older = await connected(scene.broker.url, { clientId: 'older', clean: false });
      older.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: `${OWN}/1/+`, qos: 1 }] });
      await older.next('suback');
      older.close();
      const other = await up(await transport());
      await other.publish(`${OWN}/1/x`, Buffer.from('for the older'), TIMEOUT_MS);
      const link = await transport({ clientId: 'older' });
      const messages = heard(link);
      const sessions: boolean[] = [];
      link.subscribe({ onUp: (sessionPresent) => void sessions.push(sessionPresent) });
      await up(link);
      await link.publish(`${OWN}/1/x`, Buffer.from('now'), TIMEOUT_MS);
      await until('a message', () => messages.length > 0);
      expect(messages.map(textOf)).toEqual(['now']);
      await link.renew(TIMEOUT_MS);
      expect(sessions).toEqual([false, false]);
    },
  );

  test.runIf(secure)(
    'what the policy of the broker denies is not sent, and does no lasting harm',
    async () => {
      const link = await up(await transport());
      const denied = link.publish('$aws/things/other/1/x', Buffer.from('x'), 1000);
      if (scene.denied === 'swallowed') await denied;
      else await expect(denied).rejects.toMatchObject({ failure: scene.denied });
      await until('the link', () => link.up);
      await link.publish(`${OWN}/1/x`, Buffer.from('x'), TIMEOUT_MS);
      const foreign = await transport({ filters: ['$aws/things/other/1/+'] });
      foreign.start();
      if (scene.deniedFilter === 'granted') await until('the link', () => foreign.up);
      else {
        await until('the refusal', () => foreign.lastFailure?.includes('0x80'));
        expect(foreign.lastFailure).toContain('$aws/things/other/1/+');
        expect(foreign.up).toBe(false);
      }
    },
  );

  test('closed is closed: every later call is refused, and nothing reaches the broker any more', async () => {
    const link = await up(await transport());
    await link.close();
    expect(link.up).toBe(false);
    await expect(link.publish(`${OWN}/1/x`, Buffer.from('x'), 200)).rejects.toMatchObject({
      failure: 'closed',
    });
    await expect(link.roundTrip(200)).rejects.toMatchObject({ failure: 'closed' });
    await expect(link.renew(200)).rejects.toMatchObject({ failure: 'closed' });
    expect(() => link.start()).toThrow(/closed/);
  });
}

/** The contract on each way to each broker. */
export function contractOn(adapter: Adapter, ways: readonly Way[]): void {
  describe.each(ways)(`${adapter} on $name`, (way) => transportContract(adapter, way));
}
