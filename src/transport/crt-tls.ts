import { existsSync } from 'node:fs';
import { rootCertificates } from 'node:tls';
import type { CrtApi, CrtPkcs11Lib, CrtTlsOptions } from './crt-api.ts';
import { crtWords } from './crt-client.ts';
import type { Pkcs11Key, TransportTls } from './port.ts';

/** What the CRT makes of certificates, of a key, and of a token that has one. */
export interface TlsContexts {
  /** Throws, in words, when there is none to be had. */
  current(): unknown;
  /** A connection failed before CONNACK: a session with a token may be over since the token was pulled out. */
  doubt(): void;
}

/** A token locks itself after a few wrong ones, so one that was refused is not tried again in the life of a process. */
const PIN_REFUSED = /CKR_PIN_/;

export function createTlsContexts(crt: CrtApi, tls: TransportTls, alpn: readonly string[]): TlsContexts {
  // Kept: it is the same for every connection, and the CRT frees one only when the collector comes by.
  let context: unknown;
  let library: CrtPkcs11Lib | undefined;
  let refusedPin: Error | undefined;

  const create = (): unknown => {
    if (tls.pkcs11 === undefined) return contextOf(crt, fileOptions(crt, tls), tls, alpn);
    library ??= loadLibrary(crt, tls.pkcs11);
    return contextOf(crt, tokenOptions(crt, tls, tls.pkcs11, library), tls, alpn);
  };
  return {
    current() {
      if (refusedPin !== undefined) throw refusedPin;
      try {
        context ??= create();
        return context;
      } catch (error) {
        const { message } = (error as { cause?: Error }).cause ?? { message: '' };
        if (PIN_REFUSED.test(message)) refusedPin = error as Error;
        throw error;
      }
    },
    doubt() {
      if (tls.pkcs11 !== undefined) context = undefined;
    },
  };
}

function fileOptions(crt: CrtApi, { certificate, privateKey }: TransportTls): CrtTlsOptions {
  const options = new crt.io.TlsContextOptions();
  if (certificate !== undefined) options.certificate = certificate;
  if (privateKey !== undefined) options.private_key = privateKey;
  return options;
}

function loadLibrary(crt: CrtApi, { library }: Pkcs11Key): CrtPkcs11Lib {
  try {
    return new crt.io.Pkcs11Lib(library);
  } catch (error) {
    const words = crtWords(error);
    const why = !existsSync(library)
      ? 'there is no such file'
      : /FIND_SYMBOL/.test(words)
        ? 'it is none of PKCS#11'
        : `it does not load on ${process.platform} ${process.arch}, or something that it needs is missing`;
    throw new Error(`cannot load the PKCS#11 library ${library}: ${why} (${words})`, { cause: error });
  }
}

function tokenOptions(
  crt: CrtApi,
  { certificate }: TransportTls,
  { pin, token, slot, key }: Pkcs11Key,
  library: CrtPkcs11Lib,
): CrtTlsOptions {
  if (certificate === undefined)
    throw new Error('cannot use a key in a PKCS#11 token without its certificate as a file');
  return crt.io.TlsContextOptions.create_client_with_mtls_pkcs11({
    pkcs11_lib: library,
    user_pin: pin ?? null,
    cert_file_contents: certificate,
    ...(token === undefined ? {} : { token_label: token }),
    ...(slot === undefined ? {} : { slot_id: slot }),
    ...(key === undefined ? {} : { private_key_object_label: key }),
  });
}

function contextOf(
  crt: CrtApi,
  options: CrtTlsOptions,
  { ca, pkcs11 }: TransportTls,
  alpn: readonly string[],
): unknown {
  // Those of Node.js by default, as with mqtt.js, and not whatever this machine has.
  options.certificate_authority = ca ?? rootCertificates.join('\n');
  if (alpn.length > 0) options.alpn_list = [...alpn];
  try {
    return new crt.io.ClientTlsContext(options);
  } catch (error) {
    const token = pkcs11 && tokenWords(String(error), pkcs11);
    // For a file it names neither the file nor a reason: AWS_ERROR_INVALID_ARGUMENT.
    const words = token ?? 'the certificate, its key or the CA is none that TLS can use';
    throw new Error(`${words}: ${crtWords(error)}`, { cause: error });
  }
}

/** `undefined` when it was not the token. */
function tokenWords(error: string, { token, slot, key, pin }: Pkcs11Key): string | undefined {
  const named = token === undefined ? 'the PKCS#11 token' : `the PKCS#11 token "${token}"`;
  const where = slot === undefined ? named : `${named} in slot ${slot}`;
  if (error.includes('TOKEN_NOT_FOUND')) return `cannot find ${where}, or several could be meant`;
  if (error.includes('KEY_NOT_FOUND'))
    return `cannot find ${key === undefined ? 'the private key' : `a private key "${key}"`} in ${where}, or several could be meant`;
  if (error.includes('CKR_PIN_LOCKED')) return `the PIN of ${where} is locked, after too many wrong ones`;
  if (PIN_REFUSED.test(error))
    return `${where} refuses the PIN, which is not tried again before a restart, since a token locks itself`;
  if (/PKCS11|CKR_/.test(error)) return `${where} cannot be used${pin === undefined ? ' without a PIN' : ''}`;
  return undefined;
}
