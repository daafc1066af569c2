import type { IoTClient } from '@aws-sdk/client-iot';
import type { IoTJobsDataPlaneClient } from '@aws-sdk/client-iot-jobs-data-plane';
import type { Switches } from '../../src/simulator/options.ts';
import { cleanUp, makeDevice, NAME_PREFIX, type Pause } from './account.ts';
import { connectDevice } from './mqtt-device.ts';
import { optionsOf, POINTS } from './points.ts';
import { Stand } from './stand.ts';

export interface MeasureDeps {
  iot: IoTClient;
  jobsData: IoTJobsDataPlaneClient;
  /** Authorities that the endpoint's certificate is checked with, where they are not those of Node.js. */
  ca?: string;
  pause: Pause;
  nowMs(): number;
  note(line: string): void;
  /** Stops after the point that is being measured. */
  signal: AbortSignal;
}

export interface Measured {
  rows: { name: string; question: string; found: string }[];
  switches: Partial<Switches>;
  /** What could not be removed. */
  left: string[];
}

/** Makes a device in the account, plays every point with it, and removes all of it, whatever happens. */
export async function measureAccount(deps: MeasureDeps, run: string): Promise<Measured> {
  const name = `${NAME_PREFIX}${run}`;
  const measured: Measured = { rows: [], switches: {}, left: [] };
  try {
    await playAll(deps, name, measured);
  } finally {
    measured.left = await cleanUp(deps.iot, name, deps);
  }
  return measured;
}

async function playAll(deps: MeasureDeps, name: string, { rows, switches }: Measured): Promise<void> {
  const { note, signal } = deps;
  const facts = await makeDevice(deps.iot, name, (what) => note(`made ${what}`));
  signal.throwIfAborted();
  // A policy takes a moment until it holds everywhere.
  await deps.pause(5000);
  const device = await connectDevice(`mqtts://${facts.endpoint}`, facts.thing, {
    cert: facts.certificate,
    key: facts.privateKey,
    ...(deps.ca !== undefined && { ca: deps.ca }),
  });
  try {
    const stand = new Stand({ ...deps, device, facts });
    for (const { name: point, question, measure } of POINTS) {
      signal.throwIfAborted();
      const { found, switches: more = {} } = await measure(stand).catch((error: unknown) => ({
        found: `not measured: ${(error as Error).message}`,
        switches: undefined,
      }));
      note(`${point}: ${found}`);
      rows.push({ name: point, question, found });
      Object.assign(switches, more);
    }
  } finally {
    await device.close();
  }
}

export function reportOf({ rows, switches, left }: Measured): string {
  const width = Math.max(...rows.map(({ question }) => question.length));
  const options = optionsOf(switches);
  return [
    ...rows.map(({ name, question, found }) => `${name.padEnd(7)} ${question.padEnd(width)}  ${found}`),
    '',
    'The simulator is like this account with:',
    `  evenkeel simulate ${options.length === 0 ? '(its defaults)' : options.join(' ')}`,
    ...(left.length === 0
      ? []
      : ['', 'These are left; npm run test:aws -- --sweep tries again:', ...left.map((one) => `  ${one}`)]),
  ].join('\n');
}
