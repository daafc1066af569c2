import { once } from 'node:events';
import * as fs from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import type { Receipt } from '../../src/receipts/receipt.ts';
import type { Simulator } from '../../src/simulator/index.ts';
import { thingArn } from '../../src/simulator/service/jobs-service.ts';
import { SUITES, whyNoMachine } from '../support/booted-root.ts';
import { startTestCloud } from '../support/cloud.ts';
import { createInstalledMachine, type InstalledMachine } from '../support/installed-machine.ts';
import { storiesIn } from '../support/journals.ts';
import { until } from '../support/until.ts';

/** The package's whole life on booted machines: one of each Debian, one boot for all that needs no other. */

const why = await whyNoMachine();
if (why !== undefined && process.env['CI'] !== undefined) throw new Error(`cannot boot a machine: ${why}`);

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
};

const LIMIT_MS = 120_000;
const TEST = { timeout: 240_000 };
const FIRST = '0.9.1';
const NEXT = '0.9.2';

describe.skipIf(why !== undefined).each(SUITES)(
  `the package on %s${why === undefined ? '' : ` (${why})`}`,
  (suite) => {
    let simulator: Simulator;
    let machine: InstalledMachine;
    let first: string;
    const thing = `installed-${suite}`;
    const path = (name: string): string => join(machine.root, name);
    const read = (name: string): Promise<string> => fs.readFile(path(name), 'utf8');
    const property = async (name: string, unit = 'evenkeel'): Promise<string> =>
      (await machine.run('systemctl', 'show', `--property=${name}`, '--value', unit)).trim();

    beforeAll(async () => {
      simulator = await startTestCloud();
      simulator.service.createThing(thing);
      machine = await createInstalledMachine(suite);
      first = await machine.offer(FIRST);
      await fs.writeFile(path('etc/app.conf'), 'version = 1\n');
    }, 400_000);
    afterAll(async () => {
      await machine.destroy();
      await simulator.close();
    }, 60_000);

    const fail = async (error: unknown): Promise<never> => {
      const { stdout } = await machine.exec('journalctl', '--no-pager', '-n', '60', '-u', 'evenkeel');
      const { stdout: status } = await machine.exec('systemctl', 'status', '--no-pager', '-l', 'evenkeel');
      throw new Error(`${(error as Error).message}\n${status}\n${stdout}\n${machine.log().slice(-1000)}`);
    };
    const wait = async <T>(what: string, look: () => T | Promise<T>): Promise<NonNullable<T>> =>
      await until(what, look, LIMIT_MS, 100).catch(fail);
    const says = (text: string): Promise<unknown> =>
      wait(`the status ${text}`, async () => (await property('StatusText')).includes(text));

    /** A job that changes a file and then waits for the file `go`. */
    const begin = async (jobId: string): Promise<void> => {
      const conf = { path: '/etc/app.conf', content: `version = ${jobId}\n` };
      const script = 'touch /etc/half; until [ -e /run/go ]; do sleep 0.2; done; echo whole > /etc/half';
      const command = ['/bin/sh', '-c', script];
      const steps = [
        { action: { name: 'configure', type: 'writeFile', input: conf } },
        { action: { name: 'wait', type: 'runCommand', input: { command }, snapshotPaths: ['/etc/half'] } },
      ];
      const document = JSON.stringify({ version: '1.0', steps });
      await fs.rm(path('run/go'), { force: true });
      await machine.run('rm', '-f', '/run/go', '/etc/half');
      await machine.run('sh', '-c', 'echo version = 1 > /etc/app.conf');
      simulator.service.createJob({ jobId, targets: [thingArn(thing)], document });
      await inTheMiddle(jobId);
    };
    const storyOf = async (jobId: string) =>
      (await storiesIn(path('var/lib/evenkeel'))).find(({ progress }) => progress.identity.jobId === jobId);
    const attemptsOf = async (jobId: string): Promise<number> =>
      (await storyOf(jobId))?.records.filter((one) => one.type === 'process' && one.step === 1).length ?? 0;
    const inTheMiddle = (jobId: string, attempt = 1): Promise<unknown> =>
      wait(`attempt ${attempt} of ${jobId}`, async () => {
        const there = await machine.exec('test', '-e', '/etc/half');
        return (await attemptsOf(jobId)) >= attempt && there.code === 0;
      });
    const closed = (jobId: string): Promise<unknown> =>
      wait(`the end of ${jobId}`, async () => (await storyOf(jobId))?.progress.phase === 'closed');
    const statusOf = (jobId: string): string => simulator.service.execution(thing, jobId, 1).status;
    const finished = async (jobId: string): Promise<void> => {
      await machine.run('touch', '/run/go');
      await closed(jobId);
      expect(statusOf(jobId)).toBe('SUCCEEDED');
      expect([await read('etc/app.conf'), await read('etc/half')]).toEqual([
        `version = ${jobId}\n`,
        'whole\n',
      ]);
    };
    const rolledBack = async (jobId: string): Promise<void> => {
      await closed(jobId);
      const receipt = await wait('its receipt', () => {
        const shadow = simulator.shadows.get(thing, 'evenkeel');
        const told = (shadow?.state as { reported?: { receipt?: Receipt } } | undefined)?.reported?.receipt;
        return told?.jobId === jobId ? told : undefined;
      });
      expect(receipt).toMatchObject({ outcome: 'rolledBack', deviceState: 'old', verified: true });
      expect(await read('etc/app.conf')).toBe('version = 1\n');
      expect((await machine.exec('test', '-e', '/etc/half')).code).toBe(1);
    };
    const cancel = (jobId: string): void => simulator.service.cancelExecution(thing, jobId, { force: true });

    test(
      'apt refuses it where Node.js is too old or not there, and installs it where it is',
      TEST,
      async () => {
        const refused = await machine.apt([], 'install', first);
        expect(refused.code).toBe(100);
        expect(refused.said).toMatch(/evenkeel : Depends: nodejs \(>= 20\.19\)/);
        const done = await machine.apt([], 'install', '/var/tmp/packages/nodejs.deb', first);
        expect(done.code, done.said).toBe(0);
        expect(await property('ActiveState')).toBe('active');
        expect(await property('UnitFileState')).toBe('enabled');
        const modes = await machine.run('stat', '-c', '%n %a %U %G', '/etc/evenkeel', '/var/lib/evenkeel');
        expect(modes).toBe('/etc/evenkeel 750 root evenkeel\n/var/lib/evenkeel 700 root root\n');
        expect((await machine.run('evenkeel', '--version')).trim()).toBe(FIRST);
      },
    );

    test(
      'with its own configuration the agent reaches READY, says what it does, and runs a job',
      TEST,
      async () => {
        const connection = {
          url: simulator.mqttUrl,
          backoffFirstSeconds: 0.05,
          backoffMaxSeconds: 0.5,
          spreadSeconds: 0.5,
        };
        const config = {
          thing,
          connection,
          steps: { graceSeconds: 1 },
          undo: { retrySeconds: 0 },
          drainSeconds: 2,
        };
        await fs.writeFile(path('etc/evenkeel/evenkeel.yaml'), stringify(config));
        const dropIn = '[Service]\nRestartSec=1\n';
        await fs.mkdir(path('etc/systemd/system/evenkeel.service.d'), { recursive: true });
        await fs.writeFile(path('etc/systemd/system/evenkeel.service.d/test.conf'), dropIn);
        await machine.run('systemctl', 'daemon-reload');
        const before = await property('MainPID');
        await machine.run('systemctl', 'reload', 'evenkeel');
        await wait('the agent to start anew', async () => !['0', before].includes(await property('MainPID')));
        await says('idle, connected');
        // No --config: it is the one in /etc.
        expect(await machine.run('evenkeel', 'status')).toContain(thing);
        await begin('first');
        await says('first#1');
        await finished('first');
      },
    );

    test('a forced cancel in the middle of a step puts the machine back', TEST, async () => {
      await begin('cancelled');
      cancel('cancelled');
      await rolledBack('cancelled');
      expect(statusOf('cancelled')).toBe('CANCELED');
    });

    test.each(['SIGKILL', 'systemctl restart', 'systemctl stop'])(
      '%s in the middle of a job is an interruption: it is tried again, and succeeds',
      TEST,
      async (how) => {
        const jobId = how.replace(' ', '-');
        await begin(jobId);
        if (how === 'SIGKILL') await machine.run('systemctl', 'kill', '--signal=KILL', 'evenkeel');
        else await machine.run(...(how.split(' ') as [string]), 'evenkeel');
        if (how === 'systemctl stop') await machine.run('systemctl', 'start', 'evenkeel');
        await inTheMiddle(jobId, 2);
        await finished(jobId);
      },
    );

    test('an agent that stands still is killed by the watchdog, and the job goes on', TEST, async () => {
      await fs.writeFile(
        path('etc/systemd/system/evenkeel.service.d/dog.conf'),
        '[Service]\nWatchdogSec=6\n',
      );
      await machine.run('systemctl', 'daemon-reload');
      await machine.run('systemctl', 'restart', 'evenkeel');
      await begin('watchdog');
      const pid = await property('MainPID');
      await machine.run('systemctl', 'kill', '--kill-who=main', '--signal=STOP', 'evenkeel');
      await wait('the watchdog', async () => !['0', pid].includes(await property('MainPID')));
      expect(await machine.run('journalctl', '--no-pager', '-u', 'evenkeel')).toMatch(/Watchdog timeout/);
      await inTheMiddle('watchdog', 2);
      await finished('watchdog');
      // And one that is well is left alone.
      const well = await property('MainPID');
      await machine.run('sleep', '14');
      expect(await property('MainPID')).toBe(well);
      await fs.rm(path('etc/systemd/system/evenkeel.service.d/dog.conf'));
      await machine.run('systemctl', 'daemon-reload');
      await machine.run('systemctl', 'restart', 'evenkeel');
    });

    test(
      'it cannot be removed in the middle of a job; forced, the job is turned back first',
      TEST,
      async () => {
        await begin('removed');
        const refused = await machine.apt([], 'remove', 'evenkeel');
        expect(refused.code).toBe(100);
        expect(refused.said).toContain('cannot remove evenkeel: job removed is in the middle');
        expect(await property('ActiveState')).toBe('active');
        expect(await attemptsOf('removed')).toBe(1);
        const forced = await machine.apt(['EVENKEEL_REMOVE=force'], 'remove', 'evenkeel');
        expect(forced.code, forced.said).toBe(0);
        expect(await read('etc/app.conf')).toBe('version = 1\n');
        expect((await storyOf('removed'))?.progress.phase).toBe('closed');
        expect(statusOf('removed')).toBe('FAILED');
        expect((await machine.exec('systemctl', 'is-active', 'evenkeel')).stdout.trim()).not.toBe('active');
        const again = await machine.apt([], 'install', first);
        expect(again.code, again.said).toBe(0);
        await says('idle, connected');
      },
    );

    test(
      'an upgrade waits for the edge between two jobs, and keeps a configuration that was changed',
      TEST,
      async () => {
        const config = await read('etc/evenkeel/evenkeel.yaml');
        const next = await machine.offer(NEXT);
        await begin('upgraded');
        const pid = await property('MainPID');
        const done = await machine.apt([], 'install', next);
        expect(done.code, done.said).toBe(0);
        await machine.run('sleep', '3');
        expect(await property('MainPID')).toBe(pid);
        await finished('upgraded');
        expect(await attemptsOf('upgraded')).toBe(1);
        await wait('the new version', async () => !['0', pid].includes(await property('MainPID')));
        await says('idle, connected');
        expect(await machine.run('evenkeel', 'status', '--json')).toContain(`"version": "${NEXT}"`);
        expect(await read('etc/evenkeel/evenkeel.yaml')).toBe(config);
      },
    );

    test('a restart of the device in the middle of a job is an interruption', TEST, async () => {
      const { boots } = machine;
      await begin('restarted');
      await machine.exec('systemctl', 'reboot');
      await wait('the next boot', () => machine.boots > boots);
      await machine.start();
      await inTheMiddle('restarted', 2);
      await finished('restarted');
    });

    test('what was cancelled while the power was out is put back at the next boot', TEST, async () => {
      await begin('cut');
      await machine.powerCut();
      cancel('cut');
      await machine.start();
      await rolledBack('cut');
    });

    test('what README.md says to a newcomer, line by line, with the ports of this test', TEST, async () => {
      const readme = await fs.readFile(new URL('../../README.md', import.meta.url), 'utf8');
      const [, block = ''] = /## Install it on a device.*?```sh\n(.*?)```/s.exec(readme) ?? [];
      const [install, ...lines] = block.trim().split('\n');
      expect(install).toContain('apt-get install');
      const [mqtt, http] = [await freePort(), await freePort()];
      const here = lines
        .join('\n')
        .replace("'thing: boat-1'", `'{"thing":"boat-1","connection":{"url":"mqtt://127.0.0.1:${mqtt}"}}'`)
        .replace('simulate --quiet', `simulate --quiet --mqtt-port ${mqtt} --http-port ${http}`)
        .replaceAll('127.0.0.1:8080', `127.0.0.1:${http}`);
      // A minimal Debian has neither.
      const curl =
        'const [, method, url, , body] = process.argv.slice(1); fetch(url, { method, body }).then((r) => process.exit(r.ok ? 0 : 1))';
      const tools = ['sudo() { "$@"; }', `curl() { node -e '${curl}' -- "$@"; }`];
      const script = [...tools, here, 'kill %1'].join('\n');
      const { stdout, stderr } = await machine.exec('timeout', '120', 'bash', '-c', script);
      expect(stderr, stdout).toMatch(/cannot access '\/etc\/first.conf'/);
      expect(stdout).toMatch(/^new$/m);
      expect(stdout).toMatch(/first#1 +CANCELED +the device is as it was/);
    });

    test('purge leaves nothing', TEST, async () => {
      const done = await machine.apt([], 'purge', 'evenkeel');
      expect(done.code, done.said).toBe(0);
      const names = [
        '-xdev',
        '-iname',
        '*evenkeel*',
        '-not',
        '-path',
        '/var/tmp/*',
        '-not',
        '-path',
        '/var/log/*',
      ];
      const project = new URL('../..', import.meta.url).pathname.replace(/\/$/, '');
      const left = await machine.run('find', '/', ...names, '-not', '-path', `${project}*`);
      expect(left).toBe('');
      expect((await machine.exec('getent', 'group', 'evenkeel')).code).toBe(2);
      expect(
        await machine.run('systemctl', 'list-units', '--all', '--plain', '--no-legend', 'evenkeel*'),
      ).toBe('');
    });
  },
);
