import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import { Aedes, type Client } from 'aedes';
import type { TlsFiles } from '../../src/simulator/certificates.ts';
import { until } from './until.ts';

/** A real broker on a loopback port. `stop` drops every connection; `start` listens on the same port again. */
export interface Broker {
  url: string;
  start(): Promise<void>;
  stop(): Promise<void>;
  remove(): Promise<void>;
}

/** A broker with this takes only clients that show a certificate, and lets each touch `$aws/things/ITS-NAME/#` alone. */
export type BrokerTls = TlsFiles & {
  caFile: string;
  certFile: string;
  keyFile: string;
  /** More lines of Mosquitto's acl_file. */
  acl?: readonly string[];
};

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

/** Who shows a certificate of this name may do what the cloud does. */
export const SIMULATOR = 'evenkeel-simulator';

/** Debian's Mosquitto, which speaks MQTT 5 and 3.1.1; with a user nobody else may connect. */
export async function mosquitto(
  tls?: BrokerTls,
  user?: { username: string; password: string },
): Promise<Broker> {
  const port = await freePort();
  const directory = await mkdtemp('/var/tmp/evenkeel-mosquitto-');
  const config = join(directory, 'mosquitto.conf');
  const acl = join(directory, 'acl');
  const lines = ['set_tcp_nodelay true', 'persistence false', 'user root', `listener ${port} 127.0.0.1`];
  const env = { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin` };
  if (user !== undefined) {
    const passwords = join(directory, 'passwords');
    await promisify(execFile)('mosquitto_passwd', ['-b', '-c', passwords, user.username, user.password], {
      env,
    });
    lines.push('allow_anonymous false', `password_file ${passwords}`);
  } else if (tls === undefined) lines.push('allow_anonymous true');
  if (tls !== undefined) {
    const service = `user ${SIMULATOR}\ntopic readwrite $aws/#`;
    const rules = [service, 'pattern readwrite $aws/things/%u/#', ...(tls.acl ?? [])];
    await writeFile(acl, `${rules.join('\n')}\n`, { mode: 0o600 });
    lines.push(`acl_file ${acl}`, 'require_certificate true', 'use_identity_as_username true');
    lines.push(`cafile ${tls.caFile}`, `certfile ${tls.certFile}`, `keyfile ${tls.keyFile}`);
  }
  await writeFile(config, `${lines.join('\n')}\n`);
  let child: ChildProcess | undefined;
  const stop = async (): Promise<void> => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  };
  return {
    url: urlOf(port, tls),
    async start() {
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
export async function aedes(tls?: BrokerTls): Promise<Broker> {
  const port = await freePort();
  let close: () => Promise<void> = () => Promise.resolve();
  return {
    url: urlOf(port, tls),
    async start() {
      const broker = await Aedes.createBroker();
      if (tls !== undefined) allowOwnTopics(broker);
      const sockets = new Set<Socket>();
      const take = (socket: Socket): void => {
        sockets.add(socket);
        broker.handle(socket);
      };
      const server = tls
        ? createTlsServer({ ...tls, requestCert: true, rejectUnauthorized: true }, take)
        : createServer(take);
      server.listen(port, '127.0.0.1');
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

/** As AWS does it with MQTT 3.1.1: 0x80 for a filter, the end of the connection for a message. */
function allowOwnTopics(broker: Aedes): void {
  const isOwn = (client: Client | null, topic: string): boolean => {
    const name = (client?.conn as TLSSocket | undefined)?.getPeerCertificate().subject.CN;
    return topic.startsWith(`$aws/things/${String(name)}/`);
  };
  broker.authorizePublish = (client, packet, done) =>
    done(isOwn(client, packet.topic) ? null : new Error('no such right'));
  broker.authorizeSubscribe = (client, subscription, done) =>
    done(null, isOwn(client, subscription.topic) ? subscription : null);
}

function urlOf(port: number, tls: BrokerTls | undefined): string {
  return tls ? `mqtts://localhost:${port}` : `mqtt://127.0.0.1:${port}`;
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
