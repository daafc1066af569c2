import { afterEach } from 'vitest';
import { systemClock } from '../../src/host/clock.ts';
import { createCrtTransport } from '../../src/transport/crt.ts';
import { createMqttjsTransport } from '../../src/transport/mqttjs.ts';
import type { Transport, TransportMessage, TransportOptions } from '../../src/transport/port.ts';
import type { TransportDeps } from '../../src/transport/transport.ts';
import { until } from '../support/until.ts';

/** Both adapters, and what every test of them does. */

export const ADAPTERS = ['mqttjs', 'aws-sdk'] as const;
export type Adapter = (typeof ADAPTERS)[number];

export const TIMEOUT_MS = 5000;

/** For a test that must wait until something ends: it is `using`-free, and runs in the order last made, first ended. */
export function endings(): (end: () => Promise<unknown>) => void {
  const ends: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });
  return (end) => void ends.push(end);
}

export async function createAdapter(
  adapter: Adapter,
  options: Partial<TransportOptions> & Pick<TransportOptions, 'url' | 'filters'>,
  deps: Partial<TransportDeps> = {},
): Promise<Transport> {
  const all: TransportOptions = {
    clientId: 'client',
    keepAliveSeconds: 60,
    connectTimeoutMs: TIMEOUT_MS,
    publishQueueMax: 100,
    backoff: { firstMs: 20, maxMs: 200, healthyAfterMs: 1000 },
    ...options,
  };
  const allDeps = { clock: systemClock, ...deps };
  return adapter === 'mqttjs' ? createMqttjsTransport(all, allDeps) : await createCrtTransport(all, allDeps);
}

export async function up(link: Transport): Promise<Transport> {
  link.start();
  await until(`the link (${link.lastFailure ?? 'no failure'})`, () => link.up);
  return link;
}

export function heard(by: Transport): TransportMessage[] {
  const messages: TransportMessage[] = [];
  by.subscribe({ onMessage: (message) => void messages.push(message) });
  return messages;
}

export function textOf({ payload }: TransportMessage): string {
  return Buffer.from(payload).toString();
}

/** `up`, `down`, `up`… as they come. */
export function changesOf(link: Transport): string[] {
  const changes: string[] = [];
  link.subscribe({ onUp: () => void changes.push('up'), onDown: () => void changes.push('down') });
  return changes;
}
