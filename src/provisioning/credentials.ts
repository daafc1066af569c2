import { createPrivateKey, X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import type { Disk } from '../host/disk.ts';
import {
  ensureDirectory,
  readFileBounded,
  removeTree,
  syncDirectory,
  writeFileAtomic,
} from '../store/atomic-file.ts';

/**
 * Credentials that this device asked for itself, one directory each, and the link `current` to the one in use. What a
 * directory holds says how far it got, and is durable before the next question is asked:
 *
 *   private.key       the key is made, and nobody knows of it
 *   certificate.pem   the certificate is there
 *   credential.json   the answer is complete: with a token while it is not registered, without one when it is
 *
 * `current` changes in one rename, so that there is an old credential or a new one, and never half of one.
 */

export const CURRENT = 'current';
/** Of the credential that a claim was turned into. */
export const CLAIMED = 'claimed';
export const FILES = {
  key: 'private.key',
  certificate: 'certificate.pem',
  record: 'credential.json',
} as const;

export interface CredentialRecord {
  format: 1;
  certificateId: string;
  /** Proves to RegisterThing that the certificate is ours; an hour at most. */
  ownershipToken?: string;
  /** As the cloud has registered it. */
  thingName?: string;
  /** A connection with it was accepted. */
  proven?: true;
}

export interface Credential {
  name: string;
  record: CredentialRecord;
  certificate: string;
  privateKey: string;
}

const FILE_BYTES_MAX = 64 * 1024;
/** As we name them; a link to anywhere else is none of ours. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9_-]*$/;
const STAGED = 'current.new';

export class Credentials {
  readonly #disk: Disk;
  readonly #root: string;

  constructor(disk: Disk, root: string) {
    this.#disk = disk;
    this.#root = root;
  }

  /** Makes the directory where there is none. */
  async open(): Promise<void> {
    await ensureDirectory(this.#disk, this.#root);
  }

  /** The one in use; `undefined` where there is none that could be used. */
  async current(): Promise<Credential | undefined> {
    const name = await this.#currentName();
    const found = name === undefined ? undefined : await this.read(name);
    return found?.record.ownershipToken === undefined ? found : undefined;
  }

  /** One with its certificate, registered or not; `undefined` where it has not got as far, or fits together no more. */
  async read(name: string): Promise<Credential | undefined> {
    const [text, certificate, privateKey] = await Promise.all([
      this.#text(name, FILES.record),
      this.#text(name, FILES.certificate),
      this.#text(name, FILES.key),
    ]);
    const record = text === undefined ? undefined : parseRecord(text);
    if (!record || certificate === undefined || privateKey === undefined) return undefined;
    return fits(certificate, privateKey) ? { name, record, certificate, privateKey } : undefined;
  }

  /** The key of one that is being made, kept over restarts. */
  async keyOf(name: string): Promise<string | undefined> {
    return await this.#text(name, FILES.key);
  }

  async writeKey(name: string, privateKey: string): Promise<void> {
    await ensureDirectory(this.#disk, join(this.#root, name));
    await this.#write(name, FILES.key, privateKey);
  }

  /** The record is last: without it there is no certificate. */
  async writeCertificate(name: string, certificate: string, record: CredentialRecord): Promise<void> {
    await this.#write(name, FILES.certificate, certificate);
    await this.writeRecord(name, record);
  }

  async writeRecord(name: string, record: CredentialRecord): Promise<void> {
    await this.#write(name, FILES.record, JSON.stringify(record));
  }

  /** Its token is worth nothing any more: the key stays, another certificate is asked for. */
  async forgetCertificate(name: string): Promise<void> {
    const path = join(this.#root, name, FILES.record);
    if (await this.#disk.lstat(path)) await this.#disk.unlink(path);
    await syncDirectory(this.#disk, join(this.#root, name));
  }

  /** Puts one in use, in one rename. */
  async use(name: string): Promise<void> {
    const staged = join(this.#root, STAGED);
    await removeTree(this.#disk, staged);
    await this.#disk.symlink(name, staged);
    await this.#disk.rename(staged, join(this.#root, CURRENT));
    await syncDirectory(this.#disk, this.#root);
  }

  /** Takes away one that no connection was accepted with: the link first. */
  async discard(name: string): Promise<void> {
    if ((await this.#currentName()) === name) {
      await this.#disk.unlink(join(this.#root, CURRENT));
      await syncDirectory(this.#disk, this.#root);
    }
    await removeTree(this.#disk, join(this.#root, name));
    await syncDirectory(this.#disk, this.#root);
  }

  /** Removes all but the one in use. */
  async prune(): Promise<void> {
    if (!(await this.#disk.lstat(this.#root))) return;
    const current = await this.#currentName();
    for (const name of await this.#disk.readDirectory(this.#root)) {
      if (name === current || name === CURRENT || !(NAME.test(name) || name === STAGED)) continue;
      await removeTree(this.#disk, join(this.#root, name));
    }
    await syncDirectory(this.#disk, this.#root);
  }

  async #currentName(): Promise<string | undefined> {
    const link = join(this.#root, CURRENT);
    const found = await this.#disk.lstat(link);
    if (found?.kind !== 'link') return undefined;
    const name = await this.#disk.readlink(link);
    return NAME.test(name) ? name : undefined;
  }

  async #text(name: string, file: string): Promise<string | undefined> {
    const bytes = await readFileBounded(this.#disk, join(this.#root, name, file), FILE_BYTES_MAX);
    return bytes === undefined ? undefined : Buffer.from(bytes).toString('utf8');
  }

  async #write(name: string, file: string, text: string): Promise<void> {
    await writeFileAtomic(this.#disk, join(this.#root, name, file), Buffer.from(text));
  }
}

export function parseRecord(text: string): CredentialRecord | undefined {
  try {
    const { format, certificateId, ...rest } = JSON.parse(text) as Partial<CredentialRecord>;
    return format === 1 && typeof certificateId === 'string' ? { format, certificateId, ...rest } : undefined;
  } catch {
    return undefined;
  }
}

/** The key is that of the certificate. */
export function fits(certificate: string, privateKey: string): boolean {
  try {
    return new X509Certificate(certificate).checkPrivateKey(createPrivateKey(privateKey));
  } catch {
    return false;
  }
}
