import { createPublicKey } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { systemClock } from '../../src/host/clock.ts';
import type { Disk } from '../../src/host/disk.ts';
import { CLAIMED, Credentials } from '../../src/provisioning/credentials.ts';
import { obtain } from '../../src/provisioning/obtain.ts';
import type { KeysFrom, ProvisioningRequests } from '../../src/provisioning/requests.ts';
import { openAuthority } from '../../src/simulator/certificates.ts';
import { createForgetfulDisk } from '../support/forgetful-disk.ts';
import { randomFrom } from '../support/random.ts';

/** A power cut at every operation on the disk while a credential is made and put in use: an old one, a new one, or none. */

const ROOT = '/var/lib/evenkeel/credentials';
const OPERATIONS_MIN = 30;
const OPERATIONS_MAX = 400;

/** More than one play makes: what is in use at once is never the same. */
const PAIRS = 8;

/** Real keys with a certificate each, made once: a play of its own needs hundreds. */
const pairs: { key: string; cert: string; publicKey: Buffer }[] = [];
const turn = { device: 0, cloud: 0 };

vi.mock(import('../../src/provisioning/csr.ts'), async (original) => {
  const real = await original();
  const newPrivateKey = (): string => {
    turn.device += 1;
    return pairs[turn.device % PAIRS]?.key ?? real.newPrivateKey();
  };
  return { ...real, newPrivateKey };
});

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'evenkeel-authority-'));
  const authority = await openAuthority(directory, { hosts: [], wallMs: Date.now() });
  const made = await Promise.all(Array.from({ length: PAIRS }, () => authority.make('boat')));
  for (const pair of made)
    pairs.push({ ...pair, publicKey: createPublicKey(pair.cert).export({ type: 'spki', format: 'der' }) });
});
afterAll(() => rm(directory, { recursive: true, force: true }));

/** The certificate of the key that has signed this request. */
function certificateFor(request: string): string {
  const der = Buffer.from(request.replace(/-----[^-]+-----/g, ''), 'base64');
  const found = pairs.find(({ publicKey }) => der.includes(publicKey));
  if (!found) throw new Error('a request of a key that was never made');
  return found.cert;
}

/** A cloud whose tokens end with each cut, or not. */
function cloudOf(forgets: () => boolean): ProvisioningRequests {
  const tokens = new Set<string>();
  const refused = new Set<string>();
  let made = 0;
  const created = (certificate: string, privateKey?: string) => {
    made += 1;
    const ownershipToken = `token-${made}`;
    tokens.add(ownershipToken);
    const value = {
      certificateId: `id-${made}`,
      certificate,
      ownershipToken,
      ...(privateKey && { privateKey }),
    };
    return { kind: 'accepted' as const, value };
  };
  return {
    createFromCsr: (request) => Promise.resolve(created(certificateFor(request))),
    createKeys() {
      turn.cloud += 1;
      const pair = pairs[turn.cloud % PAIRS];
      return Promise.resolve(created(pair?.cert ?? '', pair?.key));
    },
    async registerThing(_template, token) {
      if (forgets()) tokens.clear();
      if (tokens.has(token)) return { kind: 'accepted', value: { thingName: 'boat' } };
      if (refused.has(token)) throw new Error(`asked again with ${token}, which was refused`);
      refused.add(token);
      const errorCode = 'InvalidCertificateOwnershipToken';
      return { kind: 'rejected', statusCode: 400, errorCode, message: 'gone' };
    },
  };
}

async function live(disk: Disk, requests: ProvisioningRequests, name: string, keys: KeysFrom): Promise<void> {
  const log = { info: () => undefined, warn: () => undefined };
  const credentials = new Credentials(disk, ROOT);
  await credentials.open();
  const wanted = { name, commonName: 'boat', template: 't', parameters: {}, keys };
  const deps = { credentials, requests, clock: systemClock, log };
  const obtained = await obtain(wanted, deps, new AbortController().signal);
  if (!obtained.ok) throw new Error(obtained.reason);
  await credentials.use(name);
  await credentials.writeRecord(name, { ...obtained.credential.record, proven: true });
  await credentials.prune();
}

const WAYS = (['device', 'cloud'] as const).flatMap((keys) =>
  (['kept', 'expired'] as const).map((token) => ({ keys, token })),
);

describe.each(WAYS)('a key of the $keys, a token that is $token when it goes on', ({ keys, token }) => {
  test('ends with a credential that fits, over any cut', { timeout: 240_000 }, async () => {
    let cuts = 0;
    for (let at = 1; at <= OPERATIONS_MAX; at += 1) {
      const random = randomFrom(at);
      const forgetful = createForgetfulDisk();
      const forgotten = { now: false };
      const requests = cloudOf(() => {
        const { now } = forgotten;
        forgotten.now = false;
        return now;
      });
      // A first credential is in use; the new one must not hurt it.
      await live(
        forgetful.begin().disk,
        cloudOf(() => false),
        CLAIMED,
        keys,
      );
      let count = 0;
      let cut: () => void = () => undefined;
      const ended = new Promise<'cut'>((resolve) => {
        cut = () => resolve('cut');
      });
      const life = forgetful.begin(() => {
        count += 1;
        if (count !== at) return undefined;
        const finish = (): void => {
          forgetful.cut(random);
          cut();
        };
        return { kind: 'end', when: at % 2 === 0 ? 'before' : 'after', finish };
      });
      const outcome = await Promise.race([ended, live(life.disk, requests, 'next', keys).then(() => 'done')]);
      const after = await new Credentials(forgetful.begin().disk, ROOT).current();
      expect({ at, inUse: ['next', CLAIMED].includes(after?.name ?? 'none') }).toEqual({ at, inUse: true });
      if (outcome === 'done') break;
      cuts += 1;
      forgotten.now = token === 'expired';
      await live(forgetful.begin().disk, requests, 'next', keys);
      const found = await new Credentials(forgetful.begin().disk, ROOT).current();
      expect({ at, name: found?.name, proven: found?.record.proven }).toEqual({
        at,
        name: 'next',
        proven: true,
      });
    }
    expect(cuts).toBeGreaterThanOrEqual(OPERATIONS_MIN);
    expect(cuts).toBeLessThan(OPERATIONS_MAX);
  });
});
