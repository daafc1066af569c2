import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

/** An HTTP proxy that tunnels (CONNECT). */
export interface ConnectProxy {
  url: string;
  /** The first line of every request. */
  asked: string[];
  /** Ends every tunnel with a reset. */
  cut(): void;
  close(): Promise<void>;
}

export interface ProxyManners {
  /** `user:password`, without which it refuses. */
  credentials?: string;
  /** Names that it alone can resolve. */
  names?: Record<string, string>;
  /** What it does with a request instead of what it should, unless that is `false`. */
  act?(socket: Socket, head: string): unknown;
}

export async function connectProxy({
  credentials,
  names = {},
  act,
}: ProxyManners = {}): Promise<ConnectProxy> {
  const asked: string[] = [];
  const sockets = new Set<Socket>();
  const keep = (socket: Socket): void => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
  };
  const wanted = credentials === undefined ? undefined : Buffer.from(credentials).toString('base64');
  const server = createServer((socket) => {
    keep(socket);
    socket.once('data', (chunk: Buffer) => {
      const head = chunk.toString();
      asked.push(head.split('\r\n')[0] ?? '');
      if (act !== undefined && act(socket, head) !== false) return;
      if (wanted !== undefined && !head.includes(`Proxy-Authorization: Basic ${wanted}\r\n`)) {
        socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
        return;
      }
      const [, host = '', port] = /^CONNECT \[?([^\]\s]+?)\]?:(\d+) /.exec(head) ?? [];
      const to = connect(Number(port), names[host] ?? host, () => {
        // In two pieces, as networks have it.
        socket.write('HTTP/1.1 200 Connection est');
        socket.write('ablished\r\nVia: test\r\n\r\n');
        socket.pipe(to).pipe(socket);
      });
      keep(to);
      to.on('close', () => socket.destroy());
      socket.on('close', () => to.destroy());
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
    asked,
    cut() {
      for (const socket of sockets) socket.resetAndDestroy();
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
