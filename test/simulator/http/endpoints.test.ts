import { DescribeThingCommand, IoTClient } from '@aws-sdk/client-iot';
import { GetPendingJobExecutionsCommand, IoTJobsDataPlaneClient } from '@aws-sdk/client-iot-jobs-data-plane';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemClock } from '../../../src/host/clock.ts';
import { type Simulator, startSimulator } from '../../../src/simulator/index.ts';
import { CREDENTIALS } from './clients.ts';

/** Where a client of AWS looks for the simulator, when its own code says nothing. */

const config = { region: 'us-east-1', credentials: CREDENTIALS, maxAttempts: 1 };

let simulator: Simulator;
beforeEach(async () => {
  simulator = await startSimulator({ clock: systemClock, jobsDataPort: 0 });
  simulator.service.createThing('boat-1');
});
afterEach(async () => {
  delete process.env['AWS_ENDPOINT_URL_IOT'];
  delete process.env['AWS_ENDPOINT_URL_IOT_JOBS_DATA_PLANE'];
  await simulator.close();
});

test('C9: the endpoints come from the environment, one for each service, or from an option', async () => {
  process.env['AWS_ENDPOINT_URL_IOT'] = simulator.httpUrl;
  process.env['AWS_ENDPOINT_URL_IOT_JOBS_DATA_PLANE'] = simulator.jobsDataUrl;
  const iot = new IoTClient(config);
  const jobsData = new IoTJobsDataPlaneClient(config);
  const option = new IoTClient({ ...config, endpoint: simulator.httpUrl });
  const pending = new GetPendingJobExecutionsCommand({ thingName: 'boat-1' });
  const described = new DescribeThingCommand({ thingName: 'boat-1' });
  expect(await iot.send(described)).toMatchObject({ thingName: 'boat-1' });
  expect(await jobsData.send(pending)).toMatchObject({ inProgressJobs: [], queuedJobs: [] });
  delete process.env['AWS_ENDPOINT_URL_IOT'];
  expect(await option.send(described)).toMatchObject({ thingName: 'boat-1' });
  for (const client of [iot, jobsData, option]) client.destroy();
});
