import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Simulator } from '../../src/simulator/index.ts';
import { startTestCloud } from '../support/cloud.ts';
import { createDevice, TEST_TRANSPORTS } from '../support/device.ts';
import { until } from '../support/until.ts';

/** What a device does not use is not loaded: memory and start-up time of a small one. */

const HOOK = new URL('../support/loaded-modules.mjs', import.meta.url).pathname;
const MAIN = new URL('../../dist/cli/main.js', import.meta.url).pathname;
const LIBRARIES = { mqttjs: 'mqtt', 'aws-sdk': 'aws-crt' };

let simulator: Simulator;
beforeAll(async () => {
  simulator = await startTestCloud({}, 'embedded');
});
afterAll(() => simulator.close());

/** Packages that an agent has loaded by the time at which it is connected, and has ended. */
async function packagesOf(transport: (typeof TEST_TRANSPORTS)[number]): Promise<Set<string>> {
  const thing = `loads-${transport}`;
  simulator.service.createThing(thing);
  const device = await createDevice(thing, simulator.mqttUrl, { connection: { transport } });
  const file = join(device.root, 'loaded');
  const agent = spawn(process.execPath, ['--import', HOOK, MAIN, 'run', '--config', device.config], {
    env: { ...process.env, LOADED_MODULES: file },
  });
  let log = '';
  for (const stream of [agent.stdout, agent.stderr])
    stream.on('data', (chunk: Buffer) => {
      log += chunk.toString();
    });
  await until('the agent to be connected', () => log.includes('transport.up'));
  const exited = once(agent, 'exit');
  agent.kill('SIGTERM');
  await exited;
  const lines = (await readFile(file, 'utf8')).split('\n');
  await device.remove();
  return new Set(lines.flatMap((line) => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(line)?.[1] ?? []));
}

test.each(TEST_TRANSPORTS)('with %s the agent loads this MQTT library and no other', async (transport) => {
  const packages = await packagesOf(transport);
  expect(packages).toContain('zod');
  const libraries = Object.values(LIBRARIES).filter((name) => packages.has(name));
  expect(libraries).toEqual([LIBRARIES[transport]]);
  expect(packages).not.toContain('aedes');
  expect(packages).not.toContain('hono');
});
