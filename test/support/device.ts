import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import * as fs from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { until } from './until.ts';

/** A device on this machine: a directory with an application, a site that serves its next version, and the agent. */

const AT_RECORD = new URL('./agent-at-record.mjs', import.meta.url).pathname;
const AT_WRITE = new URL('./agent-at-write.mjs', import.meta.url).pathname;
const MAIN = new URL('../../dist/cli/main.js', import.meta.url).pathname;
/** Until an agent is at its place, on a busy machine, and how often it is looked for. */
const REACH_MS = 60_000;
const LOOK_MS = 50;
const NEW_BINARY = Buffer.from('#!/bin/sh\necho version 2\n'.repeat(4096));

/** What an agent can speak MQTT with. */
export const TEST_TRANSPORTS = ['mqttjs', 'aws-sdk'] as const;
export type TestTransport = (typeof TEST_TRANSPORTS)[number];

/** The transport of a run of tests: `EVENKEEL_TEST_TRANSPORT=aws-sdk npm test` takes the other one everywhere. */
function chosenTransport(): TestTransport {
  const name = process.env['EVENKEEL_TEST_TRANSPORT'] ?? 'mqttjs';
  const known = TEST_TRANSPORTS.find((one) => one === name);
  if (known === undefined)
    throw new Error(`EVENKEEL_TEST_TRANSPORT: must be one of ${TEST_TRANSPORTS.join(', ')}`);
  return known;
}

export interface Site {
  url: string;
  sha256: string;
  sizeBytes: number;
  close(): Promise<void>;
}

/** Serves `/app` (the next version) and `/health`. */
export async function startSite(): Promise<Site> {
  const server: Server = createServer((request, response) => {
    if (request.url?.startsWith('/app')) response.end(NEW_BINARY);
    else response.writeHead(request.url === '/health' ? 200 : 404).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
    sha256: createHash('sha256').update(NEW_BINARY).digest('hex'),
    sizeBytes: NEW_BINARY.length,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

export interface Device {
  thing: string;
  root: string;
  config: string;
  path(name: string): string;
  /** Puts sections in place of those of its configuration. */
  configure(change: Record<string, object | string>): Promise<void>;
  /** Every file and link of the device with its content, as lines; two that are equal are the same device. */
  files(): Promise<string[]>;
  start(): Promise<void>;
  /**
   * Starts an agent that dies, or stands still for a moment, at its n-th journal record. Resolves to true when it is
   * there, and to false when `enough` says that it never will be.
   */
  startUntil(record: number, then: 'kill' | 'pause', enough: () => Promise<boolean>): Promise<boolean>;
  /** The same for one that dies behind its n-th change of what lies below a directory of that name. */
  startUntilWrite(directory: string, write: number, enough: () => Promise<boolean>): Promise<boolean>;
  /** Ends the agent's process and waits for its end. */
  stop(signal: NodeJS.Signals): Promise<number | null>;
  readonly running: boolean;
  log(): string;
  remove(): Promise<void>;
}

/** Puts the device into its old state, whatever it was. */
export async function restoreDevice({ path }: Pick<Device, 'path'>): Promise<void> {
  await fs.rm(path('.'), { recursive: true, force: true });
  for (const directory of ['etc', 'bin', 'var', 'releases/1', 'releases/2']) {
    await fs.mkdir(path(directory), { recursive: true });
  }
  await fs.writeFile(path('etc/app.conf'), 'version = 1\n', { mode: 0o640 });
  await fs.writeFile(path('bin/app'), '#!/bin/sh\necho version 1\n', { mode: 0o755 });
  await fs.symlink('releases/1', path('current'));
}

/** A device in its old state under /var/tmp; `change` overrides keys of its configuration. */
export async function createDevice(
  thing: string,
  mqttUrl: string,
  change: Record<string, object> = {},
): Promise<Device> {
  // Not /tmp: on many machines that is tmpfs, where the agent refuses to keep journals.
  const root = await fs.mkdtemp('/var/tmp/evenkeel-device-');
  const path = (name: string): string => join(root, 'device', name);
  await restoreDevice({ path });
  const config = join(root, 'evenkeel.yaml');
  const values: Record<string, object | string> = {
    thing,
    steps: { graceSeconds: 1, handlerDirectory: join(root, 'handlers') },
    policy: { allowHttp: true },
    undo: { retrySeconds: 0 },
    ...change,
    connection: {
      url: mqttUrl,
      transport: chosenTransport(),
      backoffFirstSeconds: 0.05,
      backoffMaxSeconds: 0.5,
      spreadSeconds: 0.5,
      ...change['connection'],
    },
    state: { directory: join(root, 'state'), ...change['state'] },
  };
  await fs.writeFile(config, stringify(values));

  let child: ChildProcess | undefined;
  const chunks: Buffer[] = [];
  const launch = async (args: readonly string[]): Promise<ChildProcess> => {
    const launched = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
    child = launched;
    for (const stream of [launched.stdout, launched.stderr])
      stream?.on('data', (chunk: Buffer) => chunks.push(chunk));
    await once(launched, 'spawn');
    return launched;
  };
  const reached = async (
    launched: ChildProcess,
    what: string,
    enough: () => Promise<boolean>,
  ): Promise<boolean> => {
    let there = false;
    const isThere = (): void => {
      there = true;
    };
    launched.once('message', isThere);
    launched.once('exit', isThere);
    await until(what, async () => there || (await enough()), REACH_MS, LOOK_MS);
    return there;
  };
  return {
    thing,
    root,
    config,
    path,
    configure: (more) => fs.writeFile(config, stringify(Object.assign(values, more))),
    files: () => listed(join(root, 'device'), ''),
    async start() {
      await launch([MAIN, 'run', '--config', config]);
    },
    async startUntil(record, then, enough) {
      const launched = await launch([AT_RECORD, config, String(record), then]);
      return await reached(launched, `record ${record}`, enough);
    },
    async startUntilWrite(directory, write, enough) {
      const launched = await launch([AT_WRITE, config, directory, String(write)]);
      return await reached(launched, `write ${write}`, enough);
    },
    async stop(signal) {
      const ending = child;
      if (!ending || ending.exitCode !== null || ending.signalCode !== null) return ending?.exitCode ?? null;
      const exited = once(ending, 'exit');
      ending.kill(signal);
      await exited;
      return ending.exitCode;
    },
    get running() {
      return child !== undefined && child.exitCode === null && child.signalCode === null;
    },
    log: () => Buffer.concat(chunks).toString(),
    remove: () => fs.rm(root, { recursive: true, force: true }),
  };
}

/** Every entry below a directory with its mode and content, as lines; what goes while it is read is left out. */
export async function listed(directory: string, prefix: string): Promise<string[]> {
  const lines: string[] = [];
  for (const name of (await fs.readdir(directory)).sort()) {
    try {
      lines.push(...(await entry(join(directory, name), `${prefix}${name}`)));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  return lines;
}

async function entry(path: string, shown: string): Promise<string[]> {
  const stat = await fs.lstat(path);
  const mode = (stat.mode & 0o7777).toString(8);
  if (stat.isDirectory()) return [`${shown}/ ${mode}`, ...(await listed(path, `${shown}/`))];
  if (stat.isSymbolicLink()) return [`${shown} -> ${await fs.readlink(path)}`];
  const hash = createHash('sha256')
    .update(await fs.readFile(path))
    .digest('hex')
    .slice(0, 12);
  return [`${shown} ${mode} ${stat.size} bytes sha256 ${hash}`];
}

/** The five steps of an update: configuration, download, link, a long command with children, a health check. */
export function updateDocument(device: Device, site: Site, commandSeconds: number): object {
  const action = (name: string, type: string, input: object, more: object = {}): object => ({
    action: { name, type, input, ...more },
  });
  const log = device.path('var/migrate.log');
  const script = `sleep ${commandSeconds} & sleep ${commandSeconds} & echo migrating > ${log}; wait; echo done >> ${log}`;
  return {
    version: '1.0',
    steps: [
      action('configure', 'writeFile', { path: device.path('etc/app.conf'), content: 'version = 2\n' }),
      action('download', 'downloadFile', {
        url: `${site.url}/app`,
        path: device.path('bin/app'),
        sha256: site.sha256,
        sizeBytes: site.sizeBytes,
      }),
      action('switch', 'switchLink', { link: device.path('current'), target: 'releases/2' }),
      action('migrate', 'runCommand', { command: ['/bin/sh', '-c', script] }, { snapshotPaths: [log] }),
      action('health', 'check', { url: `${site.url}/health` }, { timeoutSeconds: 5 }),
    ],
  };
}

/** Processes of this machine whose command line contains `text`. */
export async function processesWith(text: string): Promise<number[]> {
  const found: number[] = [];
  for (const name of await fs.readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const line = await fs.readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '');
    if (line.includes(text) && Number(name) !== process.pid) found.push(Number(name));
  }
  return found;
}
