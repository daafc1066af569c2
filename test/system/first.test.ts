import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemClock } from '../../src/host/clock.ts';
import { type Simulator, startSimulator } from '../../src/simulator/index.ts';
import { thingArn } from '../../src/simulator/jobs-service.ts';
import { createDevice, type Site, startSite, updateDocument } from '../support/device.ts';
import { until } from '../support/until.ts';

let simulator: Simulator;
let site: Site;
beforeAll(async () => {
  simulator = await startSimulator({ clock: systemClock });
  site = await startSite();
});
afterAll(async () => {
  await site.close();
  await simulator.close();
});

test('first', async () => {
  const { service } = simulator;
  service.createThing('d1');
  const device = await createDevice('d1', simulator.mqttUrl);
  const old = await device.files();
  await device.start();
  service.createJob({
    jobId: 'j1',
    targets: [thingArn('d1')],
    document: JSON.stringify(updateDocument(device, site, 60)),
  });
  try {
    await until(
      'migrate',
      () => service.execution('d1', 'j1').statusDetails['step']?.includes('migrate'),
      8000,
    );
    console.log(await device.files());
    service.cancelExecution('d1', 'j1', { force: true });
    await until('receipt', () => simulator.shadows.get('d1', 'evenkeel'), 8000);
    console.log(JSON.stringify(simulator.shadows.get('d1', 'evenkeel'), null, 1));
    expect(await device.files()).toEqual(old);
  } finally {
    await device.stop('SIGTERM');
    console.log(device.log().slice(-6000));
  }
}, 60_000);
