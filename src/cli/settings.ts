import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AgentSettings } from '../agent/agent.ts';
import { type Config, defaultConfig } from '../config/config.ts';
import { CREDENTIAL_KEYS, type CredentialKey, credentialFile, pinFile } from '../config/credentials.ts';
import { loadConfig } from '../config/load.ts';
import { CREDENTIAL_LINK, type DeviceFacts } from '../document/document.ts';
import { jobsFilters } from '../jobs/topics.ts';
import { CURRENT } from '../provisioning/credentials.ts';
import { credentialsDirectory, givenCredential } from '../provisioning/given.ts';
import { provisioningFilters } from '../provisioning/requests.ts';
import type { StepSettings } from '../steps/step.ts';
import type { Pkcs11Key, TransportOptions, TransportTls } from '../transport/port.ts';
import { CommandFailed } from './command-failed.ts';
import { proxyOf } from './proxy.ts';

const SECOND_MS = 1000;
const MEGABYTE = 1_048_576;
const FINISH_ATTEMPTS_MAX = 3;
const PUBLISH_QUEUE_MAX = 100;
/** A link that has lasted so long shows that the broker is well. */
export const HEALTHY_AFTER_MS = 30_000;
/** L21: at most 50 in any second; with as many answers that is what AWS carries, and it discards the rest. */
const PUBLISH_RATE = { perSecond: 30, burst: 20 };

/** Reads a config file; without one, the defaults. Throws with every problem and its place. */
export function readConfig(path: string | undefined): Config {
  if (path === undefined) return withGivenThing(defaultConfig());
  const read = loadConfig(readText(path));
  if (read.ok) return withGivenThing(read.config);
  const lines = read.problems.map(({ line, column, path: key, reason }) =>
    key === '' ? `${path}:${line}:${column}: ${reason}` : `${path}:${line}:${column}: ${key}: ${reason}`,
  );
  throw new CommandFailed(lines.join('\n'));
}

/** A device that was provisioned has the thing that its certificate was registered for. */
export function withGivenThing(config: Config): Config {
  const thing = givenCredential(config.state.directory)?.thingName;
  return thing === undefined ? config : { ...config, thing };
}

export function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new CommandFailed(`cannot read ${path}: ${(error as Error).message}`);
  }
}

export function agentSettings(config: Config, configPath: string | undefined): AgentSettings {
  const { connection, state, jobs, steps, undo, commit } = config;
  const own = [
    configPath,
    credentialLink(config),
    ...CREDENTIAL_KEYS.map((key) => credentialOf(config, key)),
    connection.pkcs11?.library,
    pinFileOf(config),
  ];
  return {
    thing: config.thing,
    stateDirectory: state.directory,
    // Not the port or the protocol: an endpoint of AWS is the same one on 8883 and on 443.
    endpoint: new URL(connection.url).hostname,
    mode: config.mode,
    heartbeatMs: jobs.heartbeatSeconds * SECOND_MS,
    queueWaitMs: jobs.queueWaitSeconds * SECOND_MS,
    queueRetryMs: jobs.queueRetrySeconds * SECOND_MS,
    requestTimeoutMs: jobs.requestTimeoutSeconds * SECOND_MS,
    stepTimerMinutes: jobs.stepTimerMinutes,
    drainMs: config.drainSeconds * SECOND_MS,
    reserveBytes: state.reserveMegabytes * MEGABYTE,
    historyKeep: state.historyKeep,
    linkPaths: own.filter((path) => path !== undefined),
    commit: {
      inDoubt: commit.inDoubt,
      timedOutAfterVote: commit.timedOutAfterVote,
      offlinePivot: commit.offlinePivot,
      stepAttemptsMax: steps.attemptsMax,
    },
    limits: {
      undoAttemptsMax: undo.attemptsMax,
      undoTimeoutMs: undo.timeoutSeconds * SECOND_MS,
      undoRetryMs: undo.retrySeconds * SECOND_MS,
      finishAttemptsMax: FINISH_ATTEMPTS_MAX,
      linkWaitMs: commit.linkWaitSeconds * SECOND_MS,
      askWaitMs: commit.askWaitSeconds * SECOND_MS,
      graceMs: steps.graceSeconds * SECOND_MS,
    },
    // A before-image of the journals would take them back with the device.
    policy: { ...config.policy, deniedPaths: [...config.policy.deniedPaths, state.directory] },
  };
}

export type AgentTransportOptions = TransportOptions & { backoff: { lostMs: number } };

export function stepSettings({ steps, policy }: Config): StepSettings {
  return {
    handlerDirectory: steps.handlerDirectory,
    allowHttp: policy.allowHttp,
    allowedHosts: policy.allowedHosts,
    ...(steps.memoryMegabytesMax !== undefined && { memoryBytesMax: steps.memoryMegabytesMax * MEGABYTE }),
    ...(steps.tasksMax !== undefined && { tasksMax: steps.tasksMax }),
    noNewPrivileges: steps.noNewPrivileges,
    dpkgWaitMs: steps.dpkgWaitSeconds * 1000,
    graceMs: steps.graceSeconds * SECOND_MS,
    outputBytesMax: steps.outputBytesMax,
    treeEntriesMax: steps.treeEntriesMax,
    treeBytesMax: steps.treeMegabytesMax * MEGABYTE,
    archiveRatioMax: steps.archiveRatioMax,
  };
}

/** All that the agent listens to: at most eight, one SUBSCRIBE packet (L20). */
export function agentFilters({ thing, provisioning }: Pick<Config, 'thing' | 'provisioning'>): string[] {
  const { rotationTemplate, keys } = provisioning;
  return [
    ...jobsFilters(thing),
    ...(rotationTemplate === undefined ? [] : provisioningFilters(rotationTemplate, keys)),
  ];
}

/** The link to the credential in use, on a device that can be given another one. */
export function credentialLink({ provisioning, connection, state }: Config): string | undefined {
  // What a token has is its owner's to replace.
  if (provisioning.rotationTemplate === undefined || connection.pkcs11) return undefined;
  return join(credentialsDirectory(state.directory), CURRENT);
}

/** What a document is read with. */
export function deviceFacts(config: Config): DeviceFacts {
  const link = credentialLink(config);
  return { thing: config.thing, ...(link !== undefined && { [CREDENTIAL_LINK]: link }) };
}

export function transportOptions(config: Config): AgentTransportOptions {
  const { connection } = config;
  const { username, password } = connection;
  const proxy = proxyOf(config);
  return {
    url: connection.url,
    clientId: connection.clientId ?? config.thing,
    filters: agentFilters(config),
    keepAliveSeconds: connection.keepAliveSeconds,
    connectTimeoutMs: connection.connectTimeoutSeconds * SECOND_MS,
    publishQueueMax: PUBLISH_QUEUE_MAX,
    publishRate: PUBLISH_RATE,
    backoff: {
      firstMs: connection.backoffFirstSeconds * SECOND_MS,
      lostMs: connection.spreadSeconds * SECOND_MS,
      maxMs: connection.backoffMaxSeconds * SECOND_MS,
      healthyAfterMs: HEALTHY_AFTER_MS,
    },
    tls: tlsOptions(config),
    currentTls: () => tlsOptions(config),
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(proxy !== undefined && { proxy }),
    ...(connection.mqttVersion !== undefined && { mqttVersion: connection.mqttVersion === '5' ? 5 : 4 }),
  };
}

/**
 * The file of a certificate, key or CA: what the device was given (provisioned, or by a job), and else what the
 * configuration or the service manager has.
 */
export function credentialOf({ connection, state }: Config, key: CredentialKey): string | undefined {
  const given = key === 'ca' || connection.pkcs11 ? undefined : givenCredential(state.directory);
  if (given && key !== 'ca') return given[key];
  try {
    // The key is in the token, whatever the service manager has.
    if (key === 'privateKey' && connection.pkcs11 !== undefined) return undefined;
    return credentialFile(key, connection[key]);
  } catch (error) {
    throw new CommandFailed((error as Error).message);
  }
}

/** The file that holds the PIN of a token, where there is one. */
export function pinFileOf({ connection: { pkcs11 } }: Config): string | undefined {
  try {
    return pkcs11?.pin === undefined ? undefined : pinFile(pkcs11.pin);
  } catch (error) {
    throw new CommandFailed((error as Error).message);
  }
}

/** The key in a token; `pinText` is what the file of the PIN holds, where it is in one. */
export function pkcs11Key({ connection: { pkcs11 } }: Config, pinText?: string): Pkcs11Key | undefined {
  if (pkcs11 === undefined) return undefined;
  const { library, token, slot, key } = pkcs11;
  const pin = pinText?.trim() ?? pkcs11.pin;
  return {
    library,
    ...(token !== undefined && { token }),
    ...(slot !== undefined && { slot }),
    ...(key !== undefined && { key }),
    ...(pin !== undefined && { pin }),
  };
}

export function tlsOptions(config: Config): TransportTls {
  const { alpn, serverName } = config.connection;
  const texts = CREDENTIAL_KEYS.flatMap((key) => {
    const path = credentialOf(config, key);
    return path === undefined ? [] : [[key, readText(path)]];
  });
  const pinPath = pinFileOf(config);
  const pkcs11 = pkcs11Key(config, pinPath === undefined ? undefined : readText(pinPath));
  return {
    ...(Object.fromEntries(texts) as Partial<Record<CredentialKey, string>>),
    ...(pkcs11 !== undefined && { pkcs11 }),
    ...(alpn !== undefined && { alpn }),
    ...(serverName !== undefined && { serverName }),
  };
}
