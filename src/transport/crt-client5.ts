import { FOREIGN_SESSION, INBOUND_PACKET_BYTES_MAX } from './connection.ts';
import type { Crt5Client, Crt5Config, Crt5Failure } from './crt-api.ts';
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

const SESSION_CLEAN = 1;
const FAIL_ALL_ON_DISCONNECT = 3;
const NO_FLOW_CONTROL = 0;
const NO_JITTER = 1;
/** The CRT always connects again by itself; a day later is never, since its client ends with its connection. */
const NEVER_MS = 86_400_000;
const NORMAL_DISCONNECTION = 0;
/** What the CRT says of a CONNACK with a session where it had asked for a clean one. */
const SESSION_NOT_OURS = 'AWS_ERROR_MQTT_CANCELLED_FOR_CLEAN_SESSION';
/** A broker of MQTT 3.1.1 answers with a CONNACK of its own version, which MQTT 5 cannot read. */
const UNREADABLE = 'AWS_ERROR_MQTT5_DECODE_PROTOCOL_ERROR';

/** The CRT's client of MQTT 5, started. */
export function openCrtClient5(settings: CrtClientSettings, events: CrtClientEvents): CrtClient {
  const client = new settings.crt.mqtt5.Mqtt5Client(config(settings));
  // A client that is closed without waiting sends nothing any more, whatever it was doing.
  const closing = createClosing(settings.clock, () => {
    client.close();
    events.closed();
  });
  let ending = false;

  const end = (): void => {
    if (ending) return;
    ending = true;
    client.stop({ reasonCode: NORMAL_DISCONNECTION });
    closing.soon();
  };
  const fail = (cause: CrtCause): void => {
    if (ending) return;
    events.failed(cause);
    end();
  };

  client.on('connectionSuccess', ({ connack, settings: agreed }) => {
    if (!ending)
      events.connack({
        sessionPresent: connack.sessionPresent,
        inFlightMax: agreed.receiveMaximumFromServer,
      });
  });
  client.on('connectionFailure', (failure) => fail(failureCause(failure)));
  client.on('disconnection', ({ error, disconnect }) =>
    fail(disconnect ? { kind: 'refused', code: disconnect.reasonCode } : causeOf(error)),
  );
  client.on('error', (error) => fail(causeOf(error)));
  client.on('stopped', () => closing.now());
  client.on('messageReceived', ({ message, acknowledgementControl }) => {
    const acknowledgement = acknowledgementControl?.acquireHandle();
    // What comes after the end was not heard by anybody, so it is not acknowledged either.
    if (ending) return;
    events.message({ topic: message.topicName, payload: crtBytes(message.payload) });
    if (!closing.isClosed) acknowledgement?.invokeAcknowledgement();
  });
  client.start();

  return { ...operations(client), end };
}

function operations(client: Crt5Client): Omit<CrtClient, 'end'> {
  return {
    async publish(topicName, payload) {
      const puback = await client.publish({ topicName, payload, qos: 1, retain: false });
      return puback?.reasonCode ?? 0;
    },
    async subscribe(filters) {
      const subscriptions = filters.map((topicFilter) => ({ topicFilter, qos: 1 }));
      return (await client.subscribe({ subscriptions })).reasonCodes;
    },
    async roundTrip() {
      await client.unsubscribe({ topicFilters: [ROUND_TRIP_FILTER] });
    },
  };
}

/** Everything that would make the CRT a second judge of the link is off: its attempts, its queue, its rates, its timeouts. */
function config(settings: CrtClientSettings): Crt5Config {
  const { endpoint, options, tlsContext } = settings;
  const { username, password } = options;
  const { keepAliveSeconds, pingTimeoutMs, socketOptions, proxyOptions } = linkOf(settings);
  return {
    hostName: endpoint.host,
    port: endpoint.port,
    connectProperties: {
      clientId: options.clientId,
      keepAliveIntervalSeconds: keepAliveSeconds,
      maximumPacketSizeBytes: INBOUND_PACKET_BYTES_MAX,
      ...(username === undefined ? {} : { username }),
      ...(password === undefined ? {} : { password: Buffer.from(password) }),
    },
    sessionBehavior: SESSION_CLEAN,
    offlineQueueBehavior: FAIL_ALL_ON_DISCONNECT,
    extendedValidationAndFlowControlOptions: NO_FLOW_CONTROL,
    retryJitterMode: NO_JITTER,
    minReconnectDelayMs: NEVER_MS,
    maxReconnectDelayMs: NEVER_MS,
    connackTimeoutMs: options.connectTimeoutMs,
    pingTimeoutMs,
    ackTimeoutSeconds: 0,
    // It would write its name and version into the user name, which brokers other than AWS judge.
    disableMetrics: true,
    socketOptions,
    ...(tlsContext === undefined ? {} : { tlsCtx: tlsContext }),
    ...(proxyOptions === undefined ? {} : { httpProxyOptions: proxyOptions }),
  };
}

function failureCause({ error, connack }: Crt5Failure): CrtCause {
  if (error.error_name === UNREADABLE) return { kind: 'otherVersion' };
  if (error.error_name === SESSION_NOT_OURS) return { kind: 'error', words: FOREIGN_SESSION };
  // A CONNACK of success that the CRT does not accept is in the error, not in the code.
  if (connack !== undefined && connack.reasonCode !== 0) return { kind: 'refused', code: connack.reasonCode };
  return causeOf(error);
}
