import { createServer, type Server, type Socket } from 'node:net';
import { Aedes, type Client, type PublishPacket } from 'aedes';
import { type DevicePlane, type DeviceRequest, parseTopic } from '../device/device-plane.ts';
import type { Faults } from '../faults.ts';
import { Refusal, type SimulatorClock } from '../service/types.ts';
import type { MessageEvent, Trace } from '../trace.ts';

/** The broker that devices connect to; requests on reserved topics are answered to the connection that asked (T4). */
export interface MqttPlane {
  port: number;
  publish(topic: string, body: object): void;
  /** Ends the connections of a client id, as a dying network does. */
  disconnect(clientId: string): void;
  close(): Promise<void>;
}

/** L18, L20. */
const PAYLOAD_BYTES_MAX = 128 * 1024;
const FILTERS_MAX = 8;

export interface MqttPlaneDeps {
  plane: DevicePlane;
  faults: Faults;
  clock: SimulatorClock;
  trace: Trace;
}

export async function startMqttPlane(host: string, port: number, deps: MqttPlaneDeps): Promise<MqttPlane> {
  const clients = new Map<string, Client>();
  let answers = 0;
  const nextAnswer = (): number => {
    answers += 1;
    return answers;
  };
  const broker = await Aedes.createBroker({
    authorizePublish(client, packet, done) {
      if (client) deps.trace.record(messageEvent('in', client, packet));
      if (client && packet.topic.startsWith('$aws/')) {
        // T10: closed, as AWS does.
        if (packet.retain || packet.payload.length > PAYLOAD_BYTES_MAX) {
          client.close();
          return;
        }
        void answer(client, packet, deps, nextAnswer);
      }
      done(null);
    },
    authorizeForward(client, packet) {
      deps.trace.record(messageEvent('out', client, packet));
      return packet;
    },
  });
  broker.on('client', (client) => {
    clients.set(client.id, client);
    const { id, version, clean } = client;
    deps.trace.record({ kind: 'connect', client: id, protocol: version, clean, secure: false });
  });
  broker.on('clientDisconnect', ({ id }) => deps.trace.record({ kind: 'disconnect', client: id }));
  broker.on('unsubscribe', (filters, { id }) =>
    deps.trace.record({ kind: 'unsubscribe', client: id, filters }),
  );
  broker.on('subscribe', (subscriptions, client) => {
    const filters = subscriptions.map(({ topic, qos }) => ({ filter: topic, granted: qos }));
    deps.trace.record({ kind: 'subscribe', client: client.id, filters });
    if (subscriptions.length > FILTERS_MAX) client?.close();
  });

  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    socket.setNoDelay(true);
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    broker.handle(socket);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
  return {
    port: (server.address() as { port: number }).port,
    publish(topic, body) {
      const payload = Buffer.from(JSON.stringify(body));
      broker.publish({ cmd: 'publish', topic, payload, qos: 1, retain: false, dup: false }, () => undefined);
    },
    disconnect: (clientId) => clients.get(clientId)?.close(),
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => broker.close(() => resolve()));
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

async function answer(
  client: Client,
  packet: PublishPacket,
  { plane, faults, clock }: MqttPlaneDeps,
  nextAnswer: () => number,
): Promise<void> {
  const parsed = parseTopic(packet.topic);
  if (!parsed) return;
  const body = parseBody(Buffer.from(packet.payload));
  const request: DeviceRequest = { ...parsed, body: body ?? {} };
  const base = { timestamp: Math.floor(clock.wallMs() / 1000), clientToken: request.body['clientToken'] };
  const fault = await faults.request(request);
  if (fault.kind === 'drop') return;
  const refusal =
    body === undefined ? new Refusal('InvalidJson', 'the payload is no JSON object') : refusalOf(fault);
  const answered = refusal ? plane.refuse(request, refusal, base) : plane.answer(request);
  if ((await faults.answer(request, answered)).kind === 'drop') return;
  client.publish(
    {
      // aedes drops what is older than the last packet of the same origin, as a duplicate. An answer may overtake a
      // notification, so the two must not count as one origin.
      brokerId: 'answers',
      brokerCounter: nextAnswer(),
      cmd: 'publish',
      topic: `${packet.topic}/${answered.verdict}`,
      payload: Buffer.from(JSON.stringify(answered.body)),
      // T6
      qos: 0,
      retain: false,
      dup: false,
    } as PublishPacket,
    () => undefined,
  );
}

function messageEvent(
  direction: 'in' | 'out',
  client: Client,
  { topic, payload, qos, retain }: PublishPacket,
): MessageEvent {
  const bytes = Buffer.from(payload);
  return {
    kind: 'message',
    direction,
    client: client.id,
    topic,
    payload: bytes.toString('utf8'),
    bytes: bytes.length,
    qos,
    retain,
  };
}

function refusalOf(fault: { kind: string; code?: string }): Refusal | undefined {
  return fault.kind === 'reject'
    ? new Refusal(fault.code ?? 'InternalError', 'a fault on purpose')
    : undefined;
}

/** P1: an empty payload is an empty object. */
function parseBody(payload: Buffer): Record<string, unknown> | undefined {
  if (payload.length === 0) return {};
  try {
    const value = JSON.parse(payload.toString('utf8')) as unknown;
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}
