import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { stringify } from 'yaml';
import type { Progress } from '../../src/execution/progress.ts';
import type { Receipt } from '../../src/receipts/receipt.ts';
import type { Simulator } from '../../src/simulator/index.ts';
import { thingArn } from '../../src/simulator/service/jobs-service.ts';
import { createDebianRoot, type DebianRoot } from '../support/debian-root.ts';
import { executionsIn } from '../support/journals.ts';
import { until } from '../support/until.ts';

/** The real agent inside a throw-away Debian, with one job. */
export interface PackageDevice extends DebianRoot {
  start(): Promise<void>;
  kill(): Promise<void>;
  /** The agent and every process that a job of it has started end in one moment, as in a power cut. */
  cut(): Promise<void>;
  createJob(...actions: readonly object[]): void;
  cancel(): void;
  status(): string;
  receipt(): Receipt | undefined;
  /** Why the cloud holds it to be FAILED or REJECTED. */
  reason(): string;
  /** Until its journal is closed. */
  closed(): Promise<Progress>;
  /** Until the file that a step or a maintainer script makes is there. */
  mark(name: string): Promise<void>;
  marker(name: string): string;
  log(): string;
}

const MAIN = new URL('../../dist/cli/main.js', import.meta.url).pathname;
const LIMIT_MS = 90_000;
let devices = 0;

export async function createPackageDevice(
  simulator: Simulator,
  policy: Record<string, string> = {},
  dpkgWaitSeconds = 1800,
): Promise<PackageDevice> {
  devices += 1;
  const thing = `debian-${process.pid}-${devices}`;
  const jobId = `job-${thing}`;
  simulator.service.createThing(thing);
  const root = await createDebianRoot();
  const state = join(root.shared, 'state');
  const config = join(root.shared, 'evenkeel.yaml');
  const values = {
    thing,
    connection: { url: simulator.mqttUrl, backoffFirstSeconds: 0.05, backoffMaxSeconds: 0.5 },
    state: { directory: state },
    jobs: { queueRetrySeconds: 1, heartbeatSeconds: 5 },
    steps: { graceSeconds: 1, dpkgWaitSeconds },
    undo: { retrySeconds: 0 },
    policy,
  };
  await fs.writeFile(config, stringify(values));
  let child: ChildProcess | undefined;
  let log = '';
  const marker = (name: string): string => join(root.shared, name);
  const kill = async (): Promise<void> => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  };
  return {
    ...root,
    marker,
    kill,
    async cut() {
      child?.kill('SIGKILL');
      await killMounted(root.inside);
      await kill();
    },
    async start() {
      const [program, ...args] = [...root.inside, process.execPath, MAIN, 'run', '--config', config];
      child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
      for (const stream of [child.stdout, child.stderr]) {
        stream?.on('data', (chunk: Buffer) => {
          log += chunk.toString();
        });
      }
      await once(child, 'spawn');
    },
    createJob(...actions) {
      const steps = actions.map((action) => ({ action }));
      const document = JSON.stringify({ version: '1.0', steps });
      simulator.service.createJob({ jobId, targets: [thingArn(thing)], document });
    },
    cancel: () => simulator.service.cancelExecution(thing, jobId, { force: true }),
    status: () => simulator.service.execution(thing, jobId, 1).status,
    receipt() {
      const shadow = simulator.shadows.get(thing, 'evenkeel')?.state as
        | { reported?: { receipt?: Receipt } }
        | undefined;
      return shadow?.reported?.receipt;
    },
    reason: () => JSON.stringify(simulator.service.execution(thing, jobId, 1).statusDetails ?? {}),
    async closed() {
      try {
        return await until(
          'the journal to be closed',
          async () => (await executionsIn(state)).find(({ phase }) => phase === 'closed'),
          LIMIT_MS,
          200,
        );
      } catch (error) {
        throw new Error(`${(error as Error).message}\n${log.slice(-4000)}`);
      }
    },
    async mark(name) {
      const there = (): Promise<boolean> =>
        fs.stat(marker(name)).then(
          () => true,
          () => false,
        );
      try {
        await until(name, there, LIMIT_MS, 50);
      } catch (error) {
        const execution = JSON.stringify(simulator.service.execution(thing, jobId, 1));
        throw new Error(`${(error as Error).message}\n${execution}\n${log.slice(-4000)}`);
      }
    },
    log: () => log,
    async end() {
      await kill();
      await root.end();
    },
  };
}

/** Everything that runs in the namespace, but for what holds it. */
async function killMounted(inside: readonly string[]): Promise<void> {
  const holder = inside[inside.indexOf('--target') + 1] ?? '';
  const namespace = await fs.readlink(`/proc/${holder}/ns/mnt`);
  for (let found = 1; found > 0; ) {
    found = 0;
    for (const pid of (await fs.readdir('/proc')).filter((name) => /^\d+$/.test(name) && name !== holder)) {
      const link = await fs.readlink(`/proc/${pid}/ns/mnt`).catch(() => '');
      if (link !== namespace) continue;
      found += 1;
      process.kill(Number(pid), 'SIGKILL');
    }
  }
}

/** Equal to the last line, or the lines that differ. */
export function expectSame(now: readonly string[], before: readonly string[]): void {
  const differing = {
    more: now.filter((line) => !before.includes(line)),
    missing: before.filter((line) => !now.includes(line)),
  };
  expect(differing).toEqual({ more: [], missing: [] });
}
