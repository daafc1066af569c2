import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { generate, type Packet, parser } from 'mqtt-packet';
import { until } from './until.ts';

/** Many devices in one process: each with a real MQTT connection of its own, and no more than it needs. */

export type Body = Record<string, unknown>;

/** What a device does with a job that it is told of, decided when it is asked. */
export type Deed = 'leave' | 'hold' | 'SUCCEEDED' | 'FAILED' | 'REJECTED';

export interface FleetDevice {
  readonly thing: string;
  /** Notifications in order: their kind, and what they say in short (see `said`). */
  readonly news: string[];
  /** Answers in order, below `jobs/`: such as `j/update/accepted`, and the code of a rejected one. */
  readonly answers: string[];
  /** Reports a status, by hand. */
  update(jobId: string, status: string): void;
  /** Resolves when the broker has answered, so that all that it sent before has come. */
  ping(): Promise<void>;
  close(): void;
}

export interface Fleet {
  devices: readonly FleetDevice[];
  /** MQTT messages (PUBLISH) that came in and went out, of all devices together. */
  readonly messages: number;
  close(): Promise<void>;
}

export interface FleetOptions {
  mqttUrl: string;
  things: readonly string[];
  deed(thing: string, jobId: string): Deed;
  /** Connections that are made at once. */
  atOnce?: number;
}

const NOTICES = ['notify', 'notify-next'];

/** Connects and subscribes all of them; a device works its jobs off from the first notification on. */
export async function connectFleet({ mqttUrl, things, deed, atOnce = 100 }: FleetOptions): Promise<Fleet> {
  const counted = { messages: 0 };
  const devices: (FleetDevice & { ready: Promise<void>; gone: Promise<unknown> })[] = [];
  for (let at = 0; at < things.length; at += atOnce) {
    const some = things.slice(at, at + atOnce).map((thing) => deviceOf(mqttUrl, thing, deed, counted));
    devices.push(...some);
    await Promise.all(some.map(({ ready }) => ready));
  }
  return {
    devices,
    get messages() {
      return counted.messages;
    },
    async close() {
      for (const device of devices) device.close();
      await Promise.all(devices.map(({ gone }) => gone));
    },
  };
}

function deviceOf(
  mqttUrl: string,
  thing: string,
  deed: FleetOptions['deed'],
  counted: { messages: number },
): FleetDevice & { ready: Promise<void>; gone: Promise<unknown> } {
  const { hostname, port } = new URL(mqttUrl);
  const socket: Socket = connect(Number(port), hostname);
  socket.setNoDelay(true);
  socket.on('error', () => undefined);
  const prefix = `$aws/things/${thing}/jobs/`;
  const news: string[] = [];
  const answers: string[] = [];
  const pings: (() => void)[] = [];
  let messageId = 0;
  const send = (packet: Packet): void => void socket.write(generate(packet));
  const publish = (topic: string, body: Body): void => {
    counted.messages += 1;
    messageId += 1;
    const payload = JSON.stringify(body);
    send({
      cmd: 'publish',
      topic: `${prefix}${topic}`,
      payload,
      qos: 1,
      messageId,
      dup: false,
      retain: false,
    });
  };
  const update = (jobId: string, status: string): void => publish(`${jobId}/update`, { status });
  const heard = (topic: string, body: Body): void => {
    if (NOTICES.includes(topic)) {
      news.push(said(topic, body));
      const front = body['execution'] as { jobId: string; status: string } | undefined;
      if (front?.status === 'QUEUED' && deed(thing, front.jobId) !== 'leave') publish('start-next', {});
      return;
    }
    const isAccepted = topic.endsWith('/accepted');
    answers.push(isAccepted ? topic : `${topic} ${String(body['code'])}`);
    if (topic !== 'start-next/accepted') return;
    const { jobId } = (body['execution'] ?? {}) as { jobId?: string };
    const wanted = jobId === undefined ? 'leave' : deed(thing, jobId);
    if (jobId !== undefined && wanted !== 'hold' && wanted !== 'leave') update(jobId, wanted);
  };
  const reader = parser();
  const ready = new Promise<void>((resolve, reject) => {
    reader.on('packet', (packet) => {
      if (packet.cmd === 'connack') {
        if (packet.returnCode !== 0) reject(new Error(`${thing}: CONNACK ${packet.returnCode}`));
        const filters = [...NOTICES, 'start-next/+', '+/update/+'];
        const subscriptions = filters.map((filter) => ({
          topic: `${prefix}${filter}`,
          qos: 1 as const,
        }));
        send({ cmd: 'subscribe', messageId: 1, subscriptions });
      } else if (packet.cmd === 'suback') resolve();
      else if (packet.cmd === 'pingresp') pings.shift()?.();
      else if (packet.cmd === 'publish') {
        counted.messages += 1;
        if (packet.qos === 1) send({ cmd: 'puback', messageId: packet.messageId ?? 0 });
        heard(packet.topic.slice(prefix.length), JSON.parse(packet.payload.toString()) as Body);
      }
    });
    socket.once('close', () => reject(new Error(`${thing}: the connection was ended`)));
  });
  socket.on('data', (chunk: Buffer) => reader.parse(chunk));
  const gone = once(socket, 'close');
  const keepalive = 1200;
  send({
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 4,
    clean: true,
    keepalive,
    clientId: thing,
  });
  return {
    thing,
    news,
    answers,
    update,
    ready,
    gone,
    ping: () =>
      new Promise((resolve) => {
        pings.push(resolve);
        send({ cmd: 'pingreq' });
      }),
    close: () => socket.end(generate({ cmd: 'disconnect' })),
  };
}

/** `notify IN_PROGRESS a; QUEUED b, c`, `notify-next a QUEUED`; nothing behind it when nothing is pending. */
function said(topic: string, body: Body): string {
  const front = body['execution'] as { jobId: string; status: string } | undefined;
  if (topic === 'notify-next') return front ? `notify-next ${front.jobId} ${front.status}` : topic;
  const jobs = (body['jobs'] ?? {}) as Record<string, { jobId: string }[]>;
  const lists = Object.entries(jobs).map(
    ([status, list]) => `${status} ${list.map(({ jobId }) => jobId).join(', ')}`,
  );
  return [topic, lists.join('; ')].filter((word) => word !== '').join(' ');
}

/** Waits until every device passes; says which do not. */
export async function untilAll(
  what: string,
  devices: readonly FleetDevice[],
  passes: (device: FleetDevice) => boolean,
  limitMs = 60_000,
): Promise<void> {
  const missing = (): FleetDevice[] => devices.filter((device) => !passes(device));
  await until(what, () => missing().length === 0, limitMs, 50).catch((error: unknown) => {
    const some = missing();
    const shown = some
      .slice(0, 3)
      .map(({ thing, news, answers }) => JSON.stringify({ thing, news, answers }));
    throw new Error(`${what}: not for ${some.length} devices: ${shown.join(' ')}`, { cause: error });
  });
}
