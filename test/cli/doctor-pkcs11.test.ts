import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import type { Report } from '../../src/cli/doctor/finding.ts';
import { systemClock } from '../../src/host/clock.ts';
import type { Simulator } from '../../src/simulator/index.ts';
import { startSimulator } from '../../src/simulator/index.ts';
import { softHsm, softTokens } from '../support/softhsm.ts';
import { until } from '../support/until.ts';
import { finding } from './patient.ts';

/**
 * Agent and doctor with a private key in a PKCS#11 token, as programs, against the simulator's listener of TLS. A
 * process of its own for each: what a token was once told, it does not ask again in the same one.
 */

const MAIN = new URL('../../dist/cli/main.js', import.meta.url).pathname;
const library = softHsm();

describe.skipIf(library === undefined)('a key in a token', () => {
  let directory: string;
  let simulator: Simulator;
  let certificate: string;
  let otherCertificate: string;
  let env: NodeJS.ProcessEnv;
  beforeAll(async () => {
    directory = await mkdtemp('/var/tmp/evenkeel-token-');
    simulator = await startSimulator({ clock: systemClock, tls: true });
    simulator.service.createThing('boat');
    const issued = await simulator.issueCertificate('boat');
    certificate = issued.certFile;
    otherCertificate = (await simulator.issueCertificate('ship')).certFile;
    const tokens = await softTokens(directory);
    await tokens.create('boat', '0123');
    await tokens.importKey(issued.keyFile, { token: 'boat', pin: '0123', label: 'boat-key', id: 'a1' });
    await writeFile(join(directory, 'pin'), '0123\n', { mode: 0o600 });
    env = { ...process.env, ...tokens.env, CREDENTIALS_DIRECTORY: directory };
  });
  afterAll(async () => {
    await simulator.close();
    await rm(directory, { recursive: true });
  });

  async function configured(change: { pkcs11?: object; connection?: object } = {}): Promise<string> {
    const config = join(directory, 'evenkeel.yaml');
    const pkcs11 = { library, token: 'boat', pin: 'credential:pin', key: 'boat-key', ...change.pkcs11 };
    const connection = {
      url: simulator.mqttsUrl,
      transport: 'aws-sdk',
      certificate,
      ca: simulator.caFile,
      pkcs11,
      spreadSeconds: 0,
      ...change.connection,
    };
    await writeFile(
      config,
      stringify({ thing: 'boat', state: { directory: join(directory, 'state') }, connection }),
    );
    return config;
  }

  async function examined(change: Parameters<typeof configured>[0] = {}): Promise<Report> {
    const config = await configured(change);
    const run = promisify(execFile)(process.execPath, [MAIN, 'doctor', '--json', '--config', config], {
      env,
    });
    const { stdout } = await run.catch((error: unknown) => error as { stdout: string });
    return JSON.parse(stdout) as Report;
  }

  test('doctor connects with it, and asks all that it asks with a key in a file', {
    timeout: 60_000,
  }, async () => {
    const report = await examined();
    expect(report.cause).toBeUndefined();
    expect(finding(report, 'aws-sdk')?.result).toBe('ok');
    expect(finding(report, 'client certificate')?.detail).toContain('its key is in a token');
    expect(finding(report, 'PKCS#11 key')?.detail).toBe(
      `the private key "boat-key" in the token "boat", by ${library}`,
    );
    for (const name of [
      'TLS',
      'CONNECT',
      'client id',
      'SUBSCRIBE jobs/notify-next',
      'PUBLISH $next/get',
      'PUBLISH update',
    ])
      expect(finding(report, name), name).toMatchObject({ result: 'ok' });
  });

  test.each<[string, Parameters<typeof configured>[0], string, RegExp, RegExp]>([
    [
      'a wrong PIN',
      { pkcs11: { pin: '9999' } },
      'PKCS#11 key',
      /refuses the PIN.*CKR_PIN_INCORRECT/,
      /connection\.pkcs11\.pin/,
    ],
    ['no PIN', { pkcs11: { pin: undefined } }, 'PKCS#11 key', /./, /PIN/],
    [
      'a PIN that is not there',
      { pkcs11: { pin: '/nowhere' } },
      'client certificate',
      /pkcs11\.pin: cannot read \/nowhere/,
      /ls -l/,
    ],
    [
      'a missing token',
      { pkcs11: { token: 'ship' } },
      'PKCS#11 key',
      /cannot find the PKCS#11 token "ship"/,
      /list-token-slots/,
    ],
    [
      'a missing library',
      { pkcs11: { library: '/nowhere.so' } },
      'PKCS#11 key',
      /\/nowhere\.so: there is no such file/,
      /pkcs11\.library/,
    ],
    [
      'a missing key',
      { pkcs11: { key: 'x' } },
      'PKCS#11 key',
      /cannot find a private key "x"/,
      /list-objects/,
    ],
    [
      'mqttjs',
      { connection: { transport: 'mqttjs' } },
      'file',
      /pkcs11: needs transport: aws-sdk/,
      /correct it/,
    ],
    [
      'no certificate',
      { connection: { certificate: undefined } },
      'client certificate',
      /connection\.certificate is missing/,
      /certificate/,
    ],
    [
      'another certificate',
      {
        get connection() {
          return { certificate: otherCertificate };
        },
      },
      'CONNECT',
      /TLS failed|hung up/,
      /pkcs11|certificate/,
    ],
    ['a server name', { connection: { serverName: 'other' } }, 'aws-sdk', /no server name/, /mqttjs/],
  ])('doctor names it: %s', { timeout: 60_000 }, async (_, change, name, detail, fix) => {
    const { cause } = await examined(change);
    expect(cause).toMatchObject({ name });
    expect(cause?.detail).toMatch(detail);
    expect(cause?.fix).toMatch(fix);
    expect(JSON.stringify(cause)).not.toContain('9999');
  });

  test('the agent runs a job over it; with a wrong PIN it says so, stays, and does not try it again', {
    timeout: 90_000,
  }, async () => {
    const run = async (config: string, enough: (log: string) => boolean): Promise<string> => {
      let log = '';
      const agent = execFile(process.execPath, [MAIN, 'run', '--config', config], { env });
      agent.stdout?.on('data', (chunk: string) => {
        log += chunk;
      });
      const ended = new Promise((resolve) => agent.once('exit', resolve));
      try {
        await until('what the agent is to do', () => enough(log), 30_000);
        expect(agent.exitCode).toBeNull();
      } finally {
        agent.kill('SIGTERM');
        await ended;
      }
      return log;
    };
    const short = { backoffFirstSeconds: 0.05, backoffMaxSeconds: 0.2 };
    const refused = await run(
      await configured({ pkcs11: { pin: '9999' }, connection: short }),
      (log) => log.split('transport.failed').length > 3,
    );
    expect(refused).toMatch(/refuses the PIN, which is not tried again before a restart/);
    expect(refused).not.toContain('9999');
    const document = {
      version: '1.0',
      steps: [{ action: { name: 'a', type: 'runCommand', input: { command: 'true' } } }],
    };
    simulator.service.createJob({
      jobId: 'by-token',
      targets: ['arn:aws:iot:us-east-1:123456789012:thing/boat'],
      document: JSON.stringify(document),
    });
    await run(
      await configured(),
      () => simulator.service.execution('boat', 'by-token').status === 'SUCCEEDED',
    );
  });
});
