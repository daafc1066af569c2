import type { Config } from '../config/config.ts';
import { type CredentialKey, credentialFile } from '../config/credentials.ts';
import { systemClock } from '../host/clock.ts';
import type { Log } from '../host/log.ts';
import { nodeDisk } from '../host/node-disk.ts';
import { CLAIMED } from '../provisioning/credentials.ts';
import { credentialsDirectory, givenCredential } from '../provisioning/given.ts';
import { CommandFailed } from './command-failed.ts';
import { openTransport } from './open-transport.ts';
import { readText, transportOptions } from './settings.ts';

/** The certificate that a device asks for itself: whether it wants one, and with what it asks. */

/** True for a device that has none of its own, or one that no connection was accepted with yet. */
export function wantsCertificate({ provisioning, connection, state }: Config): boolean {
  if (provisioning.template === undefined || connection.pkcs11) return false;
  const given = givenCredential(state.directory);
  // One that a job has put in use is the job's to prove, and to take back.
  if (given) return given.name === CLAIMED && !given.proven;
  return file('certificate', connection.certificate) === undefined;
}

/** Resolves when the device has its own certificate, and a connection with it was accepted. */
export async function askForCertificate(config: Config, log: Log): Promise<void> {
  const { provision } = await import('../provisioning/provision.ts');
  const { Credentials } = await import('../provisioning/credentials.ts');
  const { provisioning, connection, jobs, state, thing } = config;
  const { template = '', keys, connectWaitSeconds } = provisioning;
  const claim = claimOf(config);
  const { tls, currentTls: _, ...rest } = transportOptions(config);
  await provision(
    {
      template,
      keys,
      parameters: parametersOf(config),
      claim,
      commonName: connection.clientId ?? thing,
      clientIdOf: ({ record }) => connection.clientId ?? record.thingName ?? thing,
      requestTimeoutMs: jobs.requestTimeoutSeconds * 1000,
      connectWaitMs: connectWaitSeconds * 1000,
    },
    {
      credentials: new Credentials(nodeDisk, credentialsDirectory(state.directory)),
      clock: systemClock,
      log,
      connect: ({ certificate, privateKey, clientId, filters }) =>
        openTransport(
          connection.transport,
          { ...rest, clientId, filters, tls: { ...tls, certificate, privateKey } },
          { clock: systemClock, log: (event, fields) => log.info(fields, event) },
        ),
    },
  );
}

/** Of the templates; `file:` is a fact of this device that lies in a file. */
export function parametersOf({ provisioning }: Pick<Config, 'provisioning'>): Record<string, string> {
  const textOf = (value: string): string => {
    if (!value.startsWith('file:')) return value;
    // A device tree ends its texts with NUL, most others with a new line.
    return readText(value.slice('file:'.length)).replace(/[\0\s]+$/, '');
  };
  return Object.fromEntries(
    Object.entries(provisioning.parameters).map(([name, value]) => [name, textOf(value)]),
  );
}

function claimOf({ provisioning }: Config): { certificate: string; privateKey: string } {
  const text = (name: 'claimCertificate' | 'claimPrivateKey', key: CredentialKey): string => {
    const value = provisioning[name];
    const path = value === undefined ? undefined : file(key, value);
    if (path === undefined) throw new CommandFailed(`cannot provision: provisioning.${name} is not set`);
    return readText(path);
  };
  return {
    certificate: text('claimCertificate', 'certificate'),
    privateKey: text('claimPrivateKey', 'privateKey'),
  };
}

function file(key: CredentialKey, value: string | undefined): string | undefined {
  try {
    return credentialFile(key, value);
  } catch (error) {
    throw new CommandFailed((error as Error).message);
  }
}
