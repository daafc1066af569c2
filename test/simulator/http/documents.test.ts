import { CreateJobCommand, CreateThingCommand } from '@aws-sdk/client-iot';
import { GetThingShadowCommand, UpdateThingShadowCommand } from '@aws-sdk/client-iot-data-plane';
import { DescribeJobExecutionCommand } from '@aws-sdk/client-iot-jobs-data-plane';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemClock } from '../../../src/host/clock.ts';
import { VirtualClock } from '../../../src/simulator/index.ts';
import { type Bench, refusal, startBench, thingArn } from './clients.ts';

/** What a document becomes on its way to a device, and where its URLs lead. */

let bench: Bench;
let clock: VirtualClock;
beforeEach(async () => {
  clock = new VirtualClock({ base: systemClock });
  bench = await startBench({ clock });
  await bench.iot.send(new CreateThingCommand({ thingName: 'T' }));
});
afterEach(async () => {
  await bench.close();
});

test('J13, J14: a presigned URL is made when the device asks, serves ranges, and expires', async () => {
  const s3 = 'https://s3.us-east-1.amazonaws.com/bucket';
  await fetch(`${bench.simulator.httpUrl}/s3/bucket/a/file`, { method: 'PUT', body: '0123456789' });
  const document = JSON.stringify({
    get: `\${aws:iot:s3-presigned-url:${s3}/a/file}`,
    put: `\${aws:iot:s3-presigned-url-upload:${s3}/logs/\${thingName}/\${jobId}}`,
  });
  const presignedUrlConfig = {
    roleArn: 'arn:aws:iam::123456789012:role/download',
    expiresInSec: 60 as never,
  };
  const job = { jobId: 'one', targets: [thingArn('T')], document };
  expect((await refusal(bench.iot.send(new CreateJobCommand(job)))).name).toBe('InvalidRequestException');
  await bench.iot.send(new CreateJobCommand({ ...job, presignedUrlConfig }));
  const front = new DescribeJobExecutionCommand({ jobId: '$next', thingName: 'T' });
  const { execution } = await bench.jobsData.send(front);
  const { get, put } = JSON.parse(execution?.jobDocument ?? '') as { get: string; put: string };
  const part = await fetch(get, { headers: { range: 'bytes=2-4' } });
  expect([part.status, part.headers.get('content-range'), await part.text()]).toEqual([
    206,
    'bytes 2-4/10',
    '234',
  ]);
  expect((await fetch(get.replace('a/file', 'a/other'))).status).toBe(403);
  expect((await fetch(get.replace(/\?.*/, ''))).status).toBe(403);
  expect(put).toContain('/s3/bucket/logs/T/one?');
  expect((await fetch(put, { method: 'PUT', body: 'log' })).status).toBe(200);
  await clock.advance(61_000);
  for (const [url, method] of [
    [get, 'GET'],
    [put, 'PUT'],
  ] as const) {
    const late = await fetch(url, { method, ...(method === 'PUT' && { body: 'log' }) });
    expect([late.status, await late.text()]).toEqual([403, expect.stringContaining('Request has expired')]);
  }
});

test('shadows have versions, and a stale one is a conflict', async () => {
  const update = (version?: number) =>
    bench.iotData.send(
      new UpdateThingShadowCommand({
        thingName: 'T',
        shadowName: 'evenkeel',
        payload: Buffer.from(JSON.stringify({ state: { reported: { a: 1 } }, version })),
      }),
    );
  await update();
  await update(1);
  expect((await refusal(update(1))).name).toBe('ConflictException');
  const { payload } = await bench.iotData.send(
    new GetThingShadowCommand({ thingName: 'T', shadowName: 'evenkeel' }),
  );
  expect(JSON.parse(Buffer.from(payload ?? []).toString())).toMatchObject({
    state: { reported: { a: 1 } },
    version: 2,
  });
});
