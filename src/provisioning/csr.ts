import { createPrivateKey, createPublicKey, generateKeyPairSync, sign } from 'node:crypto';

/**
 * A key made on this device, and the request for a certificate that it signs (PKCS #10, RFC 2986).
 *
 * The frame of the request is written here, all cryptography is Node's. Weighed against it: @peculiar/x509 (20 packages,
 * 4.9 MB, does not load without a polyfill of Reflect), @peculiar/asn1-csr (8 packages; a second and 19 MB of memory to
 * load, for one request in years), and a child process of openssl (not there in slim images). What is left to write is
 * six nested lengths; tests have openssl read them.
 */

/** A new P-256 key, PEM (PKCS #8): what AWS IoT takes and the smallest in a handshake. */
export function newPrivateKey(): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  return privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
}

const INTEGER_0 = Buffer.from([0x02, 0x01, 0x00]);
const SEQUENCE = 0x30;
const SET = 0x31;
const UTF8 = 0x0c;
const BIT_STRING = 0x03;
/** No attributes: `[0]`, implicit, and empty. */
const ATTRIBUTES = Buffer.from([0xa0, 0x00]);
/** id-at-commonName, 2.5.4.3 */
const COMMON_NAME = Buffer.from([0x06, 0x03, 0x55, 0x04, 0x03]);
/** ecdsa-with-SHA256, 1.2.840.10045.4.3.2 */
const ECDSA_SHA256 = Buffer.from([0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]);

/** The request, PEM; its subject is the common name alone, as a certificate that AWS makes of it has it. */
export function certificateRequest(privateKey: string, commonName: string): string {
  const key = createPrivateKey(privateKey);
  const name = der(SEQUENCE, der(SET, der(SEQUENCE, COMMON_NAME, der(UTF8, Buffer.from(commonName)))));
  const publicKey = createPublicKey(key).export({ type: 'spki', format: 'der' });
  const info = der(SEQUENCE, INTEGER_0, name, publicKey, ATTRIBUTES);
  const signature = sign('sha256', info, key);
  const request = der(
    SEQUENCE,
    info,
    der(SEQUENCE, ECDSA_SHA256),
    der(BIT_STRING, Buffer.from([0]), signature),
  );
  const lines = request.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE REQUEST-----\n${lines.join('\n')}\n-----END CERTIFICATE REQUEST-----\n`;
}

function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), content]);
  const bytes = length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...bytes]), content]);
}
