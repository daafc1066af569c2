import { createPrivateKey, X509Certificate } from 'node:crypto';
import { type Finding, fail, ok, skipped, warn } from './finding.ts';
import type { DoctorHost } from './host.ts';
import { type CredentialText, clientCertificate } from './target.ts';

const DAY_MS = 86_400_000;
export const EXPIRY_WARN_DAYS = 14;
const READABLE_BY_OTHERS = 0o007;
const CREDENTIAL_FIX =
  'outside of the unit there are no credentials: systemd-run --pipe --wait -p LoadCredential=NAME:PATH evenkeel doctor --config FILE';

/** Certificate, key and CA as files: there, readable, one pair, in their time. */
export async function certificateChecks(
  credentials: readonly CredentialText[],
  { secure, keyInToken }: { secure: boolean; keyInToken: boolean },
  host: DoctorHost,
): Promise<Finding[]> {
  const name = 'client certificate';
  const of = (key: CredentialText['key']): CredentialText | undefined =>
    credentials.find((one) => one.key === key);
  const unreadable = credentials.flatMap(({ key, path, problem }) =>
    problem === undefined
      ? []
      : [
          fail(
            key === 'ca' ? 'authorities' : name,
            `connection.${key}: ${problem}`,
            path === undefined ? CREDENTIAL_FIX : `put it there, readable by the agent: ls -l ${path}`,
          ),
        ],
  );
  if (unreadable.length > 0) return unreadable;
  if (!secure) return [skipped(name, 'mqtt:// has no certificates')];
  const own = keyInToken
    ? aloneCheck(name, of('certificate'), host)
    : pairCheck(name, of('certificate'), of('privateKey'), host);
  return [...own, ...authorities(of('ca'))].concat(await keyMode(of('privateKey'), host));
}

/** A certificate whose key is in a token. */
function aloneCheck(name: string, certificate: CredentialText | undefined, { clock }: DoctorHost): Finding[] {
  if (certificate?.text === undefined) {
    const fix = 'set connection.certificate: a token is used for the key alone';
    return [fail(name, 'connection.certificate is missing, and connection.pkcs11 is there', fix)];
  }
  const found = clientCertificate([certificate]);
  if (!found) return [noCertificate(name, certificate)];
  const what = `the client certificate (${subjectOf(found)})`;
  return [datesOf(name, what, found, clock.wallMs(), 'its key is in a token')];
}

function noCertificate(name: string, { path }: CredentialText): Finding {
  return fail(name, `${path} is no certificate in PEM`, 'it must begin with -----BEGIN CERTIFICATE-----');
}

function pairCheck(
  name: string,
  certificate: CredentialText | undefined,
  key: CredentialText | undefined,
  { clock }: DoctorHost,
): Finding[] {
  if (certificate?.text === undefined && key?.text === undefined) {
    const fix =
      'AWS: aws iot create-keys-and-certificate --set-as-active, then connection.certificate and connection.privateKey';
    return [warn(name, 'none is configured; AWS IoT Core wants one', fix)];
  }
  if (certificate?.text === undefined || key?.text === undefined) {
    const missing = certificate?.text === undefined ? 'certificate' : 'privateKey';
    return [
      fail(
        name,
        `connection.${missing} is missing, and its other half is there`,
        `set connection.${missing}`,
      ),
    ];
  }
  const found = clientCertificate([certificate]);
  if (!found) return [noCertificate(name, certificate)];
  const mismatch = keyMismatch(found, key);
  if (mismatch !== undefined) {
    return [fail(name, mismatch, 'set connection.privateKey to the key of this very certificate')];
  }
  return [
    datesOf(name, `the client certificate (${subjectOf(found)})`, found, clock.wallMs(), 'its key fits'),
  ];
}

function keyMismatch(certificate: X509Certificate, key: CredentialText): string | undefined {
  try {
    const privateKey = createPrivateKey(key.text ?? '');
    if (certificate.checkPrivateKey(privateKey)) return undefined;
    return `the private key ${key.path} does not belong to the certificate`;
  } catch (error) {
    return `${key.path} is no private key in PEM: ${(error as Error).message}`;
  }
}

function datesOf(
  name: string,
  what: string,
  certificate: X509Certificate,
  nowMs: number,
  ofKey: string,
): Finding {
  const day = (date: string): string => new Date(date).toISOString().slice(0, 10);
  const daysLeft = Math.floor((Date.parse(certificate.validTo) - nowMs) / DAY_MS);
  const fix = 'issue a new certificate and key for this thing, and register it';
  if (nowMs < Date.parse(certificate.validFrom)) {
    return fail(
      name,
      `${what} is not valid before ${day(certificate.validFrom)}, and the clock says ${new Date(nowMs).toISOString()}`,
      'see the clock: it is behind, or the certificate was made on a machine whose clock is ahead',
    );
  }
  if (daysLeft < 0) return fail(name, `${what} expired on ${day(certificate.validTo)}`, fix);
  if (daysLeft < EXPIRY_WARN_DAYS)
    return warn(name, `${what} expires in ${daysLeft} days, on ${day(certificate.validTo)}`, fix);
  return ok(name, `${subjectOf(certificate)}, until ${day(certificate.validTo)}, and ${ofKey}`);
}

function subjectOf({ subject }: X509Certificate): string {
  return (subject ?? '').split('\n').at(-1) ?? '';
}

function authorities(ca: CredentialText | undefined): Finding[] {
  if (ca?.text === undefined) return [];
  const name = 'authorities';
  const blocks = ca.text.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? [];
  try {
    const subjects = blocks.map((block) => subjectOf(new X509Certificate(block)));
    if (subjects.length > 0)
      return [ok(name, `${subjects.slice(0, 3).join(', ')}${subjects.length > 3 ? ', …' : ''}`)];
  } catch {
    // Falls through: one of them is broken.
  }
  return [
    fail(
      name,
      `${ca.path} holds no certificate in PEM`,
      'AWS: AmazonRootCA1.pem from https://www.amazontrust.com/repository/',
    ),
  ];
}

async function keyMode(key: CredentialText | undefined, { disk }: DoctorHost): Promise<Finding[]> {
  const stat = key?.path === undefined ? undefined : await disk.lstat(key.path);
  if (stat?.kind !== 'file' || (stat.mode & READABLE_BY_OTHERS) === 0) return [];
  return [
    warn(
      'private key',
      `${key?.path} has mode 0${stat.mode.toString(8)}: anybody on this machine can be this thing`,
      `chmod 0600 ${key?.path}`,
    ),
  ];
}
