import { MqttjsConnection } from './mqttjs-connection.ts';
import type { Transport, TransportOptions } from './port.ts';
import { createTransport, type TransportDeps } from './transport.ts';

/** The transport on mqtt.js. Throws when the URL is none; everything else shows in `lastFailure`. */
export function createMqttjsTransport(options: TransportOptions, deps: TransportDeps): Transport {
  return createTransport(options, deps, (settings, events) => new MqttjsConnection(settings, events));
}
