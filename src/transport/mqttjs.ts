import { MqttjsConnection } from './mqttjs-connection.ts';
import type { Transport, TransportOptions } from './port.ts';
import { createTransport, type TransportDeps } from './transport.ts';

/** The transport on mqtt.js. Throws when the URL is none, or the key in a token; everything else shows in `lastFailure`. */
export function createMqttjsTransport(options: TransportOptions, deps: TransportDeps): Transport {
  if (options.tls?.pkcs11 !== undefined)
    throw new Error('cannot use a key in a PKCS#11 token with transport mqttjs; the transport aws-sdk can');
  return createTransport(options, deps, (settings, events) => new MqttjsConnection(settings, events));
}
