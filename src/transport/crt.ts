import { rootCertificates } from 'node:tls';
import { type CrtApi, loadCrt } from './crt-api.ts';
import { CrtConnection } from './crt-connection.ts';
import type { Transport, TransportOptions, TransportTls } from './port.ts';
import { createTransport, type TransportDeps } from './transport.ts';

/**
 * The transport on the AWS Common Runtime, the MQTT clients of aws-iot-device-sdk-v2 (`transport: aws-sdk`). Throws
 * when the package cannot be had here, and when the URL is none.
 */
export async function createCrtTransport(
  options: TransportOptions,
  deps: TransportDeps,
  load: () => Promise<CrtApi> = loadCrt,
): Promise<Transport> {
  if (options.tls?.serverName !== undefined)
    throw new Error('cannot use transport aws-sdk: it takes no server name but the host of the URL');
  const crt = await load();
  let tlsContext: unknown;
  return createTransport(options, deps, (settings, events) => {
    // Kept: it is the same for every connection, and the CRT frees one only when the collector comes by.
    if (settings.endpoint.secure) tlsContext ??= createTlsContext(crt, options.tls ?? {});
    return new CrtConnection(settings, events, crt, tlsContext);
  });
}

function createTlsContext(crt: CrtApi, { ca, certificate, privateKey, alpn }: TransportTls): unknown {
  const options = new crt.io.TlsContextOptions();
  if (certificate !== undefined) options.certificate = certificate;
  if (privateKey !== undefined) options.private_key = privateKey;
  // Those of Node.js by default, as with mqtt.js, and not whatever this machine has.
  options.certificate_authority = ca ?? rootCertificates.join('\n');
  if (alpn !== undefined) options.alpn_list = [...alpn];
  return new crt.io.ClientTlsContext(options);
}
