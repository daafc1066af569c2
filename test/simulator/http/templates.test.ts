import * as iotApi from '@aws-sdk/client-iot';
import { DescribeJobExecutionCommand } from '@aws-sdk/client-iot-jobs-data-plane';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Bench, refusal, startBench, thingArn } from './clients.ts';

/** Where the document of a job comes from: templates of the account and of AWS, S3, and what is put into it. */

let bench: Bench;
beforeEach(async () => {
  bench = await startBench();
  await bench.iot.send(new iotApi.CreateThingCommand({ thingName: 'T' }));
});
afterEach(async () => {
  await bench.close();
});

const create = (jobId: string, more: Partial<iotApi.CreateJobCommandInput>) =>
  bench.iot.send(new iotApi.CreateJobCommand({ jobId, targets: [thingArn('T')], ...more }));
const documentOf = async (jobId: string, beforeSubstitution = false): Promise<unknown> => {
  const asked = new iotApi.GetJobDocumentCommand({ jobId, beforeSubstitution });
  return JSON.parse((await bench.iot.send(asked)).document ?? '') as unknown;
};
const onDevice = async (jobId: string): Promise<unknown> => {
  const asked = new DescribeJobExecutionCommand({ jobId, thingName: 'T' });
  return JSON.parse((await bench.jobsData.send(asked)).execution?.jobDocument ?? '') as unknown;
};
const managedArn = (name: string) => `arn:aws:iot:us-east-1::jobtemplate/${name}:1.0`;
const presignedUrlConfig = { roleArn: 'arn:aws:iam::123456789012:role/download' };

const handler = (name: string, script: string, args?: readonly string[]) => ({
  name,
  type: 'runHandler',
  input: { handler: script, ...(args && { args }), path: '/opt/handlers' },
});

const MANAGED: [name: string, parameters: Record<string, string>, action: object][] = [
  ['AWS-Reboot', {}, handler('Reboot', 'reboot.sh')],
  [
    'AWS-Download-File',
    { downloadUrl: 'https://example.com/a', filePath: '/var/a' },
    handler('Download-File', 'download-file.sh', ['https://example.com/a', '/var/a']),
  ],
  [
    'AWS-Install-Application',
    { packages: 'lftp dos2unix' },
    handler('Install-Application', 'install-packages.sh', ['lftp dos2unix']),
  ],
  ['AWS-Remove-Application', { packages: 'p' }, handler('Remove-Application', 'remove-packages.sh', ['p'])],
  ['AWS-Start-Application', { services: 's' }, handler('Start-Application', 'start-services.sh', ['s'])],
  ['AWS-Stop-Application', { services: 's' }, handler('Stop-Application', 'stop-services.sh', ['s'])],
  [
    'AWS-Restart-Application',
    { services: 's' },
    handler('Restart-Application', 'restart-services.sh', ['s']),
  ],
  [
    'AWS-Run-Command',
    { command: 'echo,"hello"' },
    { name: 'Run-Command', type: 'runCommand', input: { command: 'echo,"hello"' } },
  ],
];

describe('templates that AWS manages', () => {
  test('J9 J10: eight of them are listed, and each is described with its parameters', async () => {
    const { managedJobTemplates = [] } = await bench.iot.send(new iotApi.ListManagedJobTemplatesCommand({}));
    expect(managedJobTemplates.map(({ templateName }) => templateName).sort()).toEqual(
      MANAGED.map(([name]) => name).sort(),
    );
    for (const [templateName, parameters] of MANAGED) {
      const found = await bench.iot.send(new iotApi.DescribeManagedJobTemplateCommand({ templateName }));
      expect(found).toMatchObject({ templateArn: managedArn(templateName), templateVersion: '1.0' });
      const given = found.documentParameters ?? [];
      const named = (optional: boolean) =>
        given.filter((one) => one.optional === optional).map(({ key }) => key);
      expect(named(false)).toEqual(Object.keys(parameters));
      expect(named(true)).toEqual(
        templateName === 'AWS-Run-Command' ? ['runAsUser'] : ['runAsUser', 'pathToHandler'],
      );
      for (const { key } of given) expect(found.document).toContain(`\${aws:iot:parameter:${key}}`);
      for (const { regex, example } of given) expect(example).toMatch(new RegExp(`^(?:${regex})$`));
    }
  });

  test.each(MANAGED)('J11 J12: %s, with all of its parameters', async (name, parameters, action) => {
    const pathToHandler = name === 'AWS-Run-Command' ? {} : { pathToHandler: '/opt/handlers' };
    const documentParameters = { ...parameters, runAsUser: 'root', ...pathToHandler };
    await create('one', { jobTemplateArn: managedArn(name), documentParameters });
    const expected = { version: '1.0', steps: [{ action: { ...action, runAsUser: 'root' } }] };
    expect(await documentOf('one')).toEqual(expected);
    expect(await onDevice('one')).toEqual(expected);
    expect(JSON.stringify(await documentOf('one', true))).toContain('${aws:iot:parameter:runAsUser}');
  });

  test('J11: an omitted optional parameter is an empty string, or gone with the switch', async () => {
    const job = {
      jobTemplateArn: managedArn('AWS-Run-Command'),
      documentParameters: { command: 'true' },
    };
    const action = { name: 'Run-Command', type: 'runCommand', input: { command: 'true' } };
    await create('one', job);
    expect(await documentOf('one')).toEqual({
      version: '1.0',
      steps: [{ action: { ...action, runAsUser: '' } }],
    });
    bench.simulator.switches.set({ omittedTemplateParameter: 'removed' });
    await create('two', job);
    expect(await documentOf('two')).toEqual({ version: '1.0', steps: [{ action }] });
  });

  test('J11: a parameter that is missing or unknown is refused, as are parameters without such a template', async () => {
    const jobTemplateArn = managedArn('AWS-Run-Command');
    const wrong: Partial<iotApi.CreateJobCommandInput>[] = [
      { jobTemplateArn },
      { jobTemplateArn, documentParameters: { command: 'true', strange: 'x' } },
      { document: '{}', documentParameters: { command: 'true' } },
    ];
    for (const one of wrong)
      expect(await refusal(create('one', one))).toBeInstanceOf(iotApi.InvalidRequestException);
    const nowhere = create('one', { jobTemplateArn: managedArn('AWS-Nothing') });
    expect(await refusal(nowhere)).toBeInstanceOf(iotApi.ResourceNotFoundException);
  });
});

describe("the account's own templates", () => {
  const description = 'what it is for';
  const template = (jobTemplateId: string, more: Partial<iotApi.CreateJobTemplateCommandInput> = {}) =>
    bench.iot.send(
      new iotApi.CreateJobTemplateCommand({ jobTemplateId, description, document: '{"t":1}', ...more }),
    );

  test('created, described, listed, used, deleted', async () => {
    const timeoutConfig = { inProgressTimeoutInMinutes: 7 as never };
    const { jobTemplateArn } = await template('mine', { timeoutConfig });
    expect(jobTemplateArn).toBe('arn:aws:iot:us-east-1:123456789012:jobtemplate/mine');
    expect(await refusal(template('mine'))).toBeInstanceOf(iotApi.ConflictException);
    const described = new iotApi.DescribeJobTemplateCommand({ jobTemplateId: 'mine' });
    expect(await bench.iot.send(described)).toMatchObject({
      jobTemplateArn,
      description,
      document: '{"t":1}',
      timeoutConfig,
    });
    const { jobTemplates } = await bench.iot.send(new iotApi.ListJobTemplatesCommand({}));
    expect(jobTemplates).toMatchObject([{ jobTemplateArn, jobTemplateId: 'mine', description }]);
    await create('one', { jobTemplateArn });
    expect(await onDevice('one')).toEqual({ t: 1 });
    const { job } = await bench.iot.send(new iotApi.DescribeJobCommand({ jobId: 'one' }));
    expect(job).toMatchObject({ jobTemplateArn, timeoutConfig });
    await bench.iot.send(new iotApi.DeleteJobTemplateCommand({ jobTemplateId: 'mine' }));
    expect(await refusal(bench.iot.send(described))).toBeInstanceOf(iotApi.ResourceNotFoundException);
    expect(await refusal(create('two', { jobTemplateArn }))).toBeInstanceOf(iotApi.ResourceNotFoundException);
    // What has been made of it goes on.
    expect(await onDevice('one')).toEqual({ t: 1 });
  });

  test('what the job says itself comes first', async () => {
    const { jobTemplateArn } = await template('mine', {
      timeoutConfig: { inProgressTimeoutInMinutes: 7 as never },
    });
    const timeoutConfig = { inProgressTimeoutInMinutes: 9 as never };
    await create('one', { jobTemplateArn, document: '{"own":1}', timeoutConfig });
    expect(await onDevice('one')).toEqual({ own: 1 });
    const { job } = await bench.iot.send(new iotApi.DescribeJobCommand({ jobId: 'one' }));
    expect(job?.timeoutConfig).toEqual(timeoutConfig);
  });

  test('made from a job', async () => {
    const retries = { criteriaList: [{ failureType: 'FAILED' as const, numberOfRetries: 2 as never }] };
    const { jobArn } = await create('one', { document: '{"j":1}', jobExecutionsRetryConfig: retries });
    await template('mine', { document: undefined, jobArn });
    const found = await bench.iot.send(new iotApi.DescribeJobTemplateCommand({ jobTemplateId: 'mine' }));
    expect(found).toMatchObject({ document: '{"j":1}', jobExecutionsRetryConfig: retries });
    const both = template('other', { jobArn });
    expect(await refusal(both)).toBeInstanceOf(iotApi.InvalidRequestException);
    const none = template('other', { document: undefined });
    expect(await refusal(none)).toBeInstanceOf(iotApi.InvalidRequestException);
  });
});

describe('documents in S3, and what is substituted', () => {
  const s3 = 'https://s3.us-east-1.amazonaws.com/bucket';
  const put = (key: string, body: string) =>
    fetch(`${bench.simulator.httpUrl}/s3/bucket/${key}`, { method: 'PUT', body });

  test('documentSource: the document is read when the job is made, by both forms of URL', async () => {
    await put('jobs/one.json', '{"in":"S3"}');
    await create('one', { documentSource: `${s3}/jobs/one.json` });
    await put('jobs/one.json', '{"in":"S3, later"}');
    expect(await onDevice('one')).toEqual({ in: 'S3' });
    const described = await bench.iot.send(new iotApi.DescribeJobCommand({ jobId: 'one' }));
    expect(described.documentSource).toBe(`${s3}/jobs/one.json`);
    await create('two', { documentSource: 'https://bucket.s3.eu-west-1.amazonaws.com/jobs/one.json' });
    expect(await onDevice('two')).toEqual({ in: 'S3, later' });
    for (const documentSource of [`${s3}/nothing`, 'https://example.com/one.json'])
      expect(await refusal(create('three', { documentSource }))).toBeInstanceOf(
        iotApi.InvalidRequestException,
      );
  });

  test('J13: -v1 and -v2 lead to the same object, -v2 percent-encoded with a version', async () => {
    await put('a/b c', 'content');
    const document = JSON.stringify({
      plain: `\${aws:iot:s3-presigned-url:${s3}/a/b%20c}`,
      v1: `\${aws:iot:s3-presigned-url-v1:${s3}/a/b%20c}`,
      v2: `\${aws:iot:s3-presigned-url-v2:${s3}/a/b%20c%3FversionId%3Dabc}`,
    });
    await create('one', { document, presignedUrlConfig });
    const urls = (await onDevice('one')) as Record<string, string>;
    for (const url of Object.values(urls)) expect(await (await fetch(url)).text()).toBe('content');
    // J14: the control plane keeps the placeholders.
    expect(await documentOf('one')).toEqual(JSON.parse(document));
  });

  test('L3 L4: 32768 characters and 10 substitutions, and not one more', async () => {
    const long = (characters: number) => `"${'x'.repeat(characters - 2)}"`;
    await create('one', { document: long(32_768) });
    expect(await refusal(create('two', { document: long(32_769) }))).toBeInstanceOf(
      iotApi.InvalidRequestException,
    );
    const urls = (count: number) =>
      JSON.stringify(Array.from({ length: count }, (_, at) => `\${aws:iot:s3-presigned-url:${s3}/${at}}`));
    await create('three', { document: urls(10), presignedUrlConfig });
    expect(await refusal(create('four', { document: urls(11), presignedUrlConfig }))).toBeInstanceOf(
      iotApi.InvalidRequestException,
    );
  });

  test('L10: a presigned URL lives from 60 to 3600 seconds, 3600 by default', async () => {
    const document = `"\${aws:iot:s3-presigned-url:${s3}/a}"`;
    const made = async (jobId: string, expiresInSec?: number) => {
      const config = { ...presignedUrlConfig, ...(expiresInSec && { expiresInSec: expiresInSec as never }) };
      await create(jobId, { document, presignedUrlConfig: config });
      return new URL((await onDevice(jobId)) as string).searchParams.get('X-Amz-Expires');
    };
    expect([await made('a'), await made('b', 60), await made('c', 3600)]).toEqual(['3600', '60', '3600']);
    for (const seconds of [59, 3601])
      expect(await refusal(made('d', seconds))).toBeInstanceOf(iotApi.InvalidRequestException);
  });

  test('J1 J15: the service reads nothing in a document; other forms come through as they are', async () => {
    for (const [at, document] of ['{"afr_ota":{"files":[]}}', '[1,null]', '"text"'].entries()) {
      await create(`job${at}`, { document });
      expect(await onDevice(`job${at}`)).toEqual(JSON.parse(document));
    }
  });
});
