import { readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import type { Transport } from '../../src/transport/port.ts';
import { connack, fakeBroker } from '../support/fake-broker.ts';
import { until } from '../support/until.ts';
import { certificates } from './scenes.ts';
import { ADAPTERS, createAdapter, endings, TIMEOUT_MS, up } from './transports.ts';

/** An unattended device reconnects for years: nothing may be left of a connection, or of an attempt at one. */

/** Connections, and as many refusals; a handshake of TLS takes both ends a while. */
const WARM = { TCP: 300, 'mutual TLS': 100 };
const MEASURED = { TCP: 700, 'mutual TLS': 300 };
/** Beside each other, since each mostly waits. */
const LINKS = 5;
const BYTES_EACH_MAX = 700;
/** What a collector leaves, however many there were. */
const BYTES_ONCE_MAX = 512 * 1024;

// Before the CRT is loaded: it then counts its own memory, byte by byte.
process.env['AWS_CRT_MEMORY_TRACING'] = '1';
setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

const WAYS = ADAPTERS.flatMap((adapter) =>
  ([4, 5] as const).flatMap((mqttVersion) =>
    (['TCP', 'mutual TLS'] as const).map((layer) => ({ adapter, mqttVersion, layer })),
  ),
);

describe.each(WAYS)('$adapter, MQTT version $mqttVersion, $layer', ({ adapter, mqttVersion, layer }) => {
  const atEnd = endings();

  async function nativeBytes(): Promise<number> {
    return adapter === 'aws-sdk' ? (await import('aws-crt')).default.crt.native_memory() : 0;
  }

  async function used(): Promise<Record<'bytes' | 'files' | 'threads' | 'handles' | 'listeners', number>> {
    // What the collector finds is freed in a later turn, and may be the last reason for something else.
    for (let turn = 0; turn < 5; turn += 1) {
      collect();
      await sleep(100);
    }
    const { heapUsed, external } = process.memoryUsage();
    return {
      bytes: heapUsed + external + (await nativeBytes()),
      files: readdirSync('/proc/self/fd').length,
      threads: readdirSync('/proc/self/task').length,
      // Sockets, timers and requests that the loop waits for.
      handles: process.getActiveResourcesInfo().length,
      listeners: process.eventNames().reduce((sum, name) => sum + process.listenerCount(name), 0),
    };
  }

  test('hundreds of connections and as many refusals leave nothing behind', {
    timeout: 120_000,
  }, async () => {
    let refusals = 0;
    let refuses = false;
    const { server, client: tls } = await certificates();
    const isSecure = layer !== 'TCP';
    const fake = await fakeBroker(
      (packet, client) => {
        fake.packets.length = 0;
        if (packet.cmd !== 'connect' || !refuses) return false;
        refusals += 1;
        client.send(connack(mqttVersion === 5 ? 0x88 : 3));
        client.end();
        return true;
      },
      isSecure ? server : undefined,
    );
    atEnd(() => fake.close());
    const links = await Promise.all(
      Array.from({ length: LINKS }, () =>
        createAdapter(adapter, {
          url: fake.url,
          filters: ['a/b'],
          mqttVersion,
          ...(isSecure && { tls }),
          backoff: { firstMs: 0, maxMs: 0, healthyAfterMs: 1000 },
        }),
      ),
    );
    for (const link of links) {
      atEnd(() => link.close());
      await up(link);
    }

    const reconnect = async (times: number): Promise<void> => {
      const each = async (link: Transport): Promise<void> => {
        for (let n = 0; n < times / LINKS; n += 1) await link.renew(TIMEOUT_MS);
      };
      await Promise.all(links.map(each));
      refuses = true;
      const enough = refusals + times;
      const renewed = Promise.all(links.map((link) => link.renew(60_000)));
      await until('the refusals', () => refusals >= enough, 60_000);
      refuses = false;
      await renewed;
    };
    await reconnect(WARM[layer]);
    const before = await used();
    await reconnect(MEASURED[layer]);
    const after = await used();
    expect(after.files).toBeLessThanOrEqual(before.files + 3);
    expect(after.handles).toBeLessThanOrEqual(before.handles + 3);
    expect(after.listeners).toBe(before.listeners);
    expect(after.threads).toBeLessThanOrEqual(before.threads + 2);
    expect(after.bytes - before.bytes).toBeLessThan(BYTES_ONCE_MAX + MEASURED[layer] * BYTES_EACH_MAX);
  });
});
