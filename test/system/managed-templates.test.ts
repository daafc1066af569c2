import { setTimeout as sleep } from 'node:timers/promises';
import { CancelJobExecutionCommand, CreateJobCommand, IoTClient } from '@aws-sdk/client-iot';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Simulator } from '../../src/simulator/index.ts';
import { thingArn } from '../../src/simulator/service/jobs-service.ts';
import { type BootedDevice, changes, createBootedDevice, HOLD } from '../support/booted-device.ts';
import { SUITES, whyNoMachine } from '../support/booted-root.ts';
import { startTestCloud } from '../support/cloud.ts';
import type { TestPackage } from '../support/debian-root.ts';
import { madePart } from '../support/made-part.ts';
import { until } from '../support/until.ts';

/**
 * The eight job templates that AWS manages, created by name through the AWS SDK and cancelled by force in their middle;
 * then left alone. What each cancel leaves is the table in the README: `npm run measure:templates` writes it.
 */

const why = await whyNoMachine();
if (why !== undefined && process.env['CI'] !== undefined) throw new Error(`cannot boot a machine: ${why}`);

const README = new URL('../../README.md', import.meta.url);
const LIMIT_MS = 240_000;
/** How long a cancel may take to be heard, so that it is heard before what is held goes on. */
const HEARD_MS = 1500;

const tool = (name: string): TestPackage => ({
  name,
  version: '1.0',
  files: { [`/srv/${name}/it`]: `a ${name}\n`, [`/etc/${name}.conf`]: 'as shipped\n' },
  scripts: { postinst: HOLD, prerm: HOLD },
});

interface Case {
  template: string;
  /** In the words of the table. */
  when: string;
  parameters: Record<string, string>;
  /** Cancels it at another point than where it is held. */
  cancelAt?: (jobId: string) => Promise<void>;
  /** The cloud's last word of its own on the receipt. */
  outcome: object;
  left: string[];
  /** What is another when it was left alone. */
  does: string[];
}

describe.skipIf(why !== undefined).each(SUITES)(
  `AWS' managed templates on %s${why === undefined ? '' : ` (${why})`}`,
  (suite) => {
    let simulator: Simulator;
    let device: BootedDevice;
    let iot: IoTClient;
    const rows: string[] = [];

    beforeAll(async () => {
      simulator = await startTestCloud();
      device = await createBootedDevice(suite, simulator);
      await device.publish(tool('first-tool'), tool('second-tool'));
      iot = new IoTClient({
        endpoint: simulator.httpUrl,
        region: 'us-east-1',
        credentials: { accessKeyId: 'simulator', secretAccessKey: 'simulator' },
      });
    }, 300_000);
    afterAll(async () => {
      iot.destroy();
      await device.destroy();
      await simulator.close();
    }, 60_000);

    const create = async (jobId: string, { template, parameters }: Case): Promise<void> => {
      const { port } = device.site;
      const documentParameters = Object.fromEntries(
        Object.entries(parameters).map(([name, value]) => [name, value.replace('PORT', String(port))]),
      );
      const jobTemplateArn = `arn:aws:iot:us-east-1::jobtemplate/${template}:1.0`;
      const targets = [thingArn(device.thing)];
      await iot.send(new CreateJobCommand({ jobId, targets, jobTemplateArn, documentParameters }));
    };
    const status = (jobId: string): string => simulator.service.execution(device.thing, jobId, 1).status;

    const RESTORED = { outcome: 'rolledBack', deviceState: 'old', verified: true };
    const packages = { packages: 'first-tool second-tool' };
    const services = { services: 'app held' };
    const cases: Case[] = [
      {
        template: 'AWS-Install-Application',
        when: 'in the middle of dpkg',
        parameters: packages,
        outcome: RESTORED,
        left: [],
        does: ['+ package first-tool', '+ /etc/second-tool.conf', '+ /srv/first-tool/it'],
      },
      {
        template: 'AWS-Remove-Application',
        when: 'in the middle of dpkg',
        parameters: packages,
        outcome: RESTORED,
        left: [],
        does: ['- package first-tool', '- /etc/second-tool.conf', '- /srv/first-tool/it'],
      },
      {
        template: 'AWS-Start-Application',
        when: 'while a service starts',
        parameters: services,
        outcome: RESTORED,
        left: [],
        does: ['~ service app', '~ service held'],
      },
      {
        template: 'AWS-Restart-Application',
        when: 'while a service stops',
        parameters: services,
        outcome: RESTORED,
        left: ['~ run of service app'],
        does: ['~ run of service app'],
      },
      {
        template: 'AWS-Stop-Application',
        when: 'while a service stops',
        parameters: services,
        outcome: RESTORED,
        left: ['~ run of service app'],
        does: ['~ service app', '~ service held'],
      },
      {
        template: 'AWS-Download-File',
        when: 'in the middle of the transfer',
        parameters: { downloadUrl: 'http://127.0.0.1:PORT/file', filePath: '/srv/downloaded' },
        outcome: RESTORED,
        left: [],
        does: ['+ /srv/downloaded'],
      },
      {
        template: 'AWS-Run-Command',
        when: 'while it runs',
        parameters: { command: `sh,-c,echo x > /srv/ran; ${HOLD}` },
        outcome: { outcome: 'notReversed', deviceState: 'unknown', verified: false },
        left: ['+ /srv/ran', '+ content of /srv/ran'],
        does: [],
      },
      {
        template: 'AWS-Reboot',
        when: 'before the restart is asked for',
        parameters: {},
        async cancelAt(jobId) {
          let cancelled = false;
          // The fence, by which the device asks whether it still may: the cancel is a moment before it.
          const stop = simulator.faults.onRequest(({ thing, target, body }) => {
            const started = target === jobId && body['status'] === 'IN_PROGRESS';
            if (thing === device.thing && started && !cancelled && status(jobId) === 'IN_PROGRESS') {
              cancelled = true;
              simulator.service.cancelExecution(device.thing, jobId, { force: true });
            }
            return { kind: 'process' };
          });
          await until('the fence', () => cancelled, LIMIT_MS);
          stop();
        },
        outcome: RESTORED,
        left: [],
        does: [],
      },
      {
        template: 'AWS-Reboot',
        when: 'while the device goes down',
        parameters: {},
        outcome: RESTORED,
        left: ['~ boot'],
        does: ['~ boot'],
      },
    ];

    describe.each(cases.map((one, index) => ({ ...one, index })))('$template', (one) => {
      test(`cancelled ${one.when}, it ends as the table says`, { timeout: LIMIT_MS }, async () => {
        const jobId = `cancel-${one.template}-${one.index}`;
        const before = await device.world();
        const cancel = async (): Promise<void> => {
          const { thing: thingName } = device;
          await iot.send(new CancelJobExecutionCommand({ jobId, thingName, force: true }));
        };
        if (one.cancelAt) {
          const cancelled = one.cancelAt(jobId);
          await create(jobId, one);
          await cancelled;
        } else {
          await device.hold();
          await create(jobId, one);
          await device.held();
          await cancel();
          await sleep(HEARD_MS);
          await device.release();
        }
        await device.closed(jobId);
        expect(status(jobId)).toBe('CANCELED');
        const receipt = await device.receiptOf(jobId);
        const left = changes(before, await device.world());
        rows.push(rowOf(one, receipt, left));
        expect(receipt).toMatchObject(one.outcome);
        expect(left).toEqual(one.left);
      });

      test('left alone, it succeeds', { timeout: LIMIT_MS }, async () => {
        const jobId = `run-${one.template}-${one.index}`;
        const before = await device.world();
        await create(jobId, one);
        await device.closed(jobId);
        expect(status(jobId)).toBe('SUCCEEDED');
        expect(changes(before, await device.world())).toEqual(expect.arrayContaining(one.does));
      });
    });

    test('the table in the README is what was measured', async () => {
      const head = ['| template | cancelled | the receipt says | what stays |', '|---|---|---|---|'];
      await madePart(README, 'npm run measure:templates', [...head, ...rows].join('\n'));
    });
  },
);

function rowOf(
  { template, when }: Case,
  { outcome, deviceState, verified }: { outcome: string; deviceState: string; verified: boolean },
  left: readonly string[],
): string {
  const says = `\`${outcome}\`, \`${deviceState}\`${verified ? ', verified' : ''}`;
  return `| ${template} | ${when} | ${says} | ${left.map((one) => `\`${one}\``).join(', ') || '-'} |`;
}
