import { connectAsync, type IClientOptions } from 'mqtt';

/** The device end of a measurement: it hears everything about its jobs, and says what it is told to say. */
export interface MqttDevice {
  /** What came since the last call, oldest first. */
  heard(): Message[];
  /** Sends a request and waits for its answer, which is told by its client token (P2). */
  ask(operation: string, body?: object): Promise<Reply>;
  close(): Promise<void>;
}

export interface Message {
  kind: string;
  body: Record<string, unknown>;
  qos: number;
}

export interface Reply {
  accepted: boolean;
  body: Record<string, unknown> & {
    code?: string;
    executionState?: { status?: string; versionNumber?: number };
  };
}

const ANSWER_MS = 20_000;

export async function connectDevice(url: string, thing: string, tls: IClientOptions): Promise<MqttDevice> {
  const client = await connectAsync(url, { clientId: thing, protocolVersion: 4, reconnectPeriod: 0, ...tls });
  const prefix = `$aws/things/${thing}/jobs/`;
  let heard: Message[] = [];
  const waiting = new Map<string, (reply: Reply) => void>();
  let tokens = 0;
  client.on('message', (topic, payload, { qos }) => {
    const kind = topic.slice(prefix.length);
    const body = JSON.parse(payload.toString()) as Record<string, unknown>;
    const answered = waiting.get(String(body['clientToken']));
    if (/\/(accepted|rejected)$/.test(kind)) answered?.({ accepted: kind.endsWith('/accepted'), body });
    else heard.push({ kind, body, qos });
  });
  const filters = ['notify', 'notify-next', 'get/+', 'start-next/+', '+/get/+', '+/update/+'];
  await client.subscribeAsync(
    filters.map((filter) => prefix + filter),
    { qos: 1 },
  );
  return {
    heard() {
      const taken = heard;
      heard = [];
      return taken;
    },
    async ask(operation, body = {}) {
      tokens += 1;
      const clientToken = `token-${process.pid}-${tokens}`;
      const reply = new Promise<Reply>((resolve, reject) => {
        waiting.set(clientToken, resolve);
        setTimeout(() => reject(new Error(`no answer to ${operation}`)), ANSWER_MS).unref();
      });
      reply.catch(() => undefined);
      await client.publishAsync(`${prefix}${operation}`, JSON.stringify({ ...body, clientToken }), {
        qos: 1,
      });
      return await reply.finally(() => waiting.delete(clientToken));
    },
    close: () => client.endAsync(true),
  };
}
