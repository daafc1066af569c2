import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type BootedMachine, createBootedMachine } from '../support/booted-machine.ts';
import { SUITES, whyNoMachine } from '../support/booted-root.ts';

/** On booted machines of their own, with a real systemd as PID 1: 252 of Debian 12 and 257 of Debian 13. */

const why = await whyNoMachine();
if (why !== undefined && process.env['CI'] !== undefined) throw new Error(`cannot boot a machine: ${why}`);

const VERSIONS = { bookworm: 252, trixie: 257 };
const PROJECT = new URL('../..', import.meta.url).pathname;

interface Report {
  numPassedTests: number;
  numFailedTests: number;
  testResults: { message: string; assertionResults: { title: string; failureMessages: string[] }[] }[];
}

describe.skipIf(why !== undefined).each(SUITES)(
  `a machine of %s${why === undefined ? '' : ` (${why})`}`,
  (suite) => {
    let machine: BootedMachine;
    beforeAll(async () => {
      machine = await createBootedMachine(suite);
    }, 300_000);
    afterAll(() => machine.destroy(), 60_000);

    test('has booted with its own systemd', async () => {
      expect(await machine.run('systemctl', '--version')).toContain(`systemd ${VERSIONS[suite]}`);
      expect(machine.isOn).toBe(true);
    });

    test('its transient services do what every adapter of processes promises', {
      timeout: 240_000,
    }, async () => {
      const vitest = `${PROJECT}node_modules/vitest/vitest.mjs`;
      const config = `${PROJECT}test/support/inside.config.ts`;
      const { stdout, stderr } = await machine.exec('node', vitest, 'run', '--config', config);
      const report = JSON.parse(stdout.slice(stdout.indexOf('{'))) as Report;
      const failures = report.testResults.flatMap(({ message, assertionResults }) => [
        message,
        ...assertionResults.flatMap(({ title, failureMessages }) =>
          failureMessages.map((one) => `${title}: ${one}`),
        ),
      ]);
      expect(failures.filter((one) => one !== '').join('\n') + stderr).toBe('');
      expect(report.numFailedTests).toBe(0);
      expect(report.numPassedTests).toBeGreaterThanOrEqual(19);
    });
  },
);
