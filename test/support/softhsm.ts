import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** Tokens of PKCS#11 in software (Debian: softhsm2). */

const LIBRARIES = [
  '/usr/lib/softhsm/libsofthsm2.so',
  '/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so',
  '/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so',
];
const run = promisify(execFile);

/** The library; `undefined` where it is not installed. */
export function softHsm(): string | undefined {
  const found = LIBRARIES.find(existsSync);
  if (found === undefined && process.env['CI'] !== undefined) throw new Error('softhsm2 is not installed');
  return found;
}

export interface SoftTokens {
  /** Of a process that uses them. */
  env: { SOFTHSM2_CONF: string };
  /** A new token. */
  create(label: string, pin: string): Promise<void>;
  /** Puts a private key (PEM, PKCS#8) into a token. */
  importKey(keyFile: string, to: { token: string; pin: string; label: string; id: string }): Promise<void>;
}

export async function softTokens(directory: string): Promise<SoftTokens> {
  const home = join(directory, 'tokens');
  await mkdir(home, { mode: 0o700 });
  const file = join(directory, 'softhsm2.conf');
  await writeFile(file, `directories.tokendir = ${home}\nobjectstore.backend = file\nlog.level = ERROR\n`);
  const env = { SOFTHSM2_CONF: file };
  const util = (...args: string[]): Promise<unknown> =>
    run('softhsm2-util', args, { env: { ...process.env, ...env } });
  return {
    env,
    async create(label, pin) {
      await util('--init-token', '--free', '--label', label, '--pin', pin, '--so-pin', '12345678');
    },
    async importKey(keyFile, { token, pin, label, id }) {
      await util('--import', keyFile, '--token', token, '--pin', pin, '--label', label, '--id', id);
    },
  };
}
