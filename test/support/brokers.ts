import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { Aedes } from 'aedes';
import { until } from './until.ts';

/** A real broker on a loopback port. `stop` drops every connection; `start` listens on the same port again. */
export interface Broker {
  url: string;
  start(): Promise<void>;
  stop(): Promise<void>;
  remove(): Promise<void>;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

/** Debian's Mosquitto, which speaks MQTT 5. */
export async function mosquitto(): Promise<Broker> {
  const port = await freePort();
  const directory = await mkdtemp('/var/tmp/evenkeel-mosquitto-');
  const config = join(directory, 'mosquitto.conf');
  await writeFile(
    config,
    `listener ${port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\npersistence false\nuser root\n`,
  );
  let child: ChildProcess | undefined;
  const stop = async (): Promise<void> => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  };
  return {
    url: `mqtt://127.0.0.1:${port}`,
    async start() {
      const env = { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin` };
      child = spawn('mosquitto', ['-c', config], { stdio: 'ignore', env });
      await once(child, 'spawn');
      await until('mosquitto to listen', () => accepts(port));
    },
    stop,
    async remove() {
      await stop();
      await rm(directory, { recursive: true });
    },
  };
}

/** aedes, which speaks 3.1.1 only. */
export async function aedes(): Promise<Broker> {
  const port = await freePort();
  let close: () => Promise<void> = () => Promise.resolve();
  return {
    url: `mqtt://127.0.0.1:${port}`,
    async start() {
      const broker = await Aedes.createBroker();
      const sockets = new Set<Socket>();
      const server = createServer((socket) => {
        sockets.add(socket);
        broker.handle(socket);
      }).listen(port, '127.0.0.1');
      await once(server, 'listening');
      close = async () => {
        for (const socket of sockets) socket.destroy();
        await new Promise<void>((resolve) => broker.close(() => resolve()));
        await new Promise<void>((resolve) => server.close(() => resolve()));
      };
    },
    stop: () => close(),
    remove: () => close(),
  };
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
