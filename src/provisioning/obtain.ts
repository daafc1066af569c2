import type { Clock } from '../host/clock.ts';
import { type Credential, type Credentials, fits } from './credentials.ts';
import { certificateRequest, newPrivateKey } from './csr.ts';
import type { CreatedCertificate, KeysFrom, ProvisioningRequests, Reply } from './requests.ts';

/** What a certificate is asked for with. */
export interface Wanted {
  /** Of the credential on this disk; the same name goes on where an earlier life ended. */
  name: string;
  commonName: string;
  template: string;
  parameters: Readonly<Record<string, string>>;
  keys: KeysFrom;
  /** The thing that must come out of it, where there is one already. */
  thing?: string;
}

export type Obtained = { ok: true; credential: Credential } | { ok: false; reason: string };

export interface ObtainDeps {
  credentials: Credentials;
  requests: ProvisioningRequests;
  clock: Pick<Clock, 'sleep' | 'random'>;
  log: { info(fields: object, message: string): void; warn(fields: object, message: string): void };
}

const RETRY_FIRST_MS = 1000;
const RETRY_MAX_MS = 60_000;
const TOKEN_GONE = 'InvalidCertificateOwnershipToken';
/** Certificates that are made for one credential; each that is not registered is deleted by AWS after an hour. */
const CERTIFICATES_MAX = 3;

/**
 * A key, a certificate for it, and a thing that it is registered for; each is durable before the next is asked for, so
 * that a life that ends anywhere is gone on with by the next one. A certificate that was made and not registered is
 * registered with its token, while that holds; then another one is made for the same key. Keeps asking through lost
 * answers and throttling until `signal` aborts; a refusal ends it.
 */
export async function obtain(wanted: Wanted, deps: ObtainDeps, signal: AbortSignal): Promise<Obtained> {
  const { credentials, requests, log } = deps;
  for (let made = 0; ; ) {
    const known = await credentials.read(wanted.name);
    if (known && known.record.ownershipToken === undefined) return { ok: true, credential: known };
    if (!known) {
      if (made >= CERTIFICATES_MAX)
        return failed(`${made} certificates were made, and none could be registered`);
      made += 1;
      const refused = await create(wanted, deps, signal);
      if (refused !== undefined) return failed(refused);
      continue;
    }
    const { record } = known;
    const reply = await persist(
      () => requests.registerThing(wanted.template, record.ownershipToken ?? '', wanted.parameters),
      deps,
      signal,
    );
    if (reply.kind === 'rejected' && reply.errorCode === TOKEN_GONE) {
      log.warn(
        { certificateId: record.certificateId },
        'its token is not valid any more: asking for another one',
      );
      await credentials.forgetCertificate(wanted.name);
      continue;
    }
    if (reply.kind !== 'accepted')
      return failed(`cannot register it by ${wanted.template}: ${wordsOf(reply)}`);
    const { thingName } = reply.value;
    if (wanted.thing !== undefined && thingName !== undefined && thingName !== wanted.thing)
      return failed(
        `the template ${wanted.template} has registered the thing ${thingName}, not ${wanted.thing}`,
      );
    const { ownershipToken: _, ...rest } = record;
    await credentials.writeRecord(wanted.name, { ...rest, ...(thingName !== undefined && { thingName }) });
    log.info({ certificateId: record.certificateId, thingName }, 'the certificate is registered');
  }
}

/** Asks for a certificate; what it was refused with, in words. */
async function create(
  { name, keys, commonName }: Wanted,
  deps: ObtainDeps,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { credentials, requests, log } = deps;
  let privateKey = keys === 'device' ? await credentials.keyOf(name) : undefined;
  if (keys === 'device' && (privateKey === undefined || !isKey(privateKey))) {
    privateKey = newPrivateKey();
    await credentials.writeKey(name, privateKey);
  }
  const own = privateKey;
  const reply = await persist<CreatedCertificate>(
    () =>
      own === undefined ? requests.createKeys() : requests.createFromCsr(certificateRequest(own, commonName)),
    deps,
    signal,
  );
  if (reply.kind !== 'accepted') return `cannot have a certificate made: ${wordsOf(reply)}`;
  const { certificate, certificateId, ownershipToken } = reply.value;
  const key = own ?? reply.value.privateKey ?? '';
  if (!fits(certificate, key)) return 'cannot use the certificate: it is not for our key';
  if (own === undefined) await credentials.writeKey(name, key);
  await credentials.writeCertificate(name, certificate, { format: 1, certificateId, ownershipToken });
  log.info({ certificateId }, 'a certificate was made');
  return undefined;
}

function isKey(text: string): boolean {
  try {
    certificateRequest(text, 'x');
    return true;
  } catch {
    return false;
  }
}

/** Again after a lost answer, throttling and failures of the service; what it says otherwise stands. */
async function persist<T>(
  ask: () => Promise<Reply<T>>,
  { clock, log }: ObtainDeps,
  signal: AbortSignal,
): Promise<Reply<T>> {
  for (let failures = 0; ; failures += 1) {
    if (signal.aborted) return { kind: 'noAnswer', reason: abortWords(signal) };
    const reply = await ask();
    if (reply.kind === 'accepted' || (reply.kind === 'rejected' && !isPassing(reply))) return reply;
    log.warn({ reason: wordsOf(reply) }, 'asking again');
    const ceilingMs = Math.min(RETRY_FIRST_MS * 2 ** Math.min(failures, 20), RETRY_MAX_MS);
    await clock.sleep(clock.random() * ceilingMs, signal).catch(() => undefined);
  }
}

function isPassing({ statusCode, errorCode }: { statusCode: number; errorCode: string }): boolean {
  return statusCode === 429 || statusCode >= 500 || /throttl/i.test(errorCode);
}

function abortWords({ reason }: AbortSignal): string {
  return reason instanceof Error ? reason.message : 'stopped';
}

function wordsOf(reply: Exclude<Reply<unknown>, { kind: 'accepted' }>): string {
  return reply.kind === 'noAnswer' ? reply.reason : `${reply.errorCode}: ${reply.message}`;
}

function failed(reason: string): Obtained {
  return { ok: false, reason };
}
