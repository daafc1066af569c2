import type { Config } from '../../config/config.ts';
import { defaultConfig } from '../../config/config.ts';
import { loadConfig } from '../../config/load.ts';
import { readRefusals } from '../../receipts/refusals.ts';
import { withGivenThing } from '../settings.ts';
import { certificateChecks } from './certificate-checks.ts';
import { type Finding, fail, ok, type Report, reportOf, type Section, skipped, warn } from './finding.ts';
import type { DoctorHost } from './host.ts';
import { libraryChecks, tokenCheck } from './library-checks.ts';
import { liveChecks } from './live-checks.ts';
import { machineChecks } from './machine-checks.ts';
import { mqttChecks } from './mqtt-checks.ts';
import { endpointCheck, networkChecks } from './network-checks.ts';
import { isUnprovisioned, provisioningCheck } from './provisioning-check.ts';
import { findOwner, type Owner, stateChecks } from './state-checks.ts';
import { clientCertificate, readCredentials, type Target, targetOf } from './target.ts';
import { tlsChecks } from './tls-checks.ts';

export interface Examination {
  configPath: string | undefined;
  /** Also what changes something in the cloud: an empty update of the receipts' shadow. */
  write: boolean;
}

const USUAL_CONFIG = '/etc/evenkeel/evenkeel.yaml';

/** All checks, in the order in which one depends on another. `undefined` when the configuration cannot be read at all. */
export async function examine(
  { configPath, write }: Examination,
  host: DoctorHost,
): Promise<Report | undefined> {
  const text = configPath === undefined ? '' : await host.readText(configPath);
  if (text === undefined) return undefined;
  const loaded = loadConfig(text);
  if (!loaded.ok) {
    const findings = loaded.problems.map(({ line, column, path, reason }) =>
      fail(
        'file',
        `${configPath}:${line}:${column}: ${path === '' ? '' : `${path}: `}${reason}`,
        'correct it; config/evenkeel.yaml has every key with its meaning',
      ),
    );
    return reportOf([{ title: 'configuration', findings }]);
  }
  const config = withGivenThing(configPath === undefined ? defaultConfig() : loaded.config);
  const owner = await findOwner(config, host);
  const credentials = await readCredentials(config, host);
  const sections: Section[] = [
    { title: 'configuration', findings: [await configCheck(configPath, host)] },
    { title: 'state', findings: await stateChecks(config, owner, host) },
    { title: 'machine', findings: await machineChecks(config, clientCertificate(credentials), host) },
  ];
  const link = await linkChecks(config, credentials, owner, { write }, host);
  const receipts = await receiptChecks(config, host);
  return reportOf([...sections, { title: 'link', findings: [...link, ...receipts] }]);
}

/** Channels that the agent has found to be forbidden, and leaves alone for a day at a time. */
async function receiptChecks({ state }: Config, { disk }: DoctorHost): Promise<Finding[]> {
  const refused = Object.entries(await readRefusals(disk, state.directory));
  return refused.map(([channel, { topic, since, reason }]) =>
    warn(
      'receipts',
      `the ${channel} channel (${topic}) is refused since ${new Date(since).toISOString()}: ${reason}`,
      'evenkeel policy prints what it needs; the agent tries it again within a day, or after a restart',
    ),
  );
}

async function configCheck(path: string | undefined, { disk }: DoctorHost): Promise<Finding> {
  if (path !== undefined) return ok('file', path);
  if (!(await disk.lstat(USUAL_CONFIG))) return ok('file', 'none: every key has its default');
  return warn(
    'file',
    `none was given: these are defaults, and ${USUAL_CONFIG} is there`,
    `evenkeel doctor --config ${USUAL_CONFIG}`,
  );
}

async function linkChecks(
  config: Config,
  credentials: Awaited<ReturnType<typeof readCredentials>>,
  owner: Owner,
  options: { write: boolean },
  host: DoctorHost,
): Promise<Finding[]> {
  let target: Target;
  try {
    target = targetOf(config, credentials, host);
  } catch (error) {
    return [fail('endpoint', (error as Error).message, 'correct connection.url')];
  }
  const endpoint = endpointCheck(target);
  const keyInToken = config.connection.pkcs11 !== undefined;
  const { secure } = target.endpoint;
  const library = await libraryChecks(config);
  const provisioning = await provisioningCheck(config, host);
  const unprovisioned = isUnprovisioned(config);
  const files = unprovisioned ? [] : await certificateChecks(credentials, { secure, keyInToken }, host);
  const isFit = [...library, ...files].every(({ result }) => result !== 'fail');
  // The agent has it open, and its link shows whether it is well.
  const token = keyInToken && secure && isFit && owner.kind === 'none' ? [await tokenCheck(target)] : [];
  const certificates = [...library, ...provisioning, ...files, ...token];
  const network = await networkChecks(target, host);
  const before = [endpoint, ...certificates, ...network.findings];
  if (owner.kind === 'agent') {
    const tls = network.reachable && target.endpoint.secure ? await tlsOf(target, host) : [];
    return [...before, ...tls, ...liveChecks(owner.check)];
  }
  if (!network.reachable) return [...before, notReached('TLS and MQTT', 'no address answers')];
  const tls = await tlsOf(target, host);
  const wrong = [...certificates, ...tls].find(({ result }) => result === 'fail');
  if (wrong) return [...before, ...tls, notReached('MQTT', `${wrong.name} failed`)];
  if (unprovisioned) return [...before, ...tls, notReached('MQTT', 'the device has no certificate yet')];
  if (owner.kind === 'mute')
    return [...before, ...tls, notReached('MQTT', 'an agent may run, and its session would end')];
  return [...before, ...tls, ...(await mqttChecks(target, options, host))];
}

async function tlsOf(target: Target, host: DoctorHost): Promise<Finding[]> {
  if (!target.endpoint.secure) return [skipped('TLS', 'mqtt:// does without')];
  return tlsChecks(target, host);
}

function notReached(name: string, why: string): Finding {
  return skipped(name, `not tried: ${why}`);
}
