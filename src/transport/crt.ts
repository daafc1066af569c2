import { isIPv6 } from 'node:net';
import type { ConnectionEvents } from './connection.ts';
import { type CrtApi, loadCrt } from './crt-api.ts';
import { CrtConnection } from './crt-connection.ts';
import { createTlsContexts } from './crt-tls.ts';
import { alpnOf, type Endpoint, parseEndpoint } from './endpoint.ts';
import type { Transport, TransportOptions } from './port.ts';
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
  const endpoint = parseEndpoint(options.url);
  const unable = unableWords(options, endpoint);
  if (unable !== undefined) throw new Error(`cannot use transport aws-sdk: ${unable}; transport mqttjs can`);
  const crt = await load();
  let { tls = {} } = options;
  let contexts = createTlsContexts(crt, tls, alpnOf(endpoint, tls));
  return createTransport(options, deps, (settings, events) => {
    const { tls: wanted = {} } = settings.options;
    if (wanted.certificate !== tls.certificate) {
      tls = wanted;
      contexts = createTlsContexts(crt, tls, alpnOf(endpoint, tls));
    }
    const used = contexts;
    const tlsContext = endpoint.secure ? used.current() : undefined;
    let accepted = false;
    const watched: ConnectionEvents = {
      ...events,
      accepted() {
        accepted = true;
        events.accepted();
      },
      over(end) {
        if (!accepted) used.doubt();
        events.over(end);
      },
    };
    return new CrtConnection(settings, watched, crt, tlsContext);
  });
}

/** What the CRT cannot do, and mqtt.js can. */
export function unableWords(
  { tls, proxy }: Pick<TransportOptions, 'tls' | 'proxy'>,
  { host, secure }: Endpoint,
): string | undefined {
  if (tls?.serverName !== undefined) return 'it takes no server name but the host of the URL';
  if (proxy !== undefined && !secure) return 'it takes a proxy for mqtts:// alone';
  if (proxy !== undefined && isIPv6(host)) return 'it takes a proxy to no address of IPv6';
  return undefined;
}
