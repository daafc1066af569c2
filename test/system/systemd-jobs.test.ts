import { once } from 'node:events';
import * as fs from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { CreateJobCommand, IoTClient } from '@aws-sdk/client-iot';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import type { Receipt } from '../../src/receipts/receipt.ts';
import type { Simulator } from '../../src/simulator/index.ts';
import { thingArn } from '../../src/simulator/service/jobs-service.ts';
import { type BootedMachine, createBootedMachine } from '../support/booted-machine.ts';
import { SUITES, whyNoMachine } from '../support/booted-root.ts';
import { startTestCloud } from '../support/cloud.ts';
import { processesWith } from '../support/device.ts';
import { storiesIn } from '../support/journals.ts';
import { until } from '../support/until.ts';

/** The agent as the service that it is, on booted machines: units, a killed agent, restarts of the device. */

const why = await whyNoMachine();
if (why !== undefined && process.env['CI'] !== undefined) throw new Error(`cannot boot a machine: ${why}`);

const LIMIT_MS = 90_000;
/** It shows which configuration it has read. */
const APP = `[Service]
ExecStart=/bin/sh -c 'cp /etc/app.conf /run/app.seen; exec sleep infinity'
[Install]
WantedBy=multi-user.target
`;

describe.skipIf(why !== undefined).each(SUITES)(
  `a device of %s${why === undefined ? '' : ` (${why})`}`,
  (suite) => {
    let simulator: Simulator;
    let machine: BootedMachine;
    const thing = `device-${suite}`;
    const path = (name: string): string => join(machine.root, name);
    const read = (name: string): Promise<string> => fs.readFile(path(name), 'utf8');

    beforeAll(async () => {
      simulator = await startTestCloud();
      simulator.service.createThing(thing);
      machine = await createBootedMachine(suite);
      await fs.mkdir(path('etc/evenkeel'), { recursive: true });
      const connection = { url: simulator.mqttUrl, backoffFirstSeconds: 0.05, backoffMaxSeconds: 0.5 };
      const config = {
        thing,
        connection,
        steps: { graceSeconds: 1 },
        undo: { retrySeconds: 0 },
        policy: { allowHttp: true },
      };
      await fs.writeFile(path('etc/evenkeel/evenkeel.yaml'), stringify(config));
      await fs.writeFile(path('etc/app.conf'), 'version = 1\n');
      await fs.writeFile(path('etc/systemd/system/app.service'), APP);
      await fs.writeFile(
        path('etc/systemd/system/idle.service'),
        '[Service]\nExecStart=/bin/sleep infinity\n',
      );
      await machine.run('systemctl', 'daemon-reload');
      await machine.run('systemctl', 'enable', '--now', 'app.service', 'evenkeel.service');
    }, 300_000);

    afterAll(async () => {
      await machine.destroy();
      await simulator.close();
    }, 60_000);

    const action = (name: string, type: string, input: object, more: object = {}): object => ({
      action: { name, type, input, ...more },
    });
    const configure = action('configure', 'writeFile', { path: '/etc/app.conf', content: 'version = 2\n' });
    const wait = (mark: string): object =>
      action(
        'wait',
        'runCommand',
        { command: ['/bin/sh', '-c', 'sleep 300; : $0', mark] },
        { snapshotPaths: ['/etc/never'] },
      );

    const create = (jobId: string, ...steps: object[]): void => {
      simulator.service.createJob({
        jobId,
        targets: [thingArn(thing)],
        document: JSON.stringify({ version: '1.0', steps }),
      });
    };
    const status = (jobId: string): string => simulator.service.execution(thing, jobId, 1).status;
    const storyOf = async (jobId: string) =>
      (await storiesIn(path('var/lib/evenkeel'))).find(({ progress }) => progress.identity.jobId === jobId);
    const reached = async (jobId: string, step: number): Promise<void> => {
      await until(
        `step ${step} of ${jobId}`,
        async () =>
          (await storyOf(jobId))?.records.some((record) => record.type === 'process' && record.step === step),
        LIMIT_MS,
      ).catch(failWith);
    };
    const closed = async (jobId: string): Promise<void> => {
      const isClosed = async (): Promise<boolean> => (await storyOf(jobId))?.progress.phase === 'closed';
      await until(`the end of ${jobId}`, isClosed, LIMIT_MS).catch(failWith);
    };
    const failWith = async (error: unknown): Promise<never> => {
      const { stdout } = await machine.exec('journalctl', '--no-pager', '-n', '60', '-u', 'evenkeel');
      throw new Error(`${(error as Error).message}\n${stdout}\n${machine.log().slice(-2000)}`);
    };
    const receiptOf = async (jobId: string): Promise<Receipt> =>
      await until(
        'its receipt',
        () => {
          const shadow = simulator.shadows.get(thing, 'evenkeel');
          const receipt = (shadow?.state as { reported?: { receipt?: Receipt } } | undefined)?.reported
            ?.receipt;
          return receipt?.jobId === jobId ? receipt : undefined;
        },
        LIMIT_MS,
      );
    const isActive = async (unit: string): Promise<string> =>
      (await machine.exec('systemctl', 'is-active', unit)).stdout.trim();
    const bootId = async (): Promise<string> =>
      (await machine.run('cat', '/proc/sys/kernel/random/boot_id')).trim();

    test('doctor finds nothing wrong, and knows the adapter of processes', { timeout: 120_000 }, async () => {
      await until(
        'the agent to be linked',
        async () => (await machine.exec('evenkeel', 'status')).stdout.includes('link     up'),
        LIMIT_MS,
      ).catch(failWith);
      const { code, stdout, stderr } = await machine.exec(
        'evenkeel',
        'doctor',
        '--config',
        '/etc/evenkeel/evenkeel.yaml',
      );
      expect(`${stdout}${stderr}`).toContain('all is well');
      expect(stdout).toMatch(/✓ systemd .*\n/);
      expect(stdout).toMatch(/✓ processes .*transient service/);
      expect(code).toBe(0);
    });

    test('units go forward with the job, and come back with it, restarted once behind all undos', {
      timeout: 200_000,
    }, async () => {
      create(
        'services',
        configure,
        action('restart', 'restartServices', { services: 'app', healthSeconds: 1 }),
        action('start', 'startServices', { services: ['idle'], healthSeconds: 0 }),
        wait('/waits-in-services'),
      );
      await reached('services', 3);
      expect(await machine.run('cat', '/run/app.seen')).toBe('version = 2\n');
      expect(await isActive('idle')).toBe('active');
      const invocation = await machine.run('systemctl', 'show', '--property=InvocationID', 'app');
      simulator.service.cancelExecution(thing, 'services', { force: true });
      await closed('services');
      expect(await receiptOf('services')).toMatchObject({
        outcome: 'rolledBack',
        deviceState: 'old',
        verified: true,
      });
      expect(await machine.run('cat', '/run/app.seen')).toBe('version = 1\n');
      expect(await isActive('app')).toBe('active');
      expect(await isActive('idle')).toBe('inactive');
      expect(await machine.run('systemctl', 'show', '--property=InvocationID', 'app')).not.toBe(invocation);
      expect(await processesWith('/waits-in-services')).toEqual([]);
    });

    test('I5: a step outlives its killed agent as a unit, and is ended before it is undone', {
      timeout: 200_000,
    }, async () => {
      const mark = '/left-by-a-killed-agent';
      const script = `trap '' TERM; echo half > /etc/half; setsid sh -c 'trap "" TERM; sleep 300; : $0' "$0" & sleep 300; : $0`;
      create(
        'killed',
        configure,
        action(
          'long',
          'runCommand',
          { command: ['/bin/sh', '-c', script, mark] },
          { snapshotPaths: ['/etc/half'] },
        ),
      );
      await reached('killed', 1);
      await until('its processes', async () => (await processesWith(mark)).length >= 2, LIMIT_MS);
      const units = await machine.run('systemctl', 'list-units', '--plain', '--no-legend', 'evenkeel-*');
      expect(units).toMatch(/^evenkeel-\S+-1-do-1-[0-9a-f]{8}\.service loaded active running/);
      const before = await machine.run('systemctl', 'show', '--property=MainPID', '--value', 'evenkeel');
      await machine.run('systemctl', 'kill', '--signal=KILL', 'evenkeel');
      await until(
        'its agent to be dead',
        async () =>
          (await machine.run('systemctl', 'show', '--property=MainPID', '--value', 'evenkeel')) !== before,
      );
      expect((await processesWith(mark)).length).toBeGreaterThanOrEqual(2);
      simulator.service.cancelExecution(thing, 'killed', { force: true });
      await closed('killed');
      expect(await processesWith(mark)).toEqual([]);
      expect(await receiptOf('killed')).toMatchObject({
        outcome: 'rolledBack',
        deviceState: 'old',
        verified: true,
      });
      expect(await read('etc/app.conf')).toBe('version = 1\n');
      await expect(read('etc/half')).rejects.toThrow('ENOENT');
    });

    test('A10: the device restarts in a job, another boot id proves it, and the job goes on', {
      timeout: 200_000,
    }, async () => {
      const { boots } = machine;
      const old = await bootId();
      create(
        'reboot',
        action('again', 'reboot', {}),
        action(
          'seen',
          'runCommand',
          { command: ['/bin/sh', '-c', 'cat /proc/sys/kernel/random/boot_id > /etc/seen'] },
          { snapshotPaths: ['/etc/seen'] },
        ),
      );
      await until('its success', () => status('reboot') === 'SUCCEEDED', LIMIT_MS).catch(failWith);
      await closed('reboot');
      expect(machine.boots).toBe(boots + 1);
      expect(await bootId()).not.toBe(old);
      expect((await read('etc/seen')).trim()).toBe(await bootId());
      const records = (await storyOf('reboot'))?.records ?? [];
      expect(records.filter(({ type }) => type === 'fenced').length).toBe(1);
    });

    test('a rollback behind a restart of the device restarts it once, and counts that', {
      timeout: 200_000,
    }, async () => {
      const { boots } = machine;
      create('back', configure, action('again', 'reboot', {}), wait('/waits-behind-a-restart'));
      await reached('back', 2);
      expect(machine.boots).toBe(boots + 1);
      simulator.service.cancelExecution(thing, 'back', { force: true });
      await closed('back');
      expect(machine.boots).toBe(boots + 2);
      expect(await receiptOf('back')).toMatchObject({
        outcome: 'rolledBack',
        deviceState: 'old',
        verified: true,
      });
      expect(await read('etc/app.conf')).toBe('version = 1\n');
      const records = (await storyOf('back'))?.records ?? [];
      expect(records.flatMap((record) => (record.type === 'rebooting' ? [record.attempt] : []))).toEqual([1]);
    });

    test('a shutdown waits for the commit, and is not done again when the device is switched on', {
      timeout: 200_000,
    }, async () => {
      const { boots } = machine;
      create('off', action('off', 'shutdown', {}), configure);
      await until('the machine to be off', () => !machine.isOn, LIMIT_MS).catch(failWith);
      expect(status('off')).toBe('SUCCEEDED');
      expect(machine.boots).toBe(boots);
      await machine.start();
      await closed('off');
      expect(await read('etc/app.conf')).toBe('version = 2\n');
      expect(machine.isOn).toBe(true);
      const records = (await storyOf('off'))?.records ?? [];
      expect(records.flatMap((record) => (record.type === 'finishing' ? [record.attempt] : []))).toEqual([1]);
      expect(machine.boots).toBe(boots + 1);
    });

    test("AWS' managed templates run as they are", { timeout: 300_000 }, async () => {
      const iot = new IoTClient({
        endpoint: simulator.httpUrl,
        region: 'us-east-1',
        credentials: { accessKeyId: 'simulator', secretAccessKey: 'simulator' },
      });
      const site = createServer((_, response) => response.end('downloaded\n'));
      await once(site.listen(0, '127.0.0.1'), 'listening');
      const { port } = site.address() as AddressInfo;
      const run = async (template: string, documentParameters: Record<string, string>): Promise<void> => {
        const jobId = `template-${template}`;
        await iot.send(
          new CreateJobCommand({
            jobId,
            targets: [thingArn(thing)],
            jobTemplateArn: `arn:aws:iot:us-east-1::jobtemplate/${template}:1.0`,
            documentParameters,
          }),
        );
        await closed(jobId);
        expect(status(jobId), template).toBe('SUCCEEDED');
      };
      const invocation = (): Promise<string> =>
        machine.run('systemctl', 'show', '--property=InvocationID', 'app');
      try {
        await run('AWS-Start-Application', { services: 'app idle' });
        expect([await isActive('app'), await isActive('idle')]).toEqual(['active', 'active']);
        const before = await invocation();
        await run('AWS-Restart-Application', { services: 'app' });
        expect(await invocation()).not.toBe(before);
        await run('AWS-Stop-Application', { services: 'app idle' });
        expect([await isActive('app'), await isActive('idle')]).toEqual(['inactive', 'inactive']);
        const filePath = '/etc/downloaded';
        await run('AWS-Download-File', { downloadUrl: `http://127.0.0.1:${port}/file`, filePath });
        expect(await read('etc/downloaded')).toBe('downloaded\n');
        await run('AWS-Run-Command', { command: 'touch,/etc/ran' });
        expect(await read('etc/ran')).toBe('');
        const { boots } = machine;
        await run('AWS-Reboot', {});
        expect(machine.boots).toBe(boots + 1);
      } finally {
        site.close();
        iot.destroy();
      }
    });
  },
);
