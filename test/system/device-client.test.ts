import * as fs from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Simulator } from '../../src/simulator/index.ts';
import { thingArn } from '../../src/simulator/service/jobs-service.ts';
import { type BootedDevice, changes, createBootedDevice } from '../support/booted-device.ts';
import { whyNoMachine } from '../support/booted-root.ts';
import { startTestCloud } from '../support/cloud.ts';
import type { TestPackage } from '../support/debian-root.ts';
import { until } from '../support/until.ts';

/**
 * Documents of AWS IoT Device Client as they are, on a booted Debian: each is cancelled by force when all its steps are
 * done and its success is on its way, and then run to its end.
 */

const why = await whyNoMachine();
if (why !== undefined && process.env['CI'] !== undefined) throw new Error(`cannot boot a machine: ${why}`);

const HERE = new URL('../document/device-client/', import.meta.url);
const LIMIT_MS = 240_000;

const tool = (name: string): TestPackage => ({
  name,
  version: '1.0',
  files: { [`/srv/${name}/it`]: `a ${name}\n`, [`/etc/${name}.conf`]: 'as shipped\n' },
});

interface Case {
  document: string;
  /** Packages that are there before. */
  installed?: string[];
  /** What is another when it was left alone. */
  does: string[];
  /** What a cancel leaves. */
  leaves?: string[];
  outcome?: object;
  /** In the details of its success. */
  says?: string;
}

const OLD = { outcome: 'rolledBack', deviceState: 'old', verified: true };
const INSTALLS = ['+ /srv/first-tool/it', '+ package second-tool'];
const REMOVES = ['- /srv/first-tool/it', '- package second-tool', '- /etc/second-tool.conf'];
const DOWNLOADS = ['+ /srv/Downloaded_File.tar.gz', '+ content of /srv/Downloaded_File.tar.gz'];
const BOTH = ['first-tool', 'second-tool'];

const CASES: Case[] = [
  { document: 'echo', does: [] },
  { document: 'old-echo', does: [] },
  { document: 'health-check', does: [] },
  { document: 'download-file', does: DOWNLOADS },
  { document: 'old-download-file', does: [] },
  { document: 'install-packages', does: INSTALLS },
  { document: 'remove-packages', installed: BOTH, does: REMOVES },
  { document: 'old-install-packages', does: INSTALLS },
  { document: 'old-remove-packages', installed: BOTH, does: REMOVES },
  { document: 'several-steps', does: ['+ /srv/downloads', '+ /srv/downloads/v1.3.tar.gz'] },
  { document: 'verify-removed', installed: ['first-tool'], does: ['- package first-tool'] },
  { document: 'run-shellcommand', does: ['+ /newDir'] },
  { document: 'reboot', does: ['~ boot'], leaves: ['~ boot'] },
  { document: 'services', does: ['~ service app'] },
  {
    document: 'own-handler',
    does: ['~ content of /srv/own'],
    leaves: ['+ /srv/own', '+ content of /srv/own'],
    outcome: { outcome: 'notReversed', deviceState: 'unknown', verified: false },
  },
  {
    document: 'old-own-handler',
    does: ['~ content of /srv/own'],
    leaves: ['~ content of /srv/own'],
    outcome: { outcome: 'notReversed', deviceState: 'unknown', verified: false },
  },
];

describe.skipIf(why !== undefined)(
  `documents of Device Client${why === undefined ? '' : ` (${why})`}`,
  () => {
    let simulator: Simulator;
    let device: BootedDevice;

    beforeAll(async () => {
      simulator = await startTestCloud();
      device = await createBootedDevice('bookworm', simulator);
      await device.publish(...BOTH.map(tool));
      const handler = join(device.machine.root, 'etc/evenkeel/handlers/install-app.sh');
      await fs.writeFile(handler, '#!/bin/sh\necho "$@" >> /srv/own\n', { mode: 0o700 });
    }, 300_000);
    afterAll(async () => {
      await device.destroy();
      await simulator.close();
    }, 60_000);

    const create = async (jobId: string, document: string): Promise<void> => {
      const text = await fs.readFile(new URL(`${document}.json`, HERE), 'utf8');
      const targets = [thingArn(device.thing)];
      simulator.service.createJob({
        jobId,
        targets,
        document: text.replaceAll('SITE', String(device.site.port)),
      });
    };
    const status = (jobId: string): string => simulator.service.execution(device.thing, jobId, 1).status;
    const install = async (wanted: readonly string[]): Promise<void> => {
      const words = BOTH.map((name) => (wanted.includes(name) ? name : `${name}-`));
      await device.machine.run('apt-get', 'install', '-y', '--purge', ...words);
    };

    /** Its last step is done, and its success lost on its way, when the cancel comes. */
    const cancelledAtItsVote = async (jobId: string, document: string): Promise<void> => {
      let votes = 0;
      const stop = simulator.faults.onRequest(({ thing, body }) => {
        if (thing !== device.thing || body['status'] !== 'SUCCEEDED') return { kind: 'process' };
        votes += 1;
        return { kind: 'drop' };
      });
      try {
        await create(jobId, document);
        await until(
          `the vote of ${jobId}`,
          () => votes > 0 || !['QUEUED', 'IN_PROGRESS'].includes(status(jobId)),
          90_000,
        );
        simulator.service.cancelExecution(device.thing, jobId, { force: true });
      } finally {
        stop();
      }
      await device.closed(jobId);
    };

    describe.each(CASES)('$document', ({ document, installed = [], does, leaves = [], outcome = OLD }) => {
      test('cancelled when all is done, the device is as it was', { timeout: LIMIT_MS }, async () => {
        await install(installed);
        const before = await device.world();
        await cancelledAtItsVote(`cancel-${document}`, document);
        expect(status(`cancel-${document}`)).toBe('CANCELED');
        expect(await device.receiptOf(`cancel-${document}`)).toMatchObject(outcome);
        expect(changes(before, await device.world())).toEqual(leaves);
      });

      test('left alone, it succeeds', { timeout: LIMIT_MS }, async () => {
        const before = await device.world();
        await create(`run-${document}`, document);
        await device.closed(`run-${document}`);
        expect(status(`run-${document}`)).toBe('SUCCEEDED');
        expect(changes(before, await device.world())).toEqual(expect.arrayContaining(does));
      });
    });

    test('conditions that do not hold here are a REJECTED job', { timeout: LIMIT_MS }, async () => {
      await create('conditions', 'conditions');
      await until('its end', () => status('conditions') === 'REJECTED', 60_000);
    });

    test('what is not installed fails its verification', { timeout: LIMIT_MS }, async () => {
      await install(['first-tool']);
      const verify = (handler: string): string =>
        JSON.stringify({ operation: handler, args: ['first-tool', 'missing-tool'], path: 'default' });
      for (const [handler, reason] of [
        ['verify-packages-installed.sh', 'missing-tool is not installed'],
        ['verify-packages-removed.sh', 'first-tool is installed'],
      ] as const) {
        const jobId = handler.replace('.', '-');
        simulator.service.createJob({ jobId, targets: [thingArn(device.thing)], document: verify(handler) });
        await device.closed(jobId);
        expect(status(jobId)).toBe('FAILED');
        const { statusDetails } = simulator.service.execution(device.thing, jobId, 1);
        expect(JSON.stringify(statusDetails)).toContain(reason);
      }
    });

    test('a stop-services.sh that the site has changed runs, and its units come back', {
      timeout: LIMIT_MS,
    }, async () => {
      await device.machine.run('systemctl', 'start', 'app');
      const script = join(device.machine.root, 'etc/evenkeel/handlers/stop-services.sh');
      await fs.writeFile(script, '#!/bin/sh\necho "$@" >> /srv/stopped; systemctl stop "$2"\n', {
        mode: 0o700,
      });
      simulator.service.createJob({
        jobId: 'changed',
        targets: [thingArn(device.thing)],
        document: JSON.stringify({
          version: '1.0',
          steps: [
            {
              action: {
                name: 'stop',
                type: 'runHandler',
                input: { handler: 'stop-services.sh', args: ['app'] },
              },
            },
            {
              action: {
                name: 'fail',
                type: 'check',
                input: { command: ['/bin/sh', '-c', 'systemctl is-active app'] },
                timeoutSeconds: 1,
              },
            },
          ],
        }),
      });
      await device.closed('changed');
      expect(status('changed')).toBe('FAILED');
      expect(await fs.readFile(join(device.machine.root, 'srv/stopped'), 'utf8')).toBe(' app\n');
      expect((await device.world()).get('service app')).toBe('active');
    });

    test('an install-packages.sh that the site has changed runs, and the packages go again', {
      timeout: LIMIT_MS,
    }, async () => {
      await install(['first-tool']);
      const script = join(device.machine.root, 'etc/evenkeel/handlers/install-packages.sh');
      const text =
        '#!/bin/sh\nset -e\nuser=$1; shift\napt-get install -y --no-install-recommends $@\necho "$@" > /srv/installed\n';
      await fs.writeFile(script, text, { mode: 0o700 });
      const before = await device.world();
      const steps = [
        {
          name: 'install',
          type: 'runHandler',
          input: { handler: 'install-packages.sh', args: ['second-tool'] },
        },
        { name: 'fail', type: 'check', input: { command: 'false' }, timeoutSeconds: 1 },
      ].map((action) => ({ action }));
      const document = JSON.stringify({ version: '1.0', steps });
      simulator.service.createJob({ jobId: 'own-install', targets: [thingArn(device.thing)], document });
      await device.closed('own-install');
      expect(status('own-install')).toBe('FAILED');
      // What the script does besides, nobody has declared; the packages have an image.
      expect(changes(before, await device.world())).toEqual([
        '+ /srv/installed',
        '+ content of /srv/installed',
      ]);
    });
  },
);
