import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import type { Simulator } from '../../../src/simulator/index.ts';
import { until } from '../../support/until.ts';

/** A device that speaks AWS IoT Jobs by hand, through mqtt.js, and keeps all that it hears. */

export type Body = Record<string, unknown>;

export interface Message {
  /** Below `$aws/things/THING/jobs/`. */
  topic: string;
  body: Body;
}

export interface JobsDevice {
  mqtt: MqttClient;
  /** Everything in order, stamps as `s` (see `plain`). */
  heard: Message[];
  /** Publishes a request, and resolves with the first message that comes on one of its two answers. */
  ask(topic: string, body?: Body | string | Buffer): Promise<Message>;
  /** notify and notify-next since the last call, when all that is on its way has come. */
  news(): Promise<Message[]>;
  close(): Promise<void>;
}

/** The filters of real clients (T8): AWS' SDK has the first three kinds, Device Client the others. */
const FILTERS = ['get/+', 'start-next/+', '+/get/+', '+/update/accepted', '+/update/rejected'];
const NOTICES = ['notify', 'notify-next'];

export async function connectJobsDevice(
  { mqttUrl, publish }: Pick<Simulator, 'mqttUrl' | 'publish'>,
  thing: string,
  options: IClientOptions = {},
): Promise<JobsDevice> {
  const prefix = `$aws/things/${thing}/jobs/`;
  const mqtt = await connectAsync(mqttUrl, { clientId: thing, protocolVersion: 4, ...options });
  const heard: Message[] = [];
  const settled = new Set<string>();
  mqtt.on('message', (topic, payload) => {
    if (topic.startsWith('settled/')) settled.add(topic);
    else
      heard.push({
        topic: topic.replace(prefix, ''),
        body: plain(JSON.parse(payload.toString())) as Body,
      });
  });
  await mqtt.subscribeAsync(
    [...FILTERS, ...NOTICES].map((filter) => `${prefix}${filter}`),
    { qos: 1 },
  );
  await mqtt.subscribeAsync(`settled/${thing}/#`, { qos: 1 });
  let told = 0;
  const device: JobsDevice = {
    mqtt,
    heard,
    async ask(topic, body = {}) {
      const from = heard.length;
      const payload = typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body);
      await mqtt.publishAsync(`${prefix}${topic}`, payload, { qos: 1 });
      const answers = [`${topic}/accepted`, `${topic}/rejected`];
      return await until(`an answer on ${topic}`, () =>
        heard.slice(from).find((one) => answers.includes(one.topic)),
      );
    },
    async news() {
      // Behind what an answer makes known comes the answer to the next question, and then what is published now.
      await device.ask('get');
      const marker = `settled/${thing}/${heard.length}`;
      publish(marker, {});
      await until('what is on its way', () => settled.has(marker));
      const fresh = heard.slice(told).filter(({ topic }) => NOTICES.includes(topic));
      told = heard.length;
      return fresh;
    },
    close: () => mqtt.endAsync(true),
  };
  return device;
}

const STAMPS = ['timestamp', 'queuedAt', 'startedAt', 'lastUpdatedAt'];
const DAYS_10_SECONDS = 864_000;

/** P3: each stamp must be whole seconds of these days, and is `s` from then on, so that bodies can be compared whole. */
export function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, one]) => [name, STAMPS.includes(name) ? stamp(one) : plain(one)]),
  );
}

function stamp(value: unknown): unknown {
  const distance = Math.abs(Number(value) - Date.now() / 1000);
  return typeof value === 'number' && Number.isInteger(value) && distance < DAYS_10_SECONDS ? 's' : value;
}

/** The members of an execution that has never been touched, as the device plane tells them. */
export const queued = (jobId: string, more: Body = {}): Body => ({
  jobId,
  queuedAt: 's',
  lastUpdatedAt: 's',
  executionNumber: 1,
  versionNumber: 1,
  ...more,
});
export const started = (jobId: string, more: Body = {}): Body =>
  queued(jobId, { startedAt: 's', versionNumber: 2, ...more });

export const notify = (jobs: Body): Message => ({ topic: 'notify', body: { timestamp: 's', jobs } });
export const notifyNext = (execution?: Body): Message => ({
  topic: 'notify-next',
  body: { timestamp: 's', ...(execution && { execution }) },
});
