import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { generate, type Packet, parser } from 'mqtt-packet';
import { until } from './until.ts';

/** A client that says exactly what it is told to, however wrong. */
export interface RawClient {
  send(packet: Packet): void;
  /** Every packet of the broker, in order. */
  packets: Packet[];
  /** Waits for a packet of this kind that `next` has not yet given. */
  next<C extends Packet['cmd']>(cmd: C): Promise<Extract<Packet, { cmd: C }>>;
  /** Resolves when the broker has ended the connection. */
  ended(): Promise<void>;
  readonly isOpen: boolean;
  close(): void;
}

export async function rawClient(
  mqttUrl: string,
  connectPacket?: Partial<Extract<Packet, { cmd: 'connect' }>>,
): Promise<RawClient> {
  const { hostname, port } = new URL(mqttUrl);
  const socket: Socket = connect(Number(port), hostname);
  await once(socket, 'connect');
  const packets: Packet[] = [];
  const given = new Set<Packet>();
  const reader = parser();
  reader.on('packet', (packet) => packets.push(packet));
  socket.on('data', (chunk: Buffer) => reader.parse(chunk));
  socket.on('error', () => undefined);
  const client: RawClient = {
    packets,
    send: (packet) => void socket.write(generate(packet)),
    async next(cmd) {
      const found = await until(`a packet ${cmd}`, () =>
        packets.find((packet) => packet.cmd === cmd && !given.has(packet)),
      );
      given.add(found);
      return found as never;
    },
    async ended() {
      await until('the end of the connection', () => socket.closed);
    },
    get isOpen() {
      return !socket.closed;
    },
    close: () => socket.destroy(),
  };
  if (connectPacket) {
    client.send({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 4,
      clean: true,
      keepalive: 60,
      clientId: 'raw',
      ...connectPacket,
    });
  }
  return client;
}

/** Connected: the CONNACK has come. */
export async function connected(
  mqttUrl: string,
  connectPacket: Partial<Extract<Packet, { cmd: 'connect' }>> = {},
): Promise<RawClient> {
  const client = await rawClient(mqttUrl, connectPacket);
  const { returnCode } = await client.next('connack');
  if (returnCode !== 0) throw new Error(`CONNACK ${returnCode}`);
  return client;
}
