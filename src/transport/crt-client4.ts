import { after } from './clock.ts';
import { DISCONNECT_GRACE_MS } from './connection.ts';
import type { Crt4Config, CrtError } from './crt-api.ts';
import {
  type CrtCause,
  type CrtClient,
  type CrtClientEvents,
  type CrtClientSettings,
  causeOf,
  crtBytes,
  pingTimeoutMs,
  ROUND_TRIP_FILTER,
  socketOptions,
} from './crt-client.ts';
import { IN_FLIGHT_MAX } from './publish-queue.ts';

/** What the CRT says of a CONNACK that refuses: its code is lost in there. */
const REFUSED = 'AWS_ERROR_MQTT_PROTOCOL_ERROR';

/**
 * A lost connection would be made again, with what was not acknowledged sent again, had it not been told to disconnect
 * by then. It keeps its memory until then, so it is not for ever.
 */
const RECONNECT_SECONDS = 60;

/**
 * The CRT's client of MQTT 3.1.1, started. Two things that it cannot do: it acknowledges what it receives before we
 * hear of it (nothing of ours rests on PUBACK, and a clean session is not told twice), and it cannot be ended before
 * it has its CONNACK. Its attempt is then waited for, which its timeouts bound (and, where TLS fails, half a minute):
 * left alone, it would come up with our client id and throw out the next connection.
 */
export function openCrtClient4(settings: CrtClientSettings, events: CrtClientEvents): CrtClient {
  const connection = new settings.crt.mqtt.MqttClient().new_connection(config(settings));
  let phase: 'connecting' | 'connected' | 'closed' = 'connecting';
  let ending = false;

  const close = (): void => {
    if (phase === 'closed') return;
    phase = 'closed';
    cancelGrace();
    events.closed();
  };
  let cancelGrace = (): void => undefined;
  const disconnect = (): void => {
    cancelGrace = after(settings.clock, DISCONNECT_GRACE_MS, close);
    connection.disconnect().catch(close);
  };
  const end = (forGood: boolean): void => {
    const first = !ending;
    ending = true;
    if (phase === 'connected' && first) disconnect();
    if (phase === 'connecting' && forGood) cancelGrace = after(settings.clock, DISCONNECT_GRACE_MS, close);
  };
  /** The socket is closed already; that of an end of ours, too. */
  const lost = (cause: CrtCause): void => {
    if (!ending) events.failed(cause);
    ending = true;
    close();
  };

  let failure: CrtError | undefined;
  connection.on('connection_failure', ({ error }) => {
    failure = error;
  });
  connection.on('interrupt', (error) => {
    connection.disconnect().catch(() => undefined);
    lost(causeOf(error));
  });
  connection.on('closed', close);
  connection.on('message', (topic, payload) => {
    if (!ending) events.message({ topic, payload: crtBytes(payload) });
  });
  connection.connect().then(
    (sessionPresent) => {
      if (phase === 'connecting') phase = 'connected';
      if (ending) disconnect();
      else events.connack({ sessionPresent, inFlightMax: IN_FLIGHT_MAX });
    },
    (error: unknown) => {
      // It closes itself after a connection, but not after an attempt, and would keep 15 KB of each.
      connection.close();
      lost(connectCause(failure ?? (error as CrtError)));
    },
  );

  return {
    async publish(topic, payload) {
      await connection.publish(topic, payload, 1, false);
      return 0;
    },
    // It takes one filter to a packet.
    subscribe: (filters) =>
      Promise.all(filters.map(async (filter) => (await connection.subscribe(filter, 1)).qos)),
    async roundTrip() {
      await connection.unsubscribe(ROUND_TRIP_FILTER);
    },
    end,
  };
}

function config({ endpoint, options, tlsContext, ...rest }: CrtClientSettings): Crt4Config {
  const { username, password } = options;
  return {
    client_id: options.clientId,
    host_name: endpoint.host,
    port: endpoint.port,
    clean_session: true,
    keep_alive: Math.round(options.keepAliveSeconds),
    // Also the wait for CONNACK.
    ping_timeout: Math.min(pingTimeoutMs(options.keepAliveSeconds), options.connectTimeoutMs),
    reconnect_min_sec: RECONNECT_SECONDS,
    reconnect_max_sec: RECONNECT_SECONDS,
    disable_metrics: true,
    socket_options: socketOptions({ endpoint, options, tlsContext, ...rest }),
    ...(tlsContext === undefined ? {} : { tls_ctx: tlsContext }),
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
  };
}

function connectCause(error: CrtError): CrtCause {
  return error.error_name === REFUSED ? { kind: 'unknownRefusal' } : causeOf(error);
}
