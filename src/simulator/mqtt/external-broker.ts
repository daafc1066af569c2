import { connect, connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import { PROVISIONING_FILTERS } from '../device/topics.ts';
import type { Trace } from '../trace.ts';
import type { MqttPlane } from './plane.ts';
import { isTold, type Requests } from './requests.ts';

/** A broker that runs elsewhere. */
export interface ExternalBroker {
  /** `mqtt://` or `mqtts://`, with host and port. */
  url: string;
  username?: string;
  password?: string;
  /** PEM. */
  ca?: string | Buffer;
  cert?: string | Buffer;
  key?: string | Buffer;
  /** 5 (default), or 4 for MQTT 3.1.1. */
  protocolVersion?: 4 | 5;
}

export interface ExternalBrokerDeps {
  requests: Requests;
  trace: Trace;
}

const REQUEST_FILTERS = ['$aws/things/+/jobs/#', '$aws/things/+/shadow/#', ...PROVISIONING_FILTERS];
const RECONNECT_MS = 500;
const CLIENT_ID = 'evenkeel-simulator';

/**
 * The service as one more client of a broker. Nothing tells it who asked: answers go to everyone who has subscribed
 * (not T4), and the limits of connections are the broker's (`rules.ts` lists what does not hold here).
 */
export async function joinExternalBroker(
  broker: ExternalBroker,
  { requests, trace }: ExternalBrokerDeps,
): Promise<MqttPlane> {
  const { url, protocolVersion = 5, ...credentials } = broker;
  const options: IClientOptions = { ...credentials, protocolVersion, clientId: CLIENT_ID };
  let client: MqttClient;
  try {
    // Without retries: a wrong address must be an error now, not silence.
    client = await connectAsync(url, { ...options, reconnectPeriod: RECONNECT_MS }, false);
  } catch (error) {
    throw new Error(`cannot connect to the broker ${url}: ${causeOf(error)}`, { cause: error });
  }
  const publish = (topic: string, payload: Buffer, qos: 0 | 1 = 1): void => {
    trace.record({
      kind: 'message',
      direction: 'out',
      client: CLIENT_ID,
      topic,
      payload: payload.toString('utf8'),
      bytes: payload.length,
      qos,
      retain: false,
    });
    client.publish(topic, payload, { qos }, () => undefined);
  };
  const deliver = (topic: string, payload: Buffer): void => publish(topic, payload);
  const disconnect = (clientId: string): boolean => {
    void takeOver(url, { ...options, clientId });
    return true;
  };
  client.on('error', () => undefined);
  client.on('message', (topic, payload, { qos, retain }) => {
    // Our own words come back where the broker knows no `no local` (3.1.1); those of others are no requests either.
    if (isTold(topic) || retain) return;
    trace.record({
      kind: 'message',
      direction: 'in',
      client: 'unknown',
      topic,
      payload: payload.toString('utf8'),
      bytes: payload.length,
      qos,
      retain,
    });
    // Nobody says who asked; devices of AWS mostly connect under the name of their thing.
    const client = topic.split('/')[2] ?? '';
    requests(topic, payload, { client, deliver, deliverLater: deliver, end: () => disconnect(client) });
  });
  // mqtt.js subscribes again after a reconnect.
  await client.subscribeAsync(REQUEST_FILTERS, { qos: 1, ...(protocolVersion === 5 && { nl: true }) });
  return {
    url,
    publish: (topic, body, qos) =>
      publish(topic, Buffer.from(body instanceof Uint8Array ? body : JSON.stringify(body)), qos),
    disconnect,
    // The broker's own matter.
    expireSession: async () => false,
    clients: () => [],
    close: () => client.endAsync(),
  };
}

/** A broker ends the connection of a client id that connects again: the one way to end another's from outside. */
async function takeOver(url: string, options: IClientOptions): Promise<void> {
  // 3.1.1 and not clean: a session that is there stays, and what waits in it is not taken out.
  const other = connect(url, { ...options, protocolVersion: 4, clean: false, reconnectPeriod: 0 });
  other.on('error', () => undefined);
  other.handleMessage = () => undefined;
  await new Promise((resolve) => {
    other.once('connect', resolve);
    other.once('close', () => resolve(undefined));
  });
  await other.endAsync(true);
}

/** An AggregateError of both address families has no message of its own. */
function causeOf(error: unknown): string {
  const { message, code } = error as { message?: string; code?: string };
  return message !== undefined && message !== '' ? message : (code ?? String(error));
}
