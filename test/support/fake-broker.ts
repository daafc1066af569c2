import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { generate, type Packet, parser } from 'mqtt-packet';

/** A broker that answers exactly what it is told to, for what no real one can be brought to say. */
export interface FakeBroker {
  url: string;
  /** Every packet of every client, in order. */
  packets: Packet[];
  /** Connections that are open now. */
  clients(): FakeClient[];
  close(): Promise<void>;
}

export interface FakeClient {
  send(packet: Packet): void;
  /** Bytes that need not be a packet. */
  write(bytes: Buffer): void;
  end(): void;
}

/** What to do with a packet; `false` leaves it to the polite default: grant, acknowledge, and nothing more. */
export type Behaviour = (packet: Packet, client: FakeClient) => boolean;

/** With `tls`, it takes clients that show a certificate alone. */
export async function fakeBroker(
  behave: Behaviour = () => false,
  tls?: { cert: string; key: string; ca: string },
): Promise<FakeBroker> {
  const packets: Packet[] = [];
  const clients = new Map<Socket, FakeClient>();
  const take = (socket: Socket): void => {
    let version = 4;
    const reader = parser();
    const client: FakeClient = {
      send: (packet) => void socket.write(generate(packet, { protocolVersion: version })),
      write: (bytes) => void socket.write(bytes),
      end: () => socket.destroy(),
    };
    clients.set(socket, client);
    socket.setNoDelay(true);
    socket.on('error', () => undefined);
    socket.on('close', () => clients.delete(socket));
    socket.on('data', (chunk: Buffer) => reader.parse(chunk));
    reader.on('packet', (packet) => {
      if (packet.cmd === 'connect') version = packet.protocolVersion ?? 4;
      packets.push(packet);
      if (!behave(packet, client)) answer(packet, client);
    });
  };
  const server = tls
    ? createTlsServer({ ...tls, requestCert: true, rejectUnauthorized: true }, take)
    : createServer(take);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `${tls ? 'mqtts://localhost' : 'mqtt://127.0.0.1'}:${(server.address() as { port: number }).port}`,
    packets,
    clients: () => [...clients.values()],
    async close() {
      for (const socket of clients.keys()) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** CONNACK with a code of the client's version. */
export function connack(code: number): Packet {
  return { cmd: 'connack', reasonCode: code, returnCode: code, sessionPresent: false };
}

function answer(packet: Packet, client: FakeClient): void {
  const messageId = packet.messageId ?? 0;
  if (packet.cmd === 'connect') client.send(connack(0));
  else if (packet.cmd === 'subscribe')
    client.send({ cmd: 'suback', messageId, granted: packet.subscriptions.map(() => 1) });
  else if (packet.cmd === 'unsubscribe')
    client.send({ cmd: 'unsuback', messageId, granted: packet.unsubscriptions.map(() => 0) });
  else if (packet.cmd === 'publish' && packet.qos === 1)
    client.send({ cmd: 'puback', messageId, reasonCode: 0 });
  else if (packet.cmd === 'pingreq') client.send({ cmd: 'pingresp' });
  else if (packet.cmd === 'disconnect') client.end();
}
