import type { Duplex } from 'node:stream';
import {
  generate,
  type IConnackPacket,
  type IConnectPacket,
  type IPublishPacket,
  type ISubackPacket,
  type ISubscribePacket,
  type Packet,
  parser,
} from 'mqtt-packet';
import { isProvisioning } from '../device/topics.ts';
import type { Trace, TraceEvent } from '../trace.ts';
import { matches } from './filters.ts';
import {
  CLIENT_ID_BYTES_MAX,
  FILTERS_PER_SUBSCRIBE_MAX,
  isTopicTooLong,
  keepAliveSeconds,
  type MqttSwitches,
  PAYLOAD_BYTES_MAX,
  PerSecond,
  SUBSCRIPTIONS_PER_CONNECTION_MAX,
} from './limits.ts';
import type { Policy, Principal } from './policy.ts';
import { badClientId, badProtocol, type Refusal, tooHasty } from './refusals.ts';
import type { Asker, Requests } from './requests.ts';

export interface ConnectionDeps {
  switches: Readonly<MqttSwitches>;
  policy: Policy;
  requests: Requests;
  trace: Trace;
  monotonicMs(): number;
  /** A client id for a CONNECT without one. */
  nextClientId(): string;
  /** L26: false when this client id connects too often. */
  mayConnect(clientId: string): boolean;
  /** L26: ends the connection that has this client id now. */
  takeOver(clientId: string): void;
  /** The filters of the session, by their QoS; those of an earlier connection when it is persistent. */
  opened(connection: Connection): Map<string, number>;
  /** The client has its CONNACK. */
  ready(connection: Connection): void;
  closed(connection: Connection): void;
  /** True when a persistent session of this client is there. */
  isKept(clientId: string): boolean;
  deliverQos1(connection: Connection, topic: string, payload: Buffer): void;
  deliverLater(clientId: string, topic: string, payload: Buffer): void;
}

/** What is known of the other end before it says who it is. */
export interface Peer {
  secure: boolean;
  commonName?: string;
  certificateId?: string;
}

/** In a SUBACK. */
const DENIED = 0x80;

/**
 * One connection of a device: what AWS IoT Core lets through to the pub/sub behind it (`inner`, a plain MQTT broker)
 * and what it answers or refuses itself. Requests on reserved topics are answered here, to this connection alone (T4).
 */
export class Connection implements Asker {
  readonly principal: Principal;
  readonly secure: boolean;
  readonly #socket: Duplex;
  readonly #inner: Duplex;
  readonly #deps: ConnectionDeps;
  readonly #rate: PerSecond;
  #filters = new Map<string, number>();
  /** SUBSCRIBEs that wait for their SUBACK, by message id. */
  readonly #subscribing = new Map<number, { packet: ISubscribePacket; allowed: boolean[] }>();
  readonly #unsubscribing = new Map<number, readonly string[]>();
  #clean = true;
  /** What its CONNECT asked for. */
  #protocol: number | undefined;
  #isOpen = false;
  #reason: string | undefined;

  constructor(socket: Duplex, inner: Duplex, { secure, ...certificate }: Peer, deps: ConnectionDeps) {
    this.#socket = socket;
    this.#inner = inner;
    this.#deps = deps;
    this.secure = secure;
    this.principal = { client: '', ...certificate };
    this.#rate = new PerSecond(() => deps.monotonicMs());
    this.#pump(socket, inner, (packet) => this.#fromClient(packet));
    this.#pump(inner, socket, (packet) => this.#fromBroker(packet));
    socket.once('close', () => this.#end());
    inner.once('close', () => socket.destroy());
  }

  get client(): string {
    return this.principal.client;
  }

  get clean(): boolean {
    return this.#clean;
  }

  /** QoS of the best subscription for a topic; `undefined` when nothing matches. */
  subscribedQos(topic: string): number | undefined {
    const found = [...this.#filters].flatMap(([filter, qos]) => (matches(filter, topic) ? [qos] : []));
    return found.length === 0 ? undefined : Math.max(...found);
  }

  get isOpen(): boolean {
    return this.#isOpen && !this.#socket.destroyed;
  }

  get subscriptions(): readonly string[] {
    return [...this.#filters.keys()];
  }

  /** T4, T6: to this client, once; at the QoS of its subscription, and at 0 where it has none. */
  deliver(topic: string, payload: Buffer): void {
    if (!this.isOpen) return;
    const qos = this.subscribedQos(topic);
    // "If you don't subscribe before you publish a request, you might not receive its results" (provisioning API).
    if (qos === undefined && isProvisioning(topic)) return;
    if (qos === 1) this.#deps.deliverQos1(this, topic, payload);
    else this.#receive({ cmd: 'publish', topic, payload, qos: 0, retain: false, dup: false });
  }

  deliverLater(topic: string, payload: Buffer): void {
    this.#deps.deliverLater(this.client, topic, payload);
  }

  /** Ends the connection without a word, as AWS does with who breaks a rule. */
  end(reason: string): void {
    this.#reason ??= reason;
    this.#socket.destroy();
  }

  #pump(from: Duplex, to: Duplex, handle: (packet: Packet) => void): void {
    const packets = parser();
    packets.on('packet', (packet) => {
      // Nobody listens any more to who was refused.
      if (!this.#socket.destroyed && !this.#socket.writableEnded) handle(packet);
    });
    packets.on('error', (error: Error) => this.end(`no MQTT: ${error.message}`));
    from.on('data', (chunk: Buffer) => {
      packets.parse(chunk);
      if (!to.writableNeedDrain) return;
      from.pause();
      to.once('drain', () => from.resume());
    });
    from.on('error', () => undefined);
    // What was sent before the end must still arrive: a DISCONNECT keeps the will from being published.
    from.once('end', () => to.end());
  }

  #end(): void {
    this.#inner.end();
    if (!this.#isOpen) {
      const protocol = this.#protocol === undefined ? {} : { protocol: this.#protocol };
      if (this.#reason !== undefined)
        this.#record({ kind: 'refused', client: this.client, ...protocol, reason: this.#reason });
      return;
    }
    this.#isOpen = false;
    const reason = this.#reason === undefined ? {} : { reason: this.#reason };
    this.#record({ kind: 'disconnect', client: this.client, ...reason });
    this.#deps.closed(this);
  }

  #fromClient(packet: Packet): void {
    // A request before it would be obeyed, and never answered.
    if ((packet.cmd === 'connect') === (this.#protocol !== undefined)) {
      this.end('the first packet must be a CONNECT, and no other may be');
      return;
    }
    switch (packet.cmd) {
      case 'connect':
        this.#connect(packet);
        return;
      case 'publish':
        this.#publish(packet);
        return;
      case 'subscribe':
        this.#subscribe(packet);
        return;
      case 'unsubscribe':
        if (packet.messageId !== undefined) this.#unsubscribing.set(packet.messageId, packet.unsubscriptions);
        this.#forward(packet);
        return;
      default:
        this.#forward(packet);
        return;
    }
  }

  #connect(packet: IConnectPacket): void {
    const { switches, policy } = this.#deps;
    this.#protocol = packet.protocolVersion ?? 4;
    this.principal.client = packet.clientId;
    if (this.#protocol !== 4) {
      this.#refuse(badProtocol(this.#protocol));
      return;
    }
    const clientId = packet.clientId === '' && packet.clean ? this.#deps.nextClientId() : packet.clientId;
    // L26
    if (clientId === '' || Buffer.byteLength(clientId) > CLIENT_ID_BYTES_MAX) {
      this.#refuse(badClientId());
      return;
    }
    this.principal.client = clientId;
    if (policy.denies('connect', this.principal)) {
      this.end('the policy denies the connection');
      return;
    }
    if (!this.#deps.mayConnect(clientId)) {
      this.#refuse(tooHasty());
      return;
    }
    this.#deps.takeOver(clientId);
    this.#clean = packet.clean ?? true;
    const keepalive = keepAliveSeconds(packet.keepalive ?? 0, switches.keepAliveMinSeconds);
    this.#forward({ ...packet, clientId, keepalive });
  }

  #refuse({ connack, reason }: Refusal): void {
    this.#reason = reason;
    this.#socket.end(connack);
    this.#inner.end();
  }

  #publish(packet: IPublishPacket): void {
    const { topic, qos } = packet;
    const payload = Buffer.from(packet.payload);
    // L23: no word, no effect.
    if (qos === 2) return;
    const broken = this.#brokenByPublish(packet, payload.length);
    if (broken !== undefined) {
      this.end(broken);
      return;
    }
    // L21
    if (!this.#rate.take(this.#deps.switches.messagesPerSecond)) return;
    this.#traceMessage('in', packet, payload);
    if (!/^\$aws\/things\/[^/]*\/(jobs|shadow)\//.test(topic) && !isProvisioning(topic)) {
      this.#forward(packet);
      return;
    }
    // T7: says that the broker has it, and nothing about the job.
    if (packet.messageId !== undefined && qos === 1)
      this.#send({ cmd: 'puback', messageId: packet.messageId });
    this.#deps.requests(topic, payload, this);
  }

  #subscribe(packet: ISubscribePacket): void {
    const { subscriptions, messageId = 0 } = packet;
    // L23
    if (subscriptions.some(({ qos }) => qos === 2)) return;
    const allowed = subscriptions.map(
      ({ topic }) => !this.#deps.policy.denies('subscribe', this.principal, topic),
    );
    const broken = this.#brokenBySubscribe(packet, allowed);
    if (broken !== undefined) {
      this.end(broken);
      return;
    }
    this.#subscribing.set(messageId, { packet, allowed });
    const rest = subscriptions.filter((_, at) => allowed[at]);
    if (rest.length > 0) this.#forward({ ...packet, subscriptions: rest });
    else this.#subscribed({ cmd: 'suback', messageId, granted: [] });
  }

  /** What AWS ends a connection for. */
  #brokenByPublish({ topic, retain }: IPublishPacket, bytes: number): string | undefined {
    if (bytes > PAYLOAD_BYTES_MAX) return 'L18: the payload is too large';
    if (isTopicTooLong(topic)) return 'L19: the topic is too long';
    if (retain && topic.startsWith('$')) return 'T10: retain on a reserved topic';
    const isDenied = this.#deps.policy.denies('publish', this.principal, topic);
    return isDenied ? `T7: the policy denies to publish to ${topic}` : undefined;
  }

  #brokenBySubscribe({ subscriptions }: ISubscribePacket, allowed: readonly boolean[]): string | undefined {
    if (subscriptions.length > FILTERS_PER_SUBSCRIBE_MAX) return 'L20: more than 8 filters at once';
    if (subscriptions.some(({ topic }) => isTopicTooLong(topic))) return 'L19: the filter is too long';
    const all = new Set([...this.#filters.keys(), ...subscriptions.map(({ topic }) => topic)]);
    if (all.size > SUBSCRIPTIONS_PER_CONNECTION_MAX) return 'L20: more than 50 subscriptions';
    const isClosed = allowed.includes(false) && this.#deps.switches.deniedSubscribe === 'close';
    return isClosed ? 'the policy denies to subscribe' : undefined;
  }

  #fromBroker(packet: Packet): void {
    switch (packet.cmd) {
      case 'connack':
        this.#connected(packet);
        return;
      case 'suback':
        this.#subscribed(packet);
        return;
      case 'unsuback': {
        const filters = this.#unsubscribing.get(packet.messageId ?? 0) ?? [];
        this.#unsubscribing.delete(packet.messageId ?? 0);
        for (const filter of filters) this.#filters.delete(filter);
        this.#record({ kind: 'unsubscribe', client: this.client, filters });
        this.#send(packet);
        return;
      }
      case 'publish':
        this.#receive(packet);
        return;
      default:
        this.#send(packet);
        return;
    }
  }

  #connected(packet: IConnackPacket): void {
    let sessionPresent = false;
    if (packet.returnCode === 0) {
      // A session is there also when it has no subscription, which aedes does not know.
      sessionPresent = !this.#clean && this.#deps.isKept(this.client);
      this.#isOpen = true;
      this.#filters = this.#deps.opened(this);
      this.#record({
        kind: 'connect',
        client: this.client,
        protocol: 4,
        clean: this.#clean,
        secure: this.secure,
        ...(this.principal.commonName !== undefined && { commonName: this.principal.commonName }),
      });
    }
    this.#send({ ...packet, sessionPresent });
    if (this.#isOpen) this.#deps.ready(this);
  }

  #subscribed(packet: ISubackPacket): void {
    const waiting = this.#subscribing.get(packet.messageId ?? 0);
    this.#subscribing.delete(packet.messageId ?? 0);
    if (!waiting) {
      this.#send(packet);
      return;
    }
    const granted = [...(packet.granted as number[])];
    const codes = waiting.allowed.map((isAllowed) => (isAllowed ? (granted.shift() ?? DENIED) : DENIED));
    const filters = waiting.packet.subscriptions.map(({ topic }, at) => ({
      filter: topic,
      granted: codes[at] ?? DENIED,
    }));
    for (const one of filters) if (one.granted < DENIED) this.#filters.set(one.filter, one.granted);
    this.#record({ kind: 'subscribe', client: this.client, filters });
    this.#send({ ...packet, granted: codes });
  }

  #receive(packet: IPublishPacket): void {
    const { policy, switches } = this.#deps;
    const isDenied = policy.denies('receive', this.principal, packet.topic);
    // L21
    if (!isDenied && this.#rate.take(switches.messagesPerSecond)) {
      this.#traceMessage('out', packet, Buffer.from(packet.payload));
      this.#send(packet);
    } else if (packet.qos === 1) {
      // Taken from the broker, and never told.
      this.#forward({ cmd: 'puback', messageId: packet.messageId ?? 0 });
    }
  }

  #forward(packet: Packet): void {
    this.#inner.write(generate(packet));
  }

  #send(packet: Packet): void {
    if (!this.#socket.destroyed) this.#socket.write(generate(packet));
  }

  #traceMessage(direction: 'in' | 'out', { topic, qos, retain }: IPublishPacket, payload: Buffer): void {
    const text = payload.toString('utf8');
    const { client } = this;
    this.#record({
      kind: 'message',
      direction,
      client,
      topic,
      payload: text,
      bytes: payload.length,
      qos,
      retain,
    });
  }

  #record(event: TraceEvent): void {
    this.#deps.trace.record(event);
  }
}
