import { readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { connack, fakeBroker } from '../support/fake-broker.ts';
import { until } from '../support/until.ts';
import { ADAPTERS, createAdapter, endings, TIMEOUT_MS, up } from './transports.ts';

/** An unattended device reconnects for years: nothing may be left of a connection, or of an attempt at one. */

const WARM = 300;
const MEASURED = 700;
const BYTES_EACH_MAX = 1500;

// Before the CRT is loaded: it then counts its own memory, byte by byte.
process.env['AWS_CRT_MEMORY_TRACING'] = '1';
setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

const WAYS = ADAPTERS.flatMap((adapter) =>
  ([4, 5] as const).map((mqttVersion) => ({ adapter, mqttVersion })),
);

describe.each(WAYS)('$adapter, MQTT version $mqttVersion', ({ adapter, mqttVersion }) => {
  const atEnd = endings();

  async function nativeBytes(): Promise<number> {
    return adapter === 'aws-sdk' ? (await import('aws-crt')).default.crt.native_memory() : 0;
  }

  async function used(): Promise<{ bytes: number; files: number; threads: number }> {
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
    };
  }

  test('a thousand connections and a thousand refusals leave nothing behind', {
    timeout: 120_000,
  }, async () => {
    let refusals = 0;
    let refuses = false;
    const fake = await fakeBroker((packet, client) => {
      fake.packets.length = 0;
      if (packet.cmd !== 'connect' || !refuses) return false;
      refusals += 1;
      client.send(connack(mqttVersion === 5 ? 0x88 : 3));
      client.end();
      return true;
    });
    atEnd(() => fake.close());
    const link = await createAdapter(adapter, {
      url: fake.url,
      filters: ['a/b'],
      mqttVersion,
      backoff: { firstMs: 0, maxMs: 0, healthyAfterMs: 1000 },
    });
    atEnd(() => link.close());
    await up(link);

    const reconnect = async (times: number): Promise<void> => {
      for (let n = 0; n < times; n += 1) await link.renew(TIMEOUT_MS);
      refuses = true;
      const enough = refusals + times;
      const renewed = link.renew(60_000);
      await until('the refusals', () => refusals >= enough, 60_000);
      refuses = false;
      await renewed;
    };
    await reconnect(WARM);
    const before = await used();
    await reconnect(MEASURED);
    const after = await used();
    expect(after.files).toBeLessThanOrEqual(before.files + 3);
    expect(after.threads).toBeLessThanOrEqual(before.threads + 2);
    expect((after.bytes - before.bytes) / MEASURED).toBeLessThan(BYTES_EACH_MAX);
  });
});
