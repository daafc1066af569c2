import { createServer, type Server, type Socket } from 'node:net';
import { duplexPair } from 'node:stream';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { Aedes, type Client, type PublishPacket } from 'aedes';
import type { TlsFiles } from '../certificates.ts';
import { urlHost } from '../http-server.ts';
import { certificateIdOf } from '../provisioning/certificate-book.ts';
import type { SimulatorClock } from '../service/types.ts';
import type { Trace } from '../trace.ts';
import { Connection, type ConnectionDeps, type Peer } from './connection.ts';
import { type MqttSwitches, PerSecondByName } from './limits.ts';
import type { MqttPlane } from './plane.ts';
import type { Policy } from './policy.ts';
import type { Requests } from './requests.ts';
import { type SessionStore, Sessions } from './sessions.ts';

export interface EmbeddedBrokerOptions {
  host: string;
  port: number;
  /** Listens with TLS, too, and asks for a client certificate; without one nobody is let in where it is required. */
  tls?: TlsFiles & { port: number; requireCertificate: boolean };
}

export interface EmbeddedBrokerDeps {
  requests: Requests;
  trace: Trace;
  policy: Policy;
  clock: SimulatorClock;
  switches: Readonly<MqttSwitches>;
}

/** The broker that devices connect to: aedes for publish, subscribe and sessions, and AWS's rules in front of it. */
export async function startEmbeddedBroker(
  { host, port, tls }: EmbeddedBrokerOptions,
  deps: EmbeddedBrokerDeps,
): Promise<MqttPlane> {
  const { clock, switches } = deps;
  // Depth and length of topics, and the keep-alive, are checked in front; nothing is refused for being many.
  const broker = await Aedes.createBroker({ queueLimit: 1000 });
  // aedes has it, and does not say so.
  const store = (broker as unknown as { persistence: SessionStore }).persistence;
  const sessions = new Sessions(store, clock, () => switches.sessionExpirySeconds);
  const open = new Map<string, Connection>();
  const late = new Map<string, { topic: string; payload: Buffer }[]>();
  const connects = new PerSecondByName(() => clock.monotonicMs());
  const inners = new Map<Connection, Client>();
  let nameless = 0;
  let answers = 0;

  const connectionDeps: ConnectionDeps = {
    ...deps,
    monotonicMs: () => clock.monotonicMs(),
    nextClientId() {
      nameless += 1;
      return `nameless-${nameless}`;
    },
    mayConnect: (client) => connects.take(client, switches.connectsPerSecond),
    takeOver: (client) => open.get(client)?.end('L26: another connection with this client id'),
    isKept: (client) => sessions.isKept(client),
    opened(connection) {
      const { client, clean } = connection;
      open.set(client, connection);
      return sessions.open(client, clean);
    },
    ready(connection) {
      const { client } = connection;
      for (const { topic, payload } of late.get(client) ?? []) connection.deliver(topic, payload);
      late.delete(client);
    },
    closed(connection) {
      inners.delete(connection);
      if (open.get(connection.client) !== connection) return;
      open.delete(connection.client);
      void sessions.close(connection.client);
    },
    deliverQos1(connection, topic, payload) {
      answers += 1;
      // aedes drops what is older than the last packet of the same origin, as a duplicate. An answer may overtake a
      // notification, so the two must not count as one origin.
      const origin = { brokerId: 'answers', brokerCounter: answers };
      const packet = { ...origin, cmd: 'publish', topic, payload, qos: 1, retain: false, dup: false };
      inners.get(connection)?.publish(packet as PublishPacket, () => undefined);
    },
    deliverLater(client, topic, payload) {
      const connection = open.get(client);
      if (connection?.isOpen === true) connection.deliver(topic, payload);
      else late.set(client, [...(late.get(client) ?? []), { topic, payload }]);
    },
  };

  const sockets = new Set<Socket>();
  const serve = (socket: Socket, peer: Peer): void => {
    socket.setNoDelay(true);
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    const [inner, outer] = duplexPair();
    const connection = new Connection(socket, outer, peer, connectionDeps);
    inners.set(connection, broker.handle(inner));
    inner.once('close', () => outer.destroy());
  };
  const servers: Server[] = [createServer((socket) => serve(socket, { secure: false }))];
  const ports: number[] = [];
  const close = async (): Promise<void> => {
    sessions.end();
    for (const socket of sockets) socket.destroy();
    await new Promise<void>((resolve) => broker.close(() => resolve()));
    for (const server of servers) await new Promise<void>((resolve) => server.close(() => resolve()));
  };
  try {
    ports.push(await listening(servers[0]!, port, host));
    if (tls) {
      const { key, cert, ca, requireCertificate } = tls;
      // Where none is required, the policy sees that a client without a certificate has no name.
      const server = createTlsServer(
        { key, cert, ca, requestCert: true, rejectUnauthorized: requireCertificate },
        (socket) => {
          if (!socket.authorized && hasCertificate(socket)) socket.destroy();
          else serve(socket, { secure: true, ...certificateOf(socket) });
        },
      );
      server.on('tlsClientError', () => undefined);
      servers.push(server);
      ports.push(await listening(server, tls.port, host));
    }
  } catch (error) {
    // A broker that is left alone keeps its process alive.
    await close();
    throw error;
  }

  return {
    url: `mqtt://${urlHost(host)}:${ports[0]}`,
    ...(ports[1] !== undefined && { tlsUrl: `mqtts://${urlHost(host)}:${ports[1]}` }),
    publish(topic, body, qos = 1) {
      const payload = Buffer.from(body instanceof Uint8Array ? body : JSON.stringify(body));
      broker.publish({ cmd: 'publish', topic, payload, qos, retain: false, dup: false }, () => undefined);
    },
    disconnect(clientId) {
      const connection = open.get(clientId);
      connection?.end('asked for');
      return connection !== undefined;
    },
    expireSession: (clientId) => sessions.expire(clientId),
    clients: () =>
      [...open.values()].map(({ principal, clean, secure, subscriptions }) => ({
        ...principal,
        clean,
        secure,
        subscriptions,
      })),
    close,
  };
}

async function listening(server: Server, port: number, host: string): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) =>
      reject(new Error(`cannot listen for MQTT on ${host}:${port}: ${error.message}`)),
    );
    server.listen(port, host, resolve);
  });
  return (server.address() as { port: number }).port;
}

function hasCertificate(socket: TLSSocket): boolean {
  return Object.keys(socket.getPeerCertificate()).length > 0;
}

function certificateOf(socket: TLSSocket): Omit<Peer, 'secure'> {
  const certificate = socket.getPeerX509Certificate();
  if (!certificate) return {};
  const name = socket.getPeerCertificate().subject?.CN as string | string[] | undefined;
  const commonName = Array.isArray(name) ? name[0] : name;
  return {
    certificateId: certificateIdOf(certificate),
    ...(commonName !== undefined && { commonName }),
  };
}
