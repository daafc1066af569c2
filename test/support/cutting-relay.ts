import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

/** A relay in front of a broker that knows where one MQTT packet ends, and cuts there. */
export interface CuttingRelay {
  url: string;
  /**
   * From now on packets are counted, over all connections; behind the `after`-th in this direction the connection is
   * cut: closed at once, or swallowed for `swallowMs` and closed then.
   */
  arm(cut: Cut): void;
  /** Packets since the last `arm`. */
  readonly counted: Readonly<Record<Direction, number>>;
  /** Whether the cut of the last `arm` has happened. */
  readonly struck: boolean;
  close(): Promise<void>;
}

export const DIRECTIONS = ['toBroker', 'toDevice'] as const;
export type Direction = (typeof DIRECTIONS)[number];

export interface Cut {
  direction: Direction;
  after: number;
  kind: 'close' | 'swallow';
}

const SWALLOW_MS = 1200;

export async function cuttingRelay(brokerUrl: string): Promise<CuttingRelay> {
  const { port } = new URL(brokerUrl);
  const sockets = new Set<Socket>();
  let armed: Cut | undefined;
  let struck = false;
  let counted = { toBroker: 0, toDevice: 0 };

  const server = createServer((device) => {
    const broker = connect(Number(port), '127.0.0.1');
    let swallows = false;
    const end = (): void => {
      device.resetAndDestroy();
      broker.resetAndDestroy();
    };
    const cut = ({ kind }: Cut): void => {
      struck = true;
      armed = undefined;
      if (kind === 'close') {
        // What was before the cut has arrived.
        device.end();
        broker.end();
        setTimeout(end, 20);
        return;
      }
      setTimeout(end, SWALLOW_MS);
    };
    const relay = (from: Socket, to: Socket, direction: Direction): void => {
      sockets.add(from);
      from.setNoDelay(true);
      from.on('error', () => undefined);
      from.on('close', () => {
        sockets.delete(from);
        to.destroy();
      });
      const packets = packetsOf();
      from.on('data', (chunk: Buffer) => {
        for (const packet of packets(chunk)) {
          if (swallows) return;
          to.write(packet);
          counted[direction] += 1;
          if (armed?.direction === direction && counted[direction] >= armed.after) {
            swallows = true;
            cut(armed);
          }
        }
      });
    };
    relay(device, broker, 'toBroker');
    relay(broker, device, 'toDevice');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `mqtt://127.0.0.1:${(server.address() as { port: number }).port}`,
    arm(next) {
      armed = next;
      struck = false;
      counted = { toBroker: 0, toDevice: 0 };
    },
    get counted() {
      return counted;
    },
    get struck() {
      return struck;
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Cuts a stream into MQTT packets: a type, a length of one to four bytes, and that many more. */
function packetsOf(): (chunk: Buffer) => Buffer[] {
  let rest: Buffer = Buffer.alloc(0);
  return (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    const packets: Buffer[] = [];
    for (let size = sizeOf(rest); size !== undefined && rest.length >= size; size = sizeOf(rest)) {
      packets.push(rest.subarray(0, size));
      rest = rest.subarray(size);
    }
    return packets;
  };
}

/** `undefined` while the length is not there yet. */
function sizeOf(bytes: Buffer): number | undefined {
  let length = 0;
  for (let at = 1; at <= 4; at += 1) {
    const byte = bytes[at];
    if (byte === undefined) return undefined;
    length += (byte & 0x7f) * 128 ** (at - 1);
    if ((byte & 0x80) === 0) return 1 + at + length;
  }
  throw new Error('this is no MQTT packet');
}
