/**
 * What the transport uses of the package aws-crt, which is the MQTT of aws-iot-device-sdk-v2. Declared here, since an
 * optional package may be missing, and this must compile and run without it; a test holds it against the package.
 */
export interface CrtApi {
  mqtt5: { Mqtt5Client: new (config: Crt5Config) => Crt5Client };
  mqtt: { MqttClient: new () => { new_connection(config: Crt4Config): Crt4Connection } };
  io: {
    SocketOptions: new (type: number, domain: number, connectTimeoutMs: number) => unknown;
    TlsContextOptions: {
      new (): CrtTlsOptions;
      create_client_with_mtls_pkcs11(options: CrtPkcs11Options): CrtTlsOptions;
    };
    ClientTlsContext: new (options: CrtTlsOptions) => unknown;
    Pkcs11Lib: new (path: string) => CrtPkcs11Lib;
  };
  http: {
    HttpProxyOptions: new (
      host: string,
      port: number,
      authentication: number,
      user: string | undefined,
      password: string | undefined,
      tls: undefined,
      type: number,
    ) => unknown;
  };
}

/** A library of PKCS#11 that is loaded, for as long as the process lives. */
export interface CrtPkcs11Lib {
  close(): void;
}

export interface CrtPkcs11Options {
  pkcs11_lib: CrtPkcs11Lib;
  /** `null`: the token has a way of its own to ask for it. */
  user_pin: string | null;
  token_label?: string;
  slot_id?: number;
  private_key_object_label?: string;
  cert_file_contents: string;
}

export interface CrtTlsOptions {
  alpn_list: string[];
  certificate?: string;
  private_key?: string;
  certificate_authority?: string;
}

/** An error of the CRT: `error_name` such as AWS_IO_SOCKET_CLOSED. */
export interface CrtError extends Error {
  readonly error_name?: string;
}

export interface Crt5Config {
  hostName: string;
  port: number;
  connectProperties: {
    clientId: string;
    keepAliveIntervalSeconds: number;
    maximumPacketSizeBytes: number;
    username?: string;
    password?: Uint8Array;
  };
  sessionBehavior: number;
  offlineQueueBehavior: number;
  extendedValidationAndFlowControlOptions: number;
  retryJitterMode: number;
  minReconnectDelayMs: number;
  maxReconnectDelayMs: number;
  connackTimeoutMs: number;
  pingTimeoutMs: number;
  ackTimeoutSeconds: number;
  disableMetrics: boolean;
  socketOptions: unknown;
  tlsCtx?: unknown;
  httpProxyOptions?: unknown;
}

export interface Crt5Client {
  start(): void;
  stop(disconnect?: { reasonCode: number }): void;
  close(): void;
  publish(packet: {
    topicName: string;
    payload: Buffer;
    qos: number;
    retain: boolean;
  }): Promise<{ reasonCode: number } | undefined>;
  subscribe(packet: {
    subscriptions: { topicFilter: string; qos: number }[];
  }): Promise<{ reasonCodes: number[] }>;
  unsubscribe(packet: { topicFilters: string[] }): Promise<unknown>;
  on(event: 'connectionSuccess', listener: (event: Crt5Success) => void): unknown;
  on(event: 'connectionFailure', listener: (event: Crt5Failure) => void): unknown;
  on(event: 'disconnection', listener: (event: Crt5Disconnection) => void): unknown;
  on(event: 'messageReceived', listener: (event: Crt5Message) => void): unknown;
  on(event: 'stopped', listener: () => void): unknown;
  on(event: 'error', listener: (error: CrtError) => void): unknown;
}

export interface Crt5Success {
  connack: { sessionPresent: boolean };
  settings: { receiveMaximumFromServer: number };
}

export interface Crt5Failure {
  error: CrtError;
  connack?: { reasonCode: number };
}

export interface Crt5Disconnection {
  error: CrtError;
  disconnect?: { reasonCode: number };
}

export interface Crt5Message {
  message: { topicName: string; payload?: ArrayBuffer };
  acknowledgementControl?: { acquireHandle(): { invokeAcknowledgement(): void } | null };
}

export interface Crt4Config {
  client_id: string;
  host_name: string;
  port: number;
  clean_session: boolean;
  keep_alive: number;
  ping_timeout: number;
  reconnect_min_sec: number;
  reconnect_max_sec: number;
  disable_metrics: boolean;
  socket_options: unknown;
  tls_ctx?: unknown;
  proxy_options?: unknown;
  username?: string;
  password?: string;
}

export interface Crt4Connection {
  connect(): Promise<boolean>;
  disconnect(): Promise<void>;
  /** Frees it. Not declared by the package. */
  close(): void;
  publish(topic: string, payload: Buffer, qos: number, retain: boolean): Promise<unknown>;
  subscribe(topic: string, qos: number): Promise<{ qos: number }>;
  unsubscribe(topic: string): Promise<unknown>;
  on(event: 'connection_failure', listener: (event: { error: CrtError }) => void): unknown;
  on(event: 'interrupt', listener: (error: CrtError) => void): unknown;
  on(event: 'message', listener: (topic: string, payload: ArrayBuffer) => void): unknown;
  on(event: 'closed', listener: () => void): unknown;
}

/** The name stands in a variable, so that neither the compiler nor a bundler looks for the package. */
const PACKAGE: string = 'aws-crt';

/** Loads the CRT (80 ms, 15 MB of memory); throws with what to do about it when it cannot be had here. */
export async function loadCrt(load: () => Promise<unknown> = () => import(PACKAGE)): Promise<CrtApi> {
  try {
    const module = (await load()) as { default?: CrtApi } & CrtApi;
    return module.default ?? module;
  } catch (error) {
    throw new Error(`cannot use transport aws-sdk: ${missingWords(error)}; transport mqttjs needs neither`, {
      cause: error,
    });
  }
}

function missingWords(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ERR_MODULE_NOT_FOUND' && message.includes(PACKAGE)) {
    return `the optional package ${PACKAGE} is not installed (npm install ${PACKAGE})`;
  }
  // There is none for 32-bit ARM, for one.
  if (message.includes('binary not present')) {
    return `the package ${PACKAGE} has no binary for ${process.platform} on ${process.arch}`;
  }
  return `the package ${PACKAGE} does not load: ${message}`;
}
