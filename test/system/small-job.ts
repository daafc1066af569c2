import { join } from 'node:path';
import type { Receipt } from '../../src/receipts/receipt.ts';
import type { Simulator } from '../../src/simulator/index.ts';
import { thingArn } from '../../src/simulator/service/jobs-service.ts';
import { createDevice, type Device } from '../support/device.ts';
import { executionsIn } from '../support/journals.ts';
import { until } from '../support/until.ts';

/**
 * A job of four quick steps that writes, switches and runs a command; small, so that it can be run very often. One file
 * is written twice: undone in the wrong order it would end as something that never was.
 */

export const jobOf = ({ device }: Pick<Stage, 'device'>): string => `job-${device.thing}`;

export interface Stage {
  device: Device;
  old: string[];
  simulator: Simulator;
}

let devices = 0;

export type Settings = Record<string, object>;

/** `settings` may depend on the name of the thing, as its certificate does. */
export async function stage(
  simulator: Simulator,
  settings: Settings | ((thing: string) => Promise<Settings>) = {},
): Promise<Stage> {
  devices += 1;
  const thing = `device-${devices}`;
  simulator.service.createThing(thing);
  const device = await createDevice(thing, simulator.mqttUrl, {
    jobs: { requestTimeoutSeconds: 0.4, queueRetrySeconds: 1 },
    ...(typeof settings === 'function' ? await settings(thing) : settings),
  });
  return { device, old: await device.files(), simulator };
}

export function smallDocument(device: Device, lastCommand = 'true'): object {
  const action = (name: string, type: string, input: object, more: object = {}): object => ({
    action: { name, type, input, ...more },
  });
  const made = device.path('var/made.txt');
  return {
    version: '1.0',
    steps: [
      action('begin', 'writeFile', { path: device.path('etc/app.conf'), content: 'version = 1.5\n' }),
      action('configure', 'writeFile', { path: device.path('etc/app.conf'), content: 'version = 2\n' }),
      action('switch', 'switchLink', { link: device.path('current'), target: 'releases/2' }),
      action(
        'make',
        'runCommand',
        { command: ['/bin/sh', '-c', `echo made >> ${made}; ${lastCommand}`] },
        { snapshotPaths: [made] },
      ),
    ],
  };
}

export function createSmallJob(scene: Stage, lastCommand?: string): void {
  const { simulator, device } = scene;
  const document = JSON.stringify(smallDocument(device, lastCommand));
  simulator.service.createJob({ jobId: jobOf(scene), targets: [thingArn(device.thing)], document });
}

/** Old, new, or neither: what the files themselves say. */
export async function deviceState({
  device,
  old,
}: Pick<Stage, 'device' | 'old'>): Promise<'old' | 'new' | 'neither'> {
  const now = await device.files();
  if (JSON.stringify(now) === JSON.stringify(old)) return 'old';
  const marks = [
    'current -> releases/2',
    'etc/app.conf 640 12 bytes sha256 436f6de28726',
    'var/made.txt 644 5 bytes',
  ];
  const isNew = marks.every((mark) => now.some((line) => line.startsWith(mark)));
  return isNew && now.length === old.length + 1 ? 'new' : 'neither';
}

/** Until the device is new, with nothing left behind: the cloud says SUCCEEDED before the undo data is dropped. */
export async function isNew(scene: Pick<Stage, 'device' | 'old'>): Promise<void> {
  await until('the device to be new', async () => (await deviceState(scene)) === 'new');
}

/** Until every journal of the device is closed. */
export async function settled(scene: Stage): Promise<void> {
  try {
    await until('every journal to be closed', () => isClosed(scene));
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${scene.device.log().slice(-4000)}`);
  }
}

export async function isClosed({ device }: Stage): Promise<boolean> {
  const all = await executionsIn(join(device.root, 'state'));
  return all.length > 0 && all.every(({ phase }) => phase === 'closed');
}

export function cloudStatus(scene: Stage): string {
  try {
    return scene.simulator.service.execution(scene.device.thing, jobOf(scene), 1).status;
  } catch {
    return 'deleted';
  }
}

export type SeenReceipt = Receipt;

export function receiptOf({ simulator, device }: Stage): SeenReceipt | undefined {
  const shadow = simulator.shadows.get(device.thing, 'evenkeel');
  return (shadow?.state as { reported?: { receipt?: SeenReceipt } } | undefined)?.reported?.receipt;
}
