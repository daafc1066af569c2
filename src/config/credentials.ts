import { accessSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Certificate and key as files, or as credentials of the service manager (`LoadCredential=`, man 5 systemd.exec), which
 * lie in a directory that only the unit sees.
 */

const CREDENTIAL = 'credential:';

/** Keys of `connection` that name a file; also the names of the credentials that stand in for them. */
export const CREDENTIAL_KEYS = ['certificate', 'privateKey', 'ca'] as const;
export type CredentialKey = (typeof CREDENTIAL_KEYS)[number];

/** Keys whose value may be a credential. */
type NamedKey = CredentialKey | 'pkcs11.pin';

/** Where the service manager put the credentials; `undefined` outside of a unit that has some. */
export function credentialsDirectory(env: NodeJS.ProcessEnv = process.env): string | undefined {
  const directory = env['CREDENTIALS_DIRECTORY'];
  return directory === undefined || directory === '' ? undefined : directory;
}

/** The file that a key stands for: an absolute path, `credential:NAME`, or nothing and a credential of the key's name. */
export function credentialFile(
  key: NamedKey,
  value: string | undefined,
  directory = credentialsDirectory(),
): string | undefined {
  if (value === undefined) return directory === undefined ? undefined : existing(join(directory, key));
  if (!value.startsWith(CREDENTIAL)) return value;
  if (directory === undefined) {
    throw new Error(
      `cannot use ${value} as connection.${key}: there is no CREDENTIALS_DIRECTORY, which systemd sets for a unit with LoadCredential=`,
    );
  }
  return join(directory, value.slice(CREDENTIAL.length));
}

/** The file that holds the PIN of a token; `undefined` when it is the PIN itself. */
export function pinFile(pin: string, directory?: string): string | undefined {
  const isFile = pin.startsWith('/') || pin.startsWith(CREDENTIAL);
  return isFile ? credentialFile('pkcs11.pin', pin, directory) : undefined;
}

function existing(path: string): string | undefined {
  try {
    accessSync(path);
    return path;
  } catch {
    return undefined;
  }
}
