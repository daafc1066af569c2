import { createServer, type Server, type Socket } from 'node:net';
import { Aedes, type Client, type PublishPacket } from 'aedes';
import type { MessageEvent, Trace } from '../trace.ts';
import type { MqttPlane } from './plane.ts';
import type { Requests } from './requests.ts';

/** L18, L20. */
const PAYLOAD_BYTES_MAX = 128 * 1024;
const FILTERS_MAX = 8;

export interface MqttPlaneDeps {
  requests: Requests;
  trace: Trace;
}

/** The broker that devices connect to; requests on reserved topics are answered to the connection that asked (T4). */
export async function startMqttPlane(host: string, port: number, deps: MqttPlaneDeps): Promise<MqttPlane> {
  const clients = new Map<string, Client>();
  let answers = 0;
  const reply = (client: Client, topic: string, payload: Buffer): void => {
    answers += 1;
    client.publish(
      {
        // aedes drops what is older than the last packet of the same origin, as a duplicate. An answer may overtake a
        // notification, so the two must not count as one origin.
        brokerId: 'answers',
        brokerCounter: answers,
        cmd: 'publish',
        topic,
        payload,
        // T6
        qos: 0,
        retain: false,
        dup: false,
      } as PublishPacket,
      () => undefined,
    );
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
        deps.requests(packet.topic, Buffer.from(packet.payload), (topic, payload) =>
          reply(client, topic, payload),
        );
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
    url: `mqtt://${host}:${(server.address() as { port: number }).port}`,
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
