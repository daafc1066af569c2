import { execFile } from 'node:child_process';
import { createPublicKey } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { certificateRequest, newPrivateKey } from '../../src/provisioning/csr.ts';

/** The request, as openssl reads it. */

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'evenkeel-csr-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

// The lengths at which DER needs one byte more.
test.each([1, 19, 64, 90, 91, 100, 128])(
  'a subject of %i characters is read and verified',
  async (length) => {
    const key = newPrivateKey();
    const name = 'b'.repeat(length);
    const file = join(directory, `${length}.csr`);
    await writeFile(file, certificateRequest(key, name));
    const { stdout, stderr } = await promisify(execFile)('openssl', [
      ...['req', '-in', file, '-noout', '-verify', '-subject', '-pubkey'],
      ...['-nameopt', 'multiline'],
    ]);
    expect(stderr).toMatch(/verify OK/);
    expect(stdout).toContain(`commonName                = ${name}`);
    expect(stdout).toContain(createPublicKey(key).export({ type: 'spki', format: 'pem' }) as string);
  },
);
