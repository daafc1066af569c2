import type { Duplex } from 'node:stream';
import { generate, type Packet, parser } from 'mqtt-packet';
import { openSocket } from '../../transport/endpoint.ts';
import type { MqttVersion } from '../../transport/protocol-version.ts';
import { errorWords, reasonWords } from '../../transport/reasons.ts';
import type { DoctorHost } from './host.ts';
import { LinkEnded, ProbeLink } from './probe-link.ts';
import type { Target } from './target.ts';

/** What the checks ask of a connection. */
export type Probe = Pick<MqttProbe, 'version' | 'subscribe' | 'request' | 'hold' | 'close'>;

export const KEEP_ALIVE_SECONDS = 60;

type Of<C extends Packet['cmd']> = Extract<Packet, { cmd: C }>;

/** One connection that says one packet at a time and waits for its answer: what a client library hides is what is wanted here. */
export class MqttProbe {
  readonly version: MqttVersion;
  readonly #socket: Duplex;
  readonly #host: DoctorHost;
  readonly #waiting = new Set<(packet: Packet) => void>();
  readonly #link: ProbeLink;
  #lastId = 0;

  private constructor(socket: Duplex, version: MqttVersion, host: DoctorHost) {
    this.#socket = socket;
    this.version = version;
    this.#host = host;
    this.#link = new ProbeLink(host.clock);
    this.#link.onEnd(() => socket.destroy());
    const reader = parser({ protocolVersion: version });
    reader.on('packet', (packet: Packet) => this.#received(packet));
    reader.on('error', (error: Error) =>
      this.#link.over(new LinkEnded(`the broker does not speak MQTT: ${error.message}`)),
    );
    socket.on('data', (chunk: Buffer) => reader.parse(chunk));
    socket.on('error', (error) => this.#link.over(new LinkEnded(errorWords(error))));
    socket.once('close', () => this.#link.over(new LinkEnded('the broker hung up')));
  }

  /** Connects and has CONNACK; throws `LinkEnded` where it is refused. */
  static async connect(target: Target, version: MqttVersion, host: DoctorHost): Promise<MqttProbe> {
    const { endpoint, tls, proxy, clientId, config } = target;
    const { username, password } = config.connection;
    const probe = new MqttProbe(openSocket(endpoint, tls, proxy), version, host);
    const connected = endpoint.secure ? 'secureConnect' : 'connect';
    try {
      await probe.#link.until(
        (done) => void probe.#socket.once(connected, () => done(undefined)),
        'no connection',
      );
      const connack = probe.#next('connack', () => true, 'no CONNACK');
      probe.#send({
        cmd: 'connect',
        protocolId: 'MQTT',
        protocolVersion: version,
        clean: true,
        clientId,
        keepalive: KEEP_ALIVE_SECONDS,
        ...(username !== undefined && { username }),
        ...(password !== undefined && { password: Buffer.from(password) }),
      });
      const { reasonCode, returnCode } = await connack;
      const code = reasonCode ?? returnCode ?? 0;
      if (code !== 0) throw new LinkEnded(`the broker refuses: ${reasonWords(code)}`, code);
      return probe;
    } catch (error) {
      probe.close();
      if (error instanceof LinkEnded && error.message === 'the broker hung up')
        throw new LinkEnded('the broker hung up before CONNACK');
      throw error;
    }
  }

  /** The broker's reason code for one filter. */
  async subscribe(filter: string): Promise<number> {
    const messageId = this.#id();
    const answer = this.#next('suback', (packet) => packet.messageId === messageId, 'no SUBACK');
    this.#send({ cmd: 'subscribe', messageId, subscriptions: [{ topic: filter, qos: 1 }] });
    return Number((await answer).granted[0]);
  }

  /**
   * Sends a request of AWS IoT and waits for its answer. Throws `LinkEnded` when the broker refuses the message or ends
   * the link; `undefined` when it takes it and no answer comes.
   */
  async request(
    topic: string,
    body: object,
  ): Promise<{ accepted: boolean; body: Record<string, unknown> } | undefined> {
    const clientToken = this.#host.clock.uuid();
    const messageId = this.#id();
    const isAnswer = ({ topic: on, payload }: Of<'publish'>): boolean =>
      on.startsWith(`${topic}/`) && payload.toString().includes(clientToken);
    const answer = this.#next('publish', isAnswer, 'no answer');
    answer.catch(() => undefined);
    const acknowledged = this.#next('puback', (packet) => packet.messageId === messageId, 'no PUBACK');
    acknowledged.catch(() => undefined);
    const payload = JSON.stringify({ ...body, clientToken });
    this.#send({ cmd: 'publish', topic, payload, messageId, qos: 1, retain: false, dup: false });
    const code = (await Promise.race([acknowledged, answer.then(() => undefined)]))?.reasonCode ?? 0;
    if (code >= 0x80) throw new LinkEnded(`the broker refuses: ${reasonWords(code)}`, code);
    try {
      const packet = await answer;
      return {
        accepted: packet.topic.endsWith('/accepted'),
        body: JSON.parse(packet.payload.toString()) as Record<string, unknown>,
      };
    } catch (error) {
      if (error instanceof LinkEnded) throw error;
      return undefined;
    }
  }

  /** Waits, and does nothing; resolves to how the link ended meanwhile, if it did. */
  hold(limitMs: number): Promise<LinkEnded | undefined> {
    return this.#link.hold(limitMs);
  }

  close(): void {
    if (this.#link.end === undefined && this.#socket.writable)
      this.#socket.end(generate({ cmd: 'disconnect' } as Packet, { protocolVersion: this.version }));
    const socket = this.#socket;
    socket.once('finish', () => socket.destroy());
    if (this.#link.end !== undefined || !socket.writable) socket.destroy();
  }

  #id(): number {
    this.#lastId += 1;
    return this.#lastId;
  }

  #send(packet: Packet): void {
    if (this.#link.end === undefined) this.#socket.write(generate(packet, { protocolVersion: this.version }));
  }

  #received(packet: Packet): void {
    if (packet.cmd === 'disconnect') {
      const code = packet.reasonCode ?? 0;
      this.#link.over(new LinkEnded(`the broker ended the connection: ${reasonWords(code)}`, code));
    }
    if (packet.cmd === 'publish' && packet.qos === 1 && packet.messageId !== undefined)
      this.#send({ cmd: 'puback', messageId: packet.messageId });
    for (const waiting of [...this.#waiting]) waiting(packet);
  }

  #next<C extends Packet['cmd']>(cmd: C, fits: (packet: Of<C>) => boolean, late: string): Promise<Of<C>> {
    let waiting: ((packet: Packet) => void) | undefined;
    return this.#link
      .until<Of<C>>((done) => {
        waiting = (packet) => {
          if (packet.cmd === cmd && fits(packet as Of<C>)) done(packet as Of<C>);
        };
        this.#waiting.add(waiting);
      }, late)
      .finally(() => waiting && this.#waiting.delete(waiting));
  }
}
