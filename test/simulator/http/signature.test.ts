import {
  CreateThingCommand,
  DescribeManagedJobTemplateCommand,
  IoTClient,
  ListThingsCommand,
} from '@aws-sdk/client-iot';
import { DescribeJobExecutionCommand } from '@aws-sdk/client-iot-jobs-data-plane';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Bench, CREDENTIALS, refusal, startBench } from './clients.ts';

/** Signatures of the real SDK, checked by our own reading of Signature Version 4. */

let bench: Bench;
beforeEach(async () => {
  bench = await startBench({ checkSignatures: [CREDENTIALS] });
});
afterEach(async () => {
  await bench.close();
});

test('what the SDK has signed is accepted: encoded paths, queries and bodies', async () => {
  const attributePayload = { attributes: { a: 'b=c' } };
  await bench.iot.send(new CreateThingCommand({ thingName: 'T:1', attributePayload }));
  const asked = { attributeName: 'a', attributeValue: 'b=c', maxResults: 5 };
  const { things } = await bench.iot.send(new ListThingsCommand(asked));
  expect(things?.map(({ thingName }) => thingName)).toEqual(['T:1']);
  const front = new DescribeJobExecutionCommand({ jobId: '$next', thingName: 'T:1' });
  expect(await bench.jobsData.send(front)).not.toHaveProperty('execution');
  const template = new DescribeManagedJobTemplateCommand({ templateName: 'AWS-Reboot' });
  expect((await bench.iot.send(template)).environments).toEqual(['LINUX']);
});

test('a wrong secret, an unknown key and no signature at all are refused, each by its name', async () => {
  const nameFor = async (credentials: typeof CREDENTIALS): Promise<string> => {
    const config = { endpoint: bench.simulator.httpUrl, region: 'us-east-1', credentials, maxAttempts: 1 };
    const client = new IoTClient(config);
    const { name } = await refusal(client.send(new ListThingsCommand({})));
    client.destroy();
    return name;
  };
  expect(await nameFor({ ...CREDENTIALS, secretAccessKey: 'wrong' })).toBe('InvalidSignatureException');
  expect(await nameFor({ ...CREDENTIALS, accessKeyId: 'OTHER' })).toBe('UnrecognizedClientException');
  expect((await fetch(`${bench.simulator.httpUrl}/things`)).status).toBe(403);
});
