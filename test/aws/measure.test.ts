import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { IoTClient } from '@aws-sdk/client-iot';
import { IoTJobsDataPlaneClient } from '@aws-sdk/client-iot-jobs-data-plane';
import { describe, expect, test } from 'vitest';
import { systemClock } from '../../src/host/clock.ts';
import { VirtualClock } from '../../src/simulator/clock.ts';
import { type Simulator, startSimulator } from '../../src/simulator/index.ts';
import { DEFAULT_SWITCHES, SWITCHES, type Switches, type SwitchName } from '../../src/simulator/options.ts';
import { CREDENTIALS } from '../simulator/http/clients.ts';
import { cleanUp, makeDevice, NAME_PREFIX } from './account.ts';
import { type MeasureDeps, type Measured, measureAccount, reportOf } from './measure.ts';
import { type PretendAccount, pretendAccount } from './pretend-account.ts';

/**
 * `npm run test:aws` never runs in CI. Here it measures the simulator: what it finds must be what the switches were
 * set to, one setting after the other, and nothing of it may be left.
 */

const MAIN = new URL('./main.ts', import.meta.url).pathname;
const TEST_MS = 300_000;
/** As exactly as it is looked at, and some polls on a busy machine. */
const NEAR = { lateTimersSeconds: 3, rolloutDelayMs: 2000, consistencyGapMs: 2000 } as const;

interface Bench {
  simulator: Simulator;
  account: PretendAccount;
  deps: MeasureDeps;
  stop: AbortController;
}

async function withBench(switches: Partial<Switches>, use: (bench: Bench) => Promise<void>): Promise<void> {
  const clock = new VirtualClock({ base: systemClock });
  await using simulator = await startSimulator({ clock, switches, tls: true });
  const account = await pretendAccount(simulator);
  const config = { endpoint: account.url, region: 'us-east-1', credentials: CREDENTIALS, maxAttempts: 1 };
  const stop = new AbortController();
  const deps: MeasureDeps = {
    iot: new IoTClient(config),
    jobsData: new IoTJobsDataPlaneClient(config),
    ca: await readFile(simulator.caFile ?? '', 'utf8'),
    async pause(ms) {
      await clock.advance(ms);
      await sleep(5);
    },
    nowMs: () => clock.monotonicMs(),
    note: () => undefined,
    signal: stop.signal,
  };
  try {
    await use({ simulator, account, deps, stop });
  } finally {
    await account.close();
  }
}

function expectNothingLeft({ simulator, account }: Bench, left: readonly string[]): void {
  expect(left).toEqual([]);
  expect(account.remains()).toEqual([]);
  expect([...simulator.service.things()]).toEqual([]);
  expect(simulator.service.jobs({})).toEqual([]);
}

/** Each switch at another value than its default. */
const OTHERS = Object.fromEntries(
  (Object.keys(SWITCHES) as SwitchName[]).map((name) => {
    const allowed: { values: readonly unknown[]; default: unknown } | { max: number } = SWITCHES[name];
    const other = 'values' in allowed ? allowed.values.find((value) => value !== allowed.default) : undefined;
    return [name, other];
  }),
) as Partial<Switches>;
Object.assign(OTHERS, { lateTimersSeconds: 30, rolloutDelayMs: 5000, consistencyGapMs: 8000 });

function expectMeasured({ rows, switches }: Measured, set: Partial<Switches>): void {
  const wanted = { ...DEFAULT_SWITCHES, ...set };
  expect(Object.keys(switches).sort(), JSON.stringify(rows, null, 1)).toEqual(Object.keys(wanted).sort());
  for (const [name, value] of Object.entries(wanted)) {
    const found = switches[name as SwitchName];
    const near = NEAR[name as keyof typeof NEAR] as number | undefined;
    if (near === undefined) expect(found, name).toBe(value);
    else
      expect(Math.abs(Number(found) - Number(value)), `${name}: ${String(found)}`).toBeLessThanOrEqual(near);
  }
}

const SETTINGS: [string, Partial<Switches>][] = [
  ['the defaults', {}],
  ['everything other than the defaults', OTHERS],
  ['terminalBeforeVersion=false alone', { terminalBeforeVersion: false }],
  [
    'notifyOnRetry=once, versions that stand still',
    { notifyOnRetry: 'once', versionIncrementOnServiceChange: false },
  ],
];

describe.each(SETTINGS)('%s', (_name, set) => {
  test('what is measured is what was set, and nothing is left', { timeout: TEST_MS }, () =>
    withBench(set, async (bench) => {
      const measured = await measureAccount(bench.deps, 'run1');
      expectMeasured(measured, set);
      expect(measured.rows.filter(({ found }) => found.startsWith('not measured'))).toEqual([]);
      expectNothingLeft(bench, measured.left);
    }),
  );
});

test('the report names the switches that are not the defaults', () => {
  const rows = [{ name: 'S2', question: 'is it?', found: 'no' }];
  const switches = { queuedToSucceededAccepted: false, notifyQos: 1 } as const;
  expect(reportOf({ rows, switches, left: ['job x: why'] })).toBe(
    [
      'S2      is it?  no',
      '',
      'The simulator is like this account with:',
      '  evenkeel simulate --switch queuedToSucceededAccepted=false',
      '',
      'These are left; npm run test:aws -- --sweep tries again:',
      '  job x: why',
    ].join('\n'),
  );
});

test.each([1, 4, 12, 40])(
  'stopped at its note %i, it removes what it has made',
  { timeout: TEST_MS },
  (count) =>
    withBench({}, async (bench) => {
      let notes = 0;
      const left: string[] = [];
      const deps = {
        ...bench.deps,
        note: (line: string) => {
          notes += 1;
          if (notes === count) bench.stop.abort(new Error('SIGINT'));
          left.push(line);
        },
      };
      await measureAccount(deps, 'run2').catch(() => undefined);
      expectNothingLeft(bench, []);
    }),
);

test.each(['before', 'after'] as const)(
  'cut off %s any of its requests, making or removing: the sweep leaves nothing of ours, and all of others',
  { timeout: TEST_MS },
  (when) =>
    withBench({}, async (bench) => {
      const { account, deps } = bench;
      const { iot } = deps;
      await account.addCertificate('evenkeel', 'INACTIVE');
      await account.addCertificate('boat', 'ACTIVE');
      const others = account.remains();
      let cuts = 0;
      for (let at = 1; ; at += 1) {
        const name = `${NAME_PREFIX}${at}`;
        account.cutAt(at, when);
        await makeDevice(iot, name, () => undefined)
          .then(() => cleanUp(iot, name, deps))
          .catch(() => undefined);
        const missed = account.mend();
        expect({ at, left: await cleanUp(iot, NAME_PREFIX, deps) }).toEqual({ at, left: [] });
        expect({ at, remains: account.remains() }).toEqual({ at, remains: others });
        expect({ at, things: [...bench.simulator.service.things()] }).toEqual({ at, things: [] });
        if (missed === 0) break;
        cuts += 1;
      }
      expect(cuts).toBeGreaterThan(20);
    }),
);

test('without EVENKEEL_TEST_AWS it does nothing, and says how', async () => {
  const { EVENKEEL_TEST_AWS: _, ...env } = process.env;
  const ended = await promisify(execFile)(process.execPath, ['--import', 'tsx', MAIN], { env }).catch(
    (error: unknown) => error as { code: number; stderr: string },
  );
  expect(ended).toMatchObject({ code: 2, stderr: expect.stringContaining('EVENKEEL_TEST_AWS=1') });
});
