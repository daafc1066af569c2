import type { Crt4Config, CrtError } from './crt-api.ts';
import {
  type CrtCause,
  type CrtClient,
  type CrtClientEvents,
  type CrtClientSettings,
  causeOf,
  createClosing,
  crtBytes,
  linkOf,
  ROUND_TRIP_FILTER,
} from './crt-client.ts';
import { IN_FLIGHT_MAX } from './publish-queue.ts';

/** What the CRT says of a CONNACK that refuses: its code is lost in there. */
const REFUSED = 'AWS_ERROR_MQTT_PROTOCOL_ERROR';

/**
 * A lost connection would be made again, with what was not acknowledged sent again, had it not been told to disconnect
 * by then. It keeps its memory until then, so it is not for ever.
 */
const RECONNECT_SECONDS = 60;
const ABANDON_MS = 60_000;

/**
 * The CRT's client of MQTT 3.1.1, started. Two things that it cannot do: it acknowledges what it receives before we
 * hear of it (nothing of ours rests on PUBACK, and a clean session is not told twice), and it cannot be ended before
 * it has its CONNACK. Its attempt is then waited for, which its timeouts bound (and, where TLS fails, half a minute):
 * left alone, it would come up with our client id and throw out the next connection. Nothing bounds a proxy that says
 * nothing, so the wait has an end.
 */
export function openCrtClient4(settings: CrtClientSettings, events: CrtClientEvents): CrtClient {
  const connection = new settings.crt.mqtt.MqttClient().new_connection(config(settings));
  const closing = createClosing(settings.clock, () => events.closed());
  let connected = false;
  let ending = false;

  const disconnect = (): void => {
    closing.soon();
    connection.disconnect().catch(() => closing.now());
  };
  const end = (forGood: boolean): void => {
    const first = !ending;
    ending = true;
    if (closing.isClosed) return;
    if (connected && first) disconnect();
    if (!connected) closing.soon(forGood ? undefined : ABANDON_MS);
  };
  /** The socket is closed already; that of an end of ours, too. */
  const lost = (cause: CrtCause): void => {
    if (!ending) events.failed(cause);
    ending = true;
    closing.now();
  };

  let failure: CrtError | undefined;
  connection.on('connection_failure', ({ error }) => {
    failure = error;
  });
  connection.on('interrupt', (error) => {
    connection.disconnect().catch(() => undefined);
    lost(causeOf(error));
  });
  connection.on('closed', () => closing.now());
  connection.on('message', (topic, payload) => {
    if (!ending) events.message({ topic, payload: crtBytes(payload) });
  });
  connection.connect().then(
    (sessionPresent) => {
      connected = true;
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

function config(settings: CrtClientSettings): Crt4Config {
  const { endpoint, options, tlsContext } = settings;
  const { username, password } = options;
  const { keepAliveSeconds, pingTimeoutMs, socketOptions, proxyOptions } = linkOf(settings);
  return {
    client_id: options.clientId,
    host_name: endpoint.host,
    port: endpoint.port,
    clean_session: true,
    keep_alive: keepAliveSeconds,
    // Also the wait for CONNACK.
    ping_timeout: Math.min(pingTimeoutMs, options.connectTimeoutMs),
    reconnect_min_sec: RECONNECT_SECONDS,
    reconnect_max_sec: RECONNECT_SECONDS,
    disable_metrics: true,
    socket_options: socketOptions,
    ...(tlsContext === undefined ? {} : { tls_ctx: tlsContext }),
    ...(proxyOptions === undefined ? {} : { proxy_options: proxyOptions }),
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
  };
}

function connectCause(error: CrtError): CrtCause {
  return error.error_name === REFUSED ? { kind: 'unknownRefusal' } : causeOf(error);
}
