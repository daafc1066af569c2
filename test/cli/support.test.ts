import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Simulator } from '../../src/simulator/index.ts';
import { thingArn } from '../../src/simulator/service/jobs-service.ts';
import { startTestCloud } from '../support/cloud.ts';
import { typed } from '../support/command.ts';
import { createDevice, type Device } from '../support/device.ts';
import { until } from '../support/until.ts';

/** `evenkeel bundle`: all that support needs, and nothing that must not leave the device. */

vi.setConfig({ testTimeout: 120_000 });

const THING = 'bundled';
let simulator: Simulator;
let device: Device;
let place: string;

beforeEach(async () => {
  simulator = await startTestCloud();
  simulator.service.createThing(THING);
  device = await createDevice(THING, simulator.mqttUrl, {
    connection: { username: 'user', password: 'PLANTED-1' },
  });
  place = await mkdtemp('/var/tmp/evenkeel-bundle-');
});
afterEach(async () => {
  await device.stop('SIGKILL');
  await device.remove();
  await simulator.close();
  await rm(place, { recursive: true });
});

/** Every file of an archive with its text. */
async function opened(archive: string): Promise<Map<string, string>> {
  execFileSync('tar', ['-xzf', archive, '-C', place]);
  const files = new Map<string, string>();
  for (const entry of await readdir(place, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || entry.name.endsWith('.tar.gz')) continue;
    const path = join(entry.parentPath, entry.name);
    files.set(path.slice(place.length + 1).replace(/^[^/]+\//, ''), await readFile(path, 'utf8'));
  }
  return files;
}

const json = (files: Map<string, string>, name: string): unknown => JSON.parse(files.get(name) ?? '');

test('it holds what there is to know, and none of the secrets that lie around', async () => {
  const action = (name: string, type: string, input: object): object => ({ action: { name, type, input } });
  const steps = [
    action('secret-file', 'writeFile', { path: device.path('etc/key'), content: 'PLANTED-2' }),
    action('fetch', 'runCommand', {
      command: [
        '/bin/sh',
        '-c',
        'echo https://b.example/k?X-Amz-Signature=PLANTED-3; echo password=PLANTED-4 >&2; exit 3',
      ],
    }),
    action('login', 'runCommand', { command: ['/usr/bin/login', '--token=PLANTED-5'] }),
  ];
  await mkdir(join(device.root, 'state'), { recursive: true, mode: 0o700 });
  await device.start();
  const document = JSON.stringify({ version: '1.0', steps });
  simulator.service.createJob({ jobId: 'update-1', targets: [thingArn(THING)], document });
  await until('its end', () => simulator.service.execution(THING, 'update-1').status === 'FAILED', 60_000);
  await mkdir(join(device.root, 'state/credentials/1'), { recursive: true });
  await writeFile(join(device.root, 'state/credentials/1/private.key'), 'PLANTED-6');
  const receipt = { cause: { reason: 'proxy http://user:PLANTED-7@proxy:3128' } };
  await writeFile(join(device.root, 'state/outbox/odd.json'), JSON.stringify(receipt));

  const archive = join(place, 'it.tar.gz');
  const ended = await typed(device, 'bundle', '--output', archive);
  expect(ended).toMatchObject({ code: 0, stderr: '' });
  expect(ended.stdout).toContain(archive);
  expect((await stat(archive)).mode & 0o777).toBe(0o600);
  const files = await opened(archive);
  for (const [name, text] of files) expect(text, name).not.toContain('PLANTED');
  const [key] = await readdir(join(device.root, 'state/executions'));
  expect([...files.keys()].sort()).toEqual(
    expect.arrayContaining([
      'agent.log',
      'config.json',
      'doctor.json',
      `jobs/${key}/journal.json`,
      `jobs/${key}/outputs.json`,
      `jobs/${key}/plan.json`,
      `jobs/${key}/story.json`,
      'manifest.json',
      // The agent has set it aside.
      'receipts/odd.json.bad',
      'state/life.json',
      'status.json',
    ]),
  );
  expect(json(files, 'config.json')).toMatchObject({ thing: THING, connection: { password: '[secret]' } });
  expect(json(files, 'manifest.json')).toMatchObject({ format: 1, node: process.version, cut: [] });
  expect(json(files, `jobs/${key}/story.json`)).toMatchObject({ jobId: 'update-1', outcome: 'notReversed' });
  expect(json(files, `jobs/${key}/plan.json`)).toMatchObject({
    steps: [{ contentBase64: '[9 bytes]' }, {}, {}],
  });
  expect(files.get(`jobs/${key}/outputs.json`)).toContain('https://b.example/k?[secret]');
  expect((json(files, 'doctor.json') as { sections: object[] }).sections.length).toBeGreaterThan(2);
});

test('it is bounded, says what it left out, and works where there is no state yet', async () => {
  const outbox = join(device.root, 'state/outbox');
  await mkdir(outbox, { recursive: true });
  for (let at = 0; at < 20; at += 1)
    await writeFile(join(outbox, `${at}.json`), JSON.stringify({ a: 'x'.repeat(1_200_000) }));
  const archive = join(place, 'it.tar.gz');
  expect((await typed(device, 'bundle', '--output', archive)).code).toBe(0);
  const files = await opened(archive);
  expect([...files.values()].reduce((sum, text) => sum + text.length, 0)).toBeLessThan(17 * 1024 * 1024);
  const { cut } = json(files, 'manifest.json') as { cut: string[] };
  expect(cut.filter((line) => line.endsWith('left out, the archive is full')).length).toBeGreaterThan(2);
  expect(cut.filter((line) => line.includes('its last')).length).toBeGreaterThan(10);
  const nowhere = await typed(device, 'bundle', '--output', '/nowhere/it.tar.gz');
  expect(nowhere).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^cannot write \/nowhere/) as string,
  });
});
