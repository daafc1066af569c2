import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

/** The wire between a client and a broker, that can fail as wires do. */
export interface Wire {
  url: string;
  /** Nothing passes any more, and nobody is told: a half-open link, or a network that swallows. */
  freeze(): void;
  /** What was held back passes, and so does everything from now on. */
  thaw(): void;
  /** Cuts all connections with a reset. */
  cut(): void;
  /** Connections that were made up to now. */
  readonly connections: number;
  close(): Promise<void>;
}

/** A wire to the broker at `url`. */
export async function wireTo(url: string): Promise<Wire> {
  const { protocol, hostname, port } = new URL(url);
  const sockets = new Set<Socket>();
  let frozen = false;
  let connections = 0;
  const server = createServer((near) => {
    connections += 1;
    const far = connect(Number(port), '127.0.0.1');
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.setNoDelay(true);
      // A reset of one side is the end of the other, and no news to the test.
      from.on('error', () => undefined);
      from.on('close', () => {
        sockets.delete(from);
        to.destroy();
      });
      from.on('data', (chunk) => to.write(chunk));
      if (frozen) from.pause();
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `${protocol}//${hostname}:${(server.address() as { port: number }).port}`,
    freeze() {
      frozen = true;
      for (const socket of sockets) socket.pause();
    },
    thaw() {
      frozen = false;
      for (const socket of sockets) socket.resume();
    },
    cut() {
      for (const socket of sockets) socket.resetAndDestroy();
    },
    get connections() {
      return connections;
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
