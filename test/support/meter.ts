import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { type Packet, type Parser, parser } from 'mqtt-packet';

/** What went over a wire: packets of MQTT and their bytes, without those of TCP and TLS below them. */
export interface Tally {
  /** By direction, as the device sees it, and type: `out publish`. */
  packets: Record<string, number>;
  bytesOut: number;
  bytesIn: number;
}

/** A wire to a broker that counts what passes. */
export interface Meter {
  url: string;
  /** Since the last call. */
  take(): Tally;
  close(): Promise<void>;
}

export async function meterTo(url: string): Promise<Meter> {
  const { hostname, port } = new URL(url);
  const sockets = new Set<Socket>();
  let tally = nothing();

  const count = (direction: 'out' | 'in', packet: Packet): void => {
    const type = `${direction} ${packet.cmd}`;
    tally.packets[type] = (tally.packets[type] ?? 0) + 1;
    const bytes = sizeOf(packet.length ?? 0);
    if (direction === 'out') tally.bytesOut += bytes;
    else tally.bytesIn += bytes;
  };

  const server = createServer((near) => {
    const far = connect(Number(port), hostname);
    let readers: { out: Parser; in: Parser } | undefined;
    const relay = (from: Socket, to: Socket, direction: 'out' | 'in'): void => {
      sockets.add(from);
      from.setNoDelay(true);
      from.on('error', () => undefined);
      from.on('close', () => {
        sockets.delete(from);
        to.destroy();
      });
      from.on('data', (chunk: Buffer) => {
        to.write(chunk);
        readers ??= readersFor(chunk, count);
        readers[direction].parse(chunk);
      });
    };
    relay(near, far, 'out');
    relay(far, near, 'in');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `mqtt://127.0.0.1:${(server.address() as { port: number }).port}`,
    take() {
      const taken = tally;
      tally = nothing();
      return taken;
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

const nothing = (): Tally => ({ packets: {}, bytesOut: 0, bytesIn: 0 });

/** The client speaks first, and says which version it is. */
function readersFor(
  first: Buffer,
  count: (direction: 'out' | 'in', packet: Packet) => void,
): { out: Parser; in: Parser } {
  const protocolVersion = first.includes('MQTT\u0005') ? 5 : 4;
  const reader = (direction: 'out' | 'in'): Parser => {
    const made = parser({ protocolVersion });
    made.on('packet', (packet: Packet) => count(direction, packet));
    // What cannot be read is not counted: the refusal of a version, in the words of the other one.
    made.on('error', () => undefined);
    return made;
  };
  return { out: reader('out'), in: reader('in') };
}

/** With the byte of the type and those of the length. */
function sizeOf(length: number): number {
  let bytes = 2 + length;
  for (let rest = length >> 7; rest > 0; rest >>= 7) bytes += 1;
  return bytes;
}
