import { stringify } from 'yaml';
import { loadConfig } from '../../config/load.ts';
import { CommandFailed } from '../command-failed.ts';
import { print } from '../reading.ts';
import { readText } from '../settings.ts';

/** `evenkeel import-config FILE`: the configuration of AWS IoT Device Client as ours, with what has no equal in words. */
export function importConfig(path: string, options: { json?: boolean }): void {
  const imported = readOld(path);
  const problems = check(imported.config);
  if (options.json) print(JSON.stringify({ format: 1, ...imported, problems }, null, 2));
  else print(textOf(path, imported, problems));
  if (problems.length > 0) process.exitCode = 1;
}

interface Imported {
  config: Record<string, unknown>;
  /** What a person has to know or do. */
  notes: string[];
}

type Section = Readonly<Record<string, unknown>>;

function readOld(path: string): Imported {
  let value: unknown;
  try {
    value = JSON.parse(readText(path));
  } catch (error) {
    if (error instanceof CommandFailed) throw error;
    throw new CommandFailed(`cannot read ${path}: it is no JSON: ${(error as Error).message}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new CommandFailed(`cannot read ${path}: it is no configuration of AWS IoT Device Client`);
  }
  return translated(value as Section);
}

/** What Device Client does besides jobs. */
const BESIDES: Readonly<Record<string, string>> = {
  tunneling:
    'secure tunneling: keep Device Client for it, with "jobs": {"enabled": false} and another thing or client id',
  'device-defender': 'Device Defender metrics: keep another agent for them',
  samples: 'its samples (pub-sub): not in evenkeel',
  'sample-shadow': 'its sample shadow: not in evenkeel',
  'config-shadow': 'its configuration in a shadow: not in evenkeel; a job can replace the file',
  'sensor-publish': 'publishing of sensors: not in evenkeel',
};
const TRANSLATED = [
  'endpoint',
  'cert',
  'key',
  'root-ca',
  'thing-name',
  'logging',
  'jobs',
  'fleet-provisioning',
  'secure-element',
  'runtime-config',
  ...Object.keys(BESIDES),
];
const LEVELS: Readonly<Record<string, string>> = {
  DEBUG: 'debug',
  INFO: 'info',
  WARN: 'warn',
  ERROR: 'error',
  FATAL: 'error',
};

export function translated(old: Section): Imported {
  const notes: string[] = [];
  const text = (section: Section, key: string, name = key): string | undefined => {
    const value = section[key];
    if (typeof value !== 'string' || value === '') return undefined;
    if (value.startsWith('<replace_with')) {
      notes.push(`${name} was never filled in: ${value}`);
      return undefined;
    }
    return value;
  };
  const file = (section: Section, key: string, name = key): string | undefined => {
    const value = text(section, key, name);
    if (value?.startsWith('/') !== false) return value;
    notes.push(`${name} is ${value}: write it as an absolute path`);
    return undefined;
  };
  const inner = (key: string): Section => {
    const value = old[key];
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Section) : {};
  };
  const claim = inner('fleet-provisioning')['enabled'] === true;
  const connection = connectionOf(old, claim, inner('secure-element'), { text, file, notes });
  const jobs = inner('jobs');
  const handlerDirectory = file(jobs, 'handler-directory', 'jobs.handler-directory');
  const logging = inner('logging');
  const level = LEVELS[(text(logging, 'level', 'logging.level') ?? '').toUpperCase()];
  const thing = text(old, 'thing-name');
  if (jobs['enabled'] === false)
    notes.push('jobs were off there ("jobs": {"enabled": false}): evenkeel runs them');
  if (text(logging, 'file', 'logging.file') !== undefined) {
    notes.push('its log was a file; evenkeel writes to the systemd journal: journalctl -u evenkeel');
  }
  for (const [key, words] of Object.entries(BESIDES)) {
    const isOn = inner(key)['enabled'] === true || Object.values(inner(key)).some((one) => isEnabled(one));
    if (isOn) notes.push(`no equal for ${words}`);
  }
  for (const key of Object.keys(old)) {
    if (!TRANSLATED.includes(key)) notes.push(`no equal for the key "${key}"`);
  }
  notes.push(
    'an HTTP proxy stands in a file of its own there (http-proxy.conf); here it is connection.proxy',
  );
  const provisioning = claim ? provisioningOf(old, inner('fleet-provisioning'), { text, file, notes }) : {};
  return {
    config: {
      ...(thing !== undefined && { thing }),
      connection,
      ...(claim && { provisioning }),
      ...(handlerDirectory !== undefined && { steps: { handlerDirectory } }),
      ...(level !== undefined && level !== 'info' && { logLevel: level }),
    },
    notes,
  };
}

interface Reader {
  text(section: Section, key: string, name?: string): string | undefined;
  file(section: Section, key: string, name?: string): string | undefined;
  notes: string[];
}

function connectionOf(
  old: Section,
  claim: boolean,
  element: Section,
  { text, file, notes }: Reader,
): Section {
  const endpoint = text(old, 'endpoint');
  const ca = file(old, 'root-ca');
  // With a claim, certificate and key are those of the claim.
  const certificate = claim ? undefined : file(old, 'cert');
  const inToken = element['enabled'] === true;
  const privateKey = claim || inToken ? undefined : file(old, 'key');
  if (endpoint === undefined) notes.push('without an endpoint: set connection.url');
  return {
    ...(endpoint !== undefined && { url: `mqtts://${endpoint}:8883` }),
    ...(certificate !== undefined && { certificate }),
    ...(privateKey !== undefined && { privateKey }),
    ...(ca !== undefined && { ca }),
    ...(inToken && { transport: 'aws-sdk', pkcs11: tokenOf(element, { text, file, notes }) }),
  };
}

function tokenOf(element: Section, { text, file, notes }: Reader): Section {
  const library = file(element, 'pkcs11-lib', 'secure-element.pkcs11-lib');
  const token = text(element, 'secure-element-token-label');
  const key = text(element, 'secure-element-key-label');
  const slot = element['secure-element-slot-id'];
  const hasPin = text(element, 'secure-element-pin') !== undefined;
  if (hasPin)
    notes.push(
      'the PIN is not printed: put it into a file for LoadCredential=pin:FILE of the unit, or into connection.pkcs11.pin',
    );
  notes.push('a key in a token needs the optional package aws-crt');
  return {
    ...(library !== undefined && { library }),
    ...(token !== undefined && { token }),
    ...(token === undefined && typeof slot === 'number' && { slot }),
    ...(key !== undefined && { key }),
    ...(hasPin && { pin: 'credential:pin' }),
  };
}

function provisioningOf(old: Section, fleet: Section, { text, file, notes }: Reader): Section {
  const template = text(fleet, 'template-name', 'fleet-provisioning.template-name');
  const claimCertificate = file(old, 'cert');
  const claimPrivateKey = file(old, 'key');
  const parameters = parametersOf(text(fleet, 'template-parameters'), notes);
  for (const key of ['csr-file', 'device-key']) {
    if (text(fleet, key) !== undefined)
      notes.push(`no equal for fleet-provisioning.${key}: the device makes its own key`);
  }
  notes.push(
    'a device that was provisioned already keeps its certificate: set connection.certificate and privateKey to those in its runtime configuration (aws-iot-device-client-runtime.conf), and leave provisioning out',
  );
  return {
    ...(template !== undefined && { template }),
    ...(claimCertificate !== undefined && { claimCertificate }),
    ...(claimPrivateKey !== undefined && { claimPrivateKey }),
    ...(parameters !== undefined && { parameters }),
  };
}

function parametersOf(text: string | undefined, notes: string[]): unknown {
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    notes.push('fleet-provisioning.template-parameters is no JSON: set provisioning.parameters');
    return undefined;
  }
}

function isEnabled(value: unknown): boolean {
  return typeof value === 'object' && value !== null && (value as Section)['enabled'] === true;
}

function check(config: Record<string, unknown>): string[] {
  const read = loadConfig(stringify(config));
  return read.ok ? [] : read.problems.map(({ path, reason }) => `${path}: ${reason}`);
}

function textOf(path: string, { config, notes }: Imported, problems: readonly string[]): string {
  const commented = (lines: readonly string[]): string[] =>
    lines.map((line) => `# ${line.replace(/[\r\n\u0085\u2028\u2029]+/g, ' ')}`);
  return [
    ...commented([
      `From the configuration of AWS IoT Device Client (${path}).`,
      'Stop that client before evenkeel starts: systemctl disable --now aws-iot-device-client',
    ]),
    ...(notes.length === 0 ? [] : ['#', ...commented(notes)]),
    ...(problems.length === 0 ? [] : ['#', ...commented(problems.map((one) => `TO CORRECT: ${one}`))]),
    '',
    stringify(config).trimEnd(),
  ].join('\n');
}
