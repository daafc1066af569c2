import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';
import { generate, type Packet, parser } from 'mqtt-packet';
import { stringify } from 'yaml';
import { examine } from '../../src/cli/doctor/examine.ts';
import type { Finding, Report } from '../../src/cli/doctor/finding.ts';
import { type DoctorHost, thisMachine } from '../../src/cli/doctor/host.ts';
import { systemClock } from '../../src/host/clock.ts';

/** A device to be looked at: a configuration under a directory of its own, on this machine or on a sick one. */
export interface Patient {
  root: string;
  thing: string;
  state: string;
  config: string;
  /** Writes the configuration; sections that are not given are those of a healthy device. */
  configure(change: Record<string, unknown>): Promise<void>;
  examined(sick?: Partial<DoctorHost>, options?: { write: boolean }): Promise<Report>;
  /** What is closed at the end, in reverse order. */
  onEnd(end: () => unknown): void;
  remove(): Promise<void>;
}

/** Limits pass ten times as fast, for those who wait for something that never comes. */
export const HURRIED = {
  ...systemClock,
  sleep: (ms: number, signal?: AbortSignal) => systemClock.sleep(ms / 10, signal),
};

let patients = 0;

export async function createPatient(): Promise<Patient> {
  const root = await mkdtemp('/var/tmp/evenkeel-patient-');
  patients += 1;
  const thing = `patient-${process.pid}-${patients}`;
  const state = join(root, 'state');
  const config = join(root, 'evenkeel.yaml');
  const ends: (() => unknown)[] = [];
  await mkdir(state, { mode: 0o700 });
  const configure = async (change: Record<string, unknown>): Promise<void> => {
    const healthy = {
      thing,
      state: { directory: state },
      steps: { handlerDirectory: join(root, 'handlers') },
    };
    await writeFile(config, stringify({ ...healthy, ...change }));
  };
  await configure({});
  return {
    root,
    thing,
    state,
    config,
    configure,
    async examined(sick = {}, options = { write: false }) {
      const host = { ...thisMachine(), ...sick };
      const report = await examine({ configPath: config, ...options }, host);
      if (!report) throw new Error('the configuration cannot be read');
      return report;
    },
    onEnd: (end) => void ends.push(end),
    async remove() {
      for (const end of ends.splice(0).reverse()) await end();
      await rm(root, { recursive: true, force: true });
    },
  };
}

export function finding({ sections }: Report, name: string): Finding | undefined {
  return sections.flatMap(({ findings }) => findings).find((one) => one.name === name);
}

/** Listens on loopback until the patient goes. */
export async function listen(server: Server, patient: Patient, host = '127.0.0.1'): Promise<number> {
  const sockets = new Set<Socket>();
  const keep = (socket: Socket): void => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => sockets.delete(socket));
  };
  server.on('connection', keep);
  server.on('secureConnection', keep);
  server.on('tlsClientError', () => undefined);
  server.listen(0, host);
  await once(server, 'listening');
  patient.onEnd(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as { port: number }).port;
}

/** What a broker of the test says to a packet; nothing where it returns nothing, and it hangs up on `end`. */
export type Reply = (packet: Packet, version: number) => Packet | Packet[] | 'end' | undefined;

/** A broker that grants everything, unless `reply` says something else. */
export async function brokerThat(reply: Reply, patient: Patient, tls?: TlsOptions): Promise<number> {
  const serve = (socket: Socket): void => {
    let version = 5;
    const reader = parser();
    reader.on('packet', (packet: Packet) => {
      if (packet.cmd === 'connect') version = packet.protocolVersion ?? 4;
      const said = reply(packet, version) ?? granted(packet);
      if (said === 'end') socket.destroy();
      else for (const one of [said ?? []].flat()) socket.write(generate(one, { protocolVersion: version }));
    });
    socket.on('data', (chunk: Buffer) => reader.parse(chunk));
  };
  return await listen(tls ? createTlsServer(tls, serve) : createServer(serve), patient);
}

/** Answers a request of the jobs protocol, as the service does for a job that it does not know. */
export function answering(packet: Packet): Packet[] | undefined {
  if (packet.cmd !== 'publish') return undefined;
  const { clientToken } = JSON.parse(packet.payload.toString()) as { clientToken: string };
  const unknown = packet.topic.endsWith('/update');
  const body = unknown ? { clientToken, code: 'ResourceNotFound', message: 'no' } : { clientToken };
  const answer: Packet = {
    cmd: 'publish',
    topic: `${packet.topic}/${unknown ? 'rejected' : 'accepted'}`,
    payload: JSON.stringify(body),
    qos: 0,
    dup: false,
    retain: false,
  };
  return [{ cmd: 'puback', messageId: packet.messageId ?? 0 }, answer];
}

function granted(packet: Packet): Packet | undefined {
  switch (packet.cmd) {
    case 'connect':
      return { cmd: 'connack', sessionPresent: false, reasonCode: 0, returnCode: 0 } as Packet;
    case 'subscribe':
      return { cmd: 'suback', messageId: packet.messageId ?? 0, granted: [1] };
    case 'publish':
      return { cmd: 'puback', messageId: packet.messageId ?? 0 };
    default:
      return undefined;
  }
}
