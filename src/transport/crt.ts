import { rootCertificates } from 'node:tls';
import { type CrtApi, loadCrt } from './crt-api.ts';
import { crtWords } from './crt-client.ts';
import { CrtConnection } from './crt-connection.ts';
import { alpnOf } from './endpoint.ts';
import type { Transport, TransportOptions, TransportTls } from './port.ts';
import { createTransport, type TransportDeps } from './transport.ts';

/**
 * The transport on the AWS Common Runtime (`transport: aws-sdk`): the MQTT clients that aws-iot-device-sdk-v2 hands on
 * from the package aws-crt. Throws when the package cannot be had here, and when the URL is none.
 *
 * Its MQTT clients, and not the IotJobsClientV2 of the SDK behind the jobs port. Measured with 1.28.0 on aedes and on
 * Mosquitto, 140 requests one after the other:
 * - each request is a SUBSCRIBE, a PUBLISH and an UNSUBSCRIBE (140 of each), where ours has its filters once for the
 *   life of a connection. AWS meters and limits SUBSCRIBE, and a policy must then allow the filters request by request;
 * - it is no faster: 44 ms an exchange on aedes and 88 ms on Mosquitto, the same as our client over these connections
 *   (the CRT leaves Nagle's algorithm on; mqtt.js needs 1.5 ms and 44 ms);
 * - it leaves out `expectedVersion: 0` and `executionNumber: 0`, which fence the first update of a job (P23);
 * - it puts a client token of its own in the place of ours;
 * - a request that is made while the link is down waits and is sent later, which a vote must never be (design section 4);
 * - once a stream of it was opened, the process does not end by itself.
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
    if (settings.endpoint.secure)
      tlsContext ??= createTlsContext(crt, options.tls ?? {}, alpnOf(settings.endpoint, options.tls));
    return new CrtConnection(settings, events, crt, tlsContext);
  });
}

function createTlsContext(
  crt: CrtApi,
  { ca, certificate, privateKey }: TransportTls,
  alpn: readonly string[],
): unknown {
  const options = new crt.io.TlsContextOptions();
  if (certificate !== undefined) options.certificate = certificate;
  if (privateKey !== undefined) options.private_key = privateKey;
  // Those of Node.js by default, as with mqtt.js, and not whatever this machine has.
  options.certificate_authority = ca ?? rootCertificates.join('\n');
  if (alpn.length > 0) options.alpn_list = [...alpn];
  try {
    return new crt.io.ClientTlsContext(options);
  } catch (error) {
    // It names no file and no reason: AWS_ERROR_INVALID_ARGUMENT.
    throw new Error(`the certificate, its key or the CA is none that TLS can use: ${crtWords(error)}`, {
      cause: error,
    });
  }
}
