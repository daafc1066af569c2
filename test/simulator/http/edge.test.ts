import { request } from 'node:http';
import * as iotApi from '@aws-sdk/client-iot';
import * as jobsApi from '@aws-sdk/client-iot-jobs-data-plane';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../../src/host/clock.ts';
import { createBackend } from '../../../src/simulator/backend.ts';
import { controlPlane } from '../../../src/simulator/http/control-plane.ts';
import { type Bench, CREDENTIALS, refusal, startBench, thingArn } from './clients.ts';

/** What every call has in common: dispatch, members, errors. */

let bench: Bench;
beforeEach(async () => {
  bench = await startBench();
  await bench.iot.send(new iotApi.CreateThingCommand({ thingName: 'T' }));
});
afterEach(async () => {
  await bench.close();
});

interface Raw {
  status: number;
  error: string | undefined;
  body: Record<string, unknown> | undefined;
}

/** As bytes on the wire: no client has looked at the members before. */
function raw(
  method: string,
  path: string,
  body?: string,
  headers: Record<string, string> = {},
): Promise<Raw> {
  return new Promise((resolve, reject) => {
    const sent = request(`${bench.simulator.httpUrl}${path}`, { method, headers }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        resolve({
          status: answer.statusCode ?? 0,
          error: answer.headers['x-amzn-errortype'] as string | undefined,
          body: text === '' ? undefined : (JSON.parse(text) as Record<string, unknown>),
        });
      });
    });
    sent.once('error', reject);
    sent.end(body);
  });
}

const signedFor = (service: string): Record<string, string> => ({
  authorization: `AWS4-HMAC-SHA256 Credential=A/20260101/us-east-1/${service}/aws4_request, SignedHeaders=host, Signature=0`,
});
const job = (more: object = {}): string =>
  JSON.stringify({ targets: [thingArn('T')], document: '{}', ...more });

describe('dispatch', () => {
  test('C8: one path, two services: the credential scope decides, also that of older boto3', async () => {
    await raw('PUT', '/jobs/one', job());
    const pending = await raw('GET', '/things/T/jobs', undefined, signedFor('iot-jobs-data'));
    expect(pending.body).toMatchObject({ inProgressJobs: [], queuedJobs: [{ jobId: 'one' }] });
    for (const service of ['iot', 'execute-api']) {
      const listed = await raw('GET', '/things/T/jobs', undefined, signedFor(service));
      expect(listed.body).toMatchObject({ executionSummaries: [{ jobId: 'one' }] });
    }
    const device = await raw('GET', '/things/T/jobs/one', undefined, signedFor('iot-jobs-data'));
    expect(device.body).toMatchObject({ execution: { thingName: 'T', jobDocument: '{}' } });
    const control = await raw('GET', '/things/T/jobs/one', undefined, signedFor('iot'));
    expect(control.body).toMatchObject({ execution: { thingArn: thingArn('T') } });
  });

  test('C8: a port may be one service alone, whatever a request is signed for', async () => {
    const backend = createBackend({
      clock: systemClock,
      notifier: { notify: () => undefined, notifyNext: () => undefined, event: () => undefined },
      objectsDirectory: '/nonexistent',
      httpUrl: () => 'http://127.0.0.1:1',
    });
    backend.service.createThing('T');
    const deps = { ...backend, clock: systemClock, services: ['iot-jobs-data'] as const };
    const answer = await controlPlane(deps).request('/things/T/jobs');
    expect(await answer.json()).toEqual({ inProgressJobs: [], queuedJobs: [] });
    backend.service.close();
  });

  test('C6: segments are decoded, each by itself', async () => {
    expect((await raw('POST', '/things/T%3A1', '{}')).body).toMatchObject({ thingName: 'T:1' });
    const slash = await raw('GET', '/things/T%2Fjobs', undefined);
    expect(slash).toMatchObject({ status: 400, error: 'InvalidRequestException' });
    expect(await raw('GET', '/things/T%ZZ')).toMatchObject({ status: 400, error: 'InvalidRequestException' });
    const next = await raw('GET', '/things/T/jobs/%24next', undefined, signedFor('iot-jobs-data'));
    expect(next).toMatchObject({ status: 200, body: {} });
  });

  test('C2: what is no operation is an error with a name', async () => {
    for (const [method, path] of [
      ['GET', '/nothing'],
      ['POST', '/jobs/one'],
      ['PUT', '/jobs'],
    ] as const) {
      const answer = await raw(method, path, method === 'GET' ? undefined : '{}');
      expect(answer).toMatchObject({ status: 404, error: 'UnknownOperationException' });
    }
    const wrongPlane = await raw('GET', '/jobs', undefined, signedFor('iot-jobs-data'));
    expect(wrongPlane.error).toBe('UnknownOperationException');
  });
});

describe('members', () => {
  test('C5: each constraint is checked, and the error names the member', async () => {
    const cases: [path: string, body: string, message: string][] = [
      [
        '/jobs/a%20b',
        job(),
        "Value 'a b' at 'jobId' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_-]+",
      ],
      [`/jobs/${'x'.repeat(65)}`, job(), 'Member must have length less than or equal to 64'],
      [
        '/jobs/one',
        job({ targets: [] }),
        "at 'targets' failed to satisfy constraint: Member must have length greater than or equal to 1",
      ],
      [
        '/jobs/one',
        '{"document":"{}"}',
        "Value null at 'targets' failed to satisfy constraint: Member must not be null",
      ],
      [
        '/jobs/one',
        job({ targets: null }),
        "Value null at 'targets' failed to satisfy constraint: Member must not be null",
      ],
      [
        '/jobs/one',
        job({ targetSelection: 'ONCE' }),
        "Value 'ONCE' at 'targetSelection' failed to satisfy constraint: Member must satisfy enum value set: [CONTINUOUS, SNAPSHOT]",
      ],
      [
        '/jobs/one',
        job({ description: 'a\u0007b' }),
        "at 'description' failed to satisfy constraint: Member must satisfy regular expression pattern: [^\\p{C}]+",
      ],
      [
        '/jobs/one',
        job({ document: 5 }),
        "Value '5' at 'document' failed to satisfy constraint: Member must be of type string",
      ],
      [
        '/jobs/one',
        job({ timeoutConfig: { inProgressTimeoutInMinutes: 10_081 } }),
        "Value '10081' at 'timeoutConfig.inProgressTimeoutInMinutes' failed to satisfy constraint: Member must have value less than or equal to 10080",
      ],
      [
        '/jobs/one',
        job({ presignedUrlConfig: { expiresInSec: 59 } }),
        "at 'presignedUrlConfig.expiresInSec' failed to satisfy constraint: Member must have value greater than or equal to 60",
      ],
      [
        '/jobs/one',
        job({ jobExecutionsRetryConfig: { criteriaList: [{ failureType: 'ALL', numberOfRetries: 11 }] } }),
        "at 'jobExecutionsRetryConfig.criteriaList.1.member.numberOfRetries'",
      ],
      ['/jobs/one', job({ abortConfig: {} }), "Value null at 'abortConfig.criteriaList'"],
      [
        '/jobs/one',
        job({ documentParameters: { 'a b': 'x' } }),
        'Map keys must satisfy constraint: [Member must satisfy regular expression pattern: [a-zA-Z0-9_-]+]',
      ],
      ['/jobs/one', job({ tags: [{ Value: 'x' }] }), "Value null at 'tags.1.member.Key'"],
    ];
    for (const [path, body, message] of cases) {
      const answer = await raw('PUT', path, body);
      expect(answer).toMatchObject({ status: 400, error: 'InvalidRequestException' });
      expect(answer.body?.['message']).toContain(message);
      expect(answer.body?.['message']).toMatch(/^1 validation error detected: /);
    }
    expect((await raw('GET', '/jobs')).body).toEqual({ jobs: [] });
  });

  test('C5: several wrong members are told together', async () => {
    const { body } = await raw('PUT', '/jobs/one', job({ description: 'a\nb', targetSelection: 'X' }));
    expect(body?.['message']).toMatch(/^2 validation errors detected: .*; .*/s);
  });

  test('C5: members of the query are read by their type', async () => {
    await raw('PUT', '/jobs/one', job());
    for (const query of ['force=yes', 'force=1', 'force='])
      expect((await raw('PUT', `/things/T/jobs/one/cancel?${query}`, '{}')).status, query).toBe(400);
    for (const query of ['maxResults=0', 'maxResults=251', 'maxResults=x', 'maxResults=1.5'])
      expect((await raw('GET', `/jobs?${query}`)).status, query).toBe(400);
    expect((await raw('PUT', '/things/T/jobs/one/cancel?force=false', '{}')).status).toBe(200);
  });

  test('P5: unknown members are ignored', async () => {
    expect((await raw('PUT', '/jobs/one?who=me', job({ somethingNew: 1 }))).status).toBe(200);
  });

  test('C7: an empty body is an empty object; an answer without members is empty, too', async () => {
    await raw('PUT', '/jobs/one', job());
    const cancelled = await raw('PUT', '/things/T/jobs/one/cancel');
    expect(cancelled).toMatchObject({ status: 200, body: undefined });
    for (const body of ['[]', '5', '{', 'null', '\xff'])
      expect(await raw('PUT', '/jobs/two', body)).toMatchObject({
        status: 400,
        error: 'InvalidRequestException',
      });
  });

  test('a body without end is not read to its end', async () => {
    const answer = await raw('PUT', '/jobs/one', job({ description: 'x'.repeat(2 * 1024 * 1024) }));
    expect(answer).toMatchObject({ status: 413, error: 'RequestEntityTooLargeException' });
  });
});

describe('faults on purpose', () => {
  const fail = (operation: string, code: string): void => {
    bench.simulator.faults.clear();
    bench.simulator.faults.add([{ on: 'call', action: 'reject', operation, code }]);
  };
  const cancel = () =>
    bench.iot.send(new iotApi.CancelJobExecutionCommand({ jobId: 'one', thingName: 'T', force: true }));

  test('C3, C13: CancelJobExecution raises each of its errors as the class of the SDK', async () => {
    await raw('PUT', '/jobs/one', job());
    for (const [code, type, status] of [
      ['InvalidRequest', iotApi.InvalidRequestException, 400],
      ['InvalidStateTransition', iotApi.InvalidStateTransitionException, 409],
      ['ResourceNotFound', iotApi.ResourceNotFoundException, 404],
      ['Throttling', iotApi.ThrottlingException, 400],
      ['ServiceUnavailable', iotApi.ServiceUnavailableException, 503],
      ['VersionConflict', iotApi.VersionConflictException, 409],
    ] as const) {
      fail('CancelJobExecution', code);
      const refused = await refusal(cancel());
      expect(refused, code).toBeInstanceOf(type);
      expect(refused).toMatchObject({ name: `${code}Exception`, $metadata: { httpStatusCode: status } });
    }
    bench.simulator.faults.clear();
    await cancel();
  });

  test('D3: the data plane throttles with another status', async () => {
    fail('GetPendingJobExecutions', 'Throttling');
    const pending = bench.jobsData.send(new jobsApi.GetPendingJobExecutionsCommand({ thingName: 'T' }));
    const refused = await refusal(pending);
    expect(refused).toBeInstanceOf(jobsApi.ThrottlingException);
    expect(refused).toMatchObject({ $metadata: { httpStatusCode: 429 } });
  });

  test('C10: the SDK tries again after throttling, and not after a conflict', async () => {
    await raw('PUT', '/jobs/one', job());
    const patient = new iotApi.IoTClient({
      endpoint: bench.simulator.httpUrl,
      region: 'us-east-1',
      credentials: CREDENTIALS,
      maxAttempts: 3,
    });
    const attempt = async (code: string): Promise<number> => {
      fail('CancelJobExecution', code);
      const call = new iotApi.CancelJobExecutionCommand({ jobId: 'one', thingName: 'T', force: true });
      await refusal(patient.send(call));
      return bench.simulator.faults.rules()[0]?.acted ?? 0;
    };
    expect(await attempt('VersionConflict')).toBe(1);
    expect(await attempt('Throttling')).toBe(3);
    patient.destroy();
  });
});
