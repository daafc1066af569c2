import { once } from 'node:events';
import * as fs from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { Receipt } from '../../src/receipts/receipt.ts';
import type { Simulator } from '../../src/simulator/index.ts';
import { type BootedMachine, createBootedMachine } from './booted-machine.ts';
import type { Suite } from './booted-root.ts';
import { buildPackage, type TestPackage, writeIndex } from './debian-root.ts';
import { type Story, storiesIn } from './journals.ts';
import { until } from './until.ts';

/**
 * A device as fleets have it: a booted Debian with the agent as its service, a repository of packages, and services
 * that stop in the middle of what is asked of them for as long as it is wished.
 */
export interface BootedDevice {
  machine: BootedMachine;
  thing: string;
  /** Of files that a job fetches: half of one comes at once, and the rest when it may. */
  site: { port: number };
  publish(...packages: readonly TestPackage[]): Promise<void>;
  /** From now on whatever can be held stops in its middle. */
  hold(): Promise<void>;
  /** Until something is. */
  held(): Promise<void>;
  release(): Promise<void>;
  /** All that a job could change here, by name. */
  world(): Promise<Map<string, string>>;
  storyOf(jobId: string): Promise<Story | undefined>;
  closed(jobId: string): Promise<void>;
  receiptOf(jobId: string): Promise<Receipt>;
  destroy(): Promise<void>;
}

const LIMIT_MS = 120_000;
const REPOSITORY = 'var/local/repository';
/** A shell's text that waits while it is wished, and says that it does. */
export const HOLD =
  'if [ -e /run/hold ]; then touch /run/held; while [ -e /run/hold ]; do sleep 0.1; done; fi';
const HELD_SERVICE = `[Service]
ExecStartPre=/bin/sh -c '${HOLD}'
ExecStart=/bin/sleep infinity
ExecStop=/bin/sh -c '${HOLD}'
[Install]
WantedBy=multi-user.target
`;

/** One line for each thing: its name, a tab, what it is. */
const WORLD = `
find /etc /srv /newDir -printf '%p\\t%y %m %U:%G %l\\n' 2>/dev/null | grep -v -e /etc/mtab
find /etc /srv -type f -print0 | xargs -0 sha256sum | sed 's/^\\([0-9a-f]*\\)  \\(.*\\)/content of \\2\\t\\1/'
dpkg-query -W -f 'package \${Package}\\t\${db:Status-Abbrev} \${Version}\\n'
apt-mark showmanual | sed 's/^\\(.*\\)$/mark of \\1\\tmanual/'
for unit in app held; do printf 'service %s\\t%s\\n' $unit "$(systemctl is-active $unit)"; done
`;

export async function createBootedDevice(suite: Suite, simulator: Simulator): Promise<BootedDevice> {
  const machine = await createBootedMachine(suite);
  const thing = `device-${suite}-${process.pid}`;
  simulator.service.createThing(thing);
  const path = (name: string): string => join(machine.root, name);
  const isHeld = (): Promise<boolean> =>
    machine.exec('test', '-e', '/run/held').then(({ code }) => code === 0);
  let mayGoOn = (): void => undefined;
  let siteHolds = false;
  let siteHeld = false;
  const site = createServer((request, response) => {
    response.setHeader('content-length', 20);
    response.write('half of it');
    const rest = (): void => void response.end(', and rest');
    if (!siteHolds) return rest();
    siteHeld = true;
    mayGoOn = rest;
    request.once('close', () => undefined);
  });
  await once(site.listen(0, '127.0.0.1'), 'listening');

  const failWith = async (error: unknown): Promise<never> => {
    const { stdout } = await machine.exec('journalctl', '--no-pager', '-n', '60', '-u', 'evenkeel');
    throw new Error(`${(error as Error).message}\n${stdout}\n${machine.log().slice(-2000)}`);
  };
  const storyOf = async (jobId: string): Promise<Story | undefined> =>
    (await storiesIn(path('var/lib/evenkeel'))).find(({ progress }) => progress.identity.jobId === jobId);

  await furnish(machine, { thing, url: simulator.mqttUrl });
  return {
    machine,
    thing,
    site: { port: (site.address() as AddressInfo).port },
    async publish(...packages) {
      for (const one of packages) await buildPackage(one, path(REPOSITORY));
      await writeIndex(path(REPOSITORY));
      await machine.run('apt-get', 'update', '-qq');
    },
    async hold() {
      siteHolds = true;
      siteHeld = false;
      await machine.run('rm', '-f', '/run/held');
      await machine.run('touch', '/run/hold');
    },
    held: () =>
      until('something to be held', async () => siteHeld || (await isHeld()), LIMIT_MS).then(
        () => undefined,
        failWith,
      ),
    async release() {
      siteHolds = false;
      mayGoOn();
      mayGoOn = () => undefined;
      await machine.exec('rm', '-f', '/run/hold', '/run/held');
    },
    async world() {
      const lines = (await machine.run('/bin/sh', '-c', WORLD)).trimEnd().split('\n');
      const entries = lines.map((line) => line.split('\t') as [string, string]);
      const app = await machine.run('systemctl', 'show', '--property=InvocationID', '--value', 'app');
      return new Map([...entries, ['run of service app', app], ['boot', String(machine.boots)]]);
    },
    storyOf,
    async closed(jobId) {
      const isClosed = async (): Promise<boolean> => (await storyOf(jobId))?.progress.phase === 'closed';
      await until(`the end of ${jobId}`, isClosed, LIMIT_MS).catch(failWith);
    },
    receiptOf: (jobId) =>
      until(
        'its receipt',
        () => {
          const shadow = simulator.shadows.get(thing, 'evenkeel');
          const { receipt } =
            (shadow?.state as { reported?: { receipt?: Receipt } } | undefined)?.reported ?? {};
          return receipt?.jobId === jobId ? receipt : undefined;
        },
        LIMIT_MS,
      ).catch(failWith),
    async destroy() {
      site.closeAllConnections();
      site.close();
      await machine.destroy();
    },
  };
}

async function furnish(
  machine: BootedMachine,
  { thing, url }: { thing: string; url: string },
): Promise<void> {
  const path = (name: string): string => join(machine.root, name);
  const config = {
    thing,
    connection: { url, backoffFirstSeconds: 0.05, backoffMaxSeconds: 0.5 },
    jobs: { requestTimeoutSeconds: 2 },
    steps: { graceSeconds: 1 },
    undo: { retrySeconds: 0 },
    policy: { allowHttp: true },
  };
  await fs.mkdir(path('etc/evenkeel/handlers'), { recursive: true });
  await fs.writeFile(path('etc/evenkeel/evenkeel.yaml'), stringify(config));
  for (const unit of ['app', 'held', 'always'])
    await fs.writeFile(path(`etc/systemd/system/${unit}.service`), HELD_SERVICE);
  await fs.mkdir(path(REPOSITORY), { recursive: true });
  await fs.rm(path('etc/apt/sources.list.d'), { recursive: true, force: true });
  await fs.writeFile(path('etc/apt/sources.list'), `deb [trusted=yes] file:/${REPOSITORY} ./\n`);
  await machine.run('systemctl', 'daemon-reload');
  await machine.run('systemctl', 'enable', '--now', 'always.service', 'evenkeel.service');
}

/** What is another than before, with a sign: `+` is new, `-` is gone, `~` has changed. */
export function changes(before: ReadonlyMap<string, string>, now: ReadonlyMap<string, string>): string[] {
  const signs = [...new Set([...before.keys(), ...now.keys()])].sort().flatMap((name) => {
    if (before.get(name) === now.get(name)) return [];
    return [`${before.has(name) ? (now.has(name) ? '~' : '-') : '+'} ${name}`];
  });
  return signs;
}
