import type { Config } from '../config/config.ts';
import type { Transport, TransportOptions } from '../transport/port.ts';
import type { TransportDeps } from '../transport/transport.ts';

/** Loads the library that is used here, and not the other one. */
export async function openTransport(
  library: Config['connection']['transport'],
  options: TransportOptions,
  deps: TransportDeps,
): Promise<Transport> {
  if (library === 'aws-sdk') return (await import('../transport/crt.ts')).createCrtTransport(options, deps);
  return (await import('../transport/mqttjs.ts')).createMqttjsTransport(options, deps);
}
