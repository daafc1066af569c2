import { loadCrt } from '../../transport/crt-api.ts';
import type { CrtCause, CrtClient } from '../../transport/crt-client.ts';
import { openCrtClient4 } from '../../transport/crt-client4.ts';
import { openCrtClient5 } from '../../transport/crt-client5.ts';
import { createTlsContexts } from '../../transport/crt-tls.ts';
import type { TransportMessage } from '../../transport/port.ts';
import type { MqttVersion } from '../../transport/protocol-version.ts';
import { FAILURE_CODE_MIN, reasonWords } from '../../transport/reasons.ts';
import type { DoctorHost } from './host.ts';
import { KEEP_ALIVE_SECONDS, type Probe } from './mqtt-probe.ts';
import { ANSWER_LIMIT_MS, LinkEnded, ProbeLink } from './probe-link.ts';
import type { Target } from './target.ts';

const OTHER_VERSION = 0x84;

/** One connection of the CRT, whose key is in a token. */
export class CrtProbe implements Probe {
  readonly version: MqttVersion;
  readonly #host: DoctorHost;
  readonly #heard = new Set<(message: TransportMessage) => void>();
  #client: CrtClient | undefined;
  readonly #link: ProbeLink;

  private constructor(version: MqttVersion, host: DoctorHost) {
    this.version = version;
    this.#host = host;
    this.#link = new ProbeLink(host.clock);
  }

  /** Connects and has CONNACK; throws `LinkEnded` where it is refused. */
  static async connect(target: Target, version: MqttVersion, host: DoctorHost): Promise<CrtProbe> {
    const { endpoint, tls, alpn, proxy, clientId, config } = target;
    const { username, password } = config.connection;
    const crt = await loadCrt();
    const tlsContext = createTlsContexts(crt, tls, alpn).current();
    const options = {
      clientId,
      keepAliveSeconds: KEEP_ALIVE_SECONDS,
      connectTimeoutMs: ANSWER_LIMIT_MS,
      ...(username !== undefined && { username }),
      ...(password !== undefined && { password }),
      ...(proxy !== undefined && { proxy }),
    };
    const probe = new CrtProbe(version, host);
    const open = version === 5 ? openCrtClient5 : openCrtClient4;
    let connected = false;
    await probe.#link
      .until<true>((done) => {
        probe.#client = open(
          { crt, endpoint, options, tlsContext, clock: host.clock },
          {
            connack() {
              connected = true;
              done(true);
            },
            message: (message) => {
              for (const heard of [...probe.#heard]) heard(message);
            },
            failed: (cause) => probe.#link.over(endOf(cause, connected)),
            closed: () => probe.#link.over(new LinkEnded('the broker hung up')),
          },
        );
      }, 'no CONNACK')
      .catch((error: unknown) => {
        probe.close();
        throw error;
      });
    return probe;
  }

  async subscribe(filter: string): Promise<number> {
    const [code] = await this.#answered(this.#client?.subscribe([filter]), 'no SUBACK');
    return code ?? FAILURE_CODE_MIN;
  }

  async request(
    topic: string,
    body: object,
  ): Promise<{ accepted: boolean; body: Record<string, unknown> } | undefined> {
    const clientToken = this.#host.clock.uuid();
    const answer = this.#answerTo(topic, clientToken);
    answer.catch(() => undefined);
    const payload = Buffer.from(JSON.stringify({ ...body, clientToken }));
    const code = await Promise.race([
      this.#answered(this.#client?.publish(topic, payload), 'no PUBACK'),
      answer.then(() => 0),
    ]);
    if (code >= FAILURE_CODE_MIN) throw new LinkEnded(`the broker refuses: ${reasonWords(code)}`, code);
    try {
      const { topic: on, payload: said } = await answer;
      return {
        accepted: on.endsWith('/accepted'),
        body: JSON.parse(Buffer.from(said).toString()) as Record<string, unknown>,
      };
    } catch (error) {
      if (error instanceof LinkEnded) throw error;
      return undefined;
    }
  }

  hold(limitMs: number): Promise<LinkEnded | undefined> {
    return this.#link.hold(limitMs);
  }

  close(): void {
    this.#client?.end(true);
  }

  #answerTo(topic: string, clientToken: string): Promise<TransportMessage> {
    let heard: ((message: TransportMessage) => void) | undefined;
    return this.#link
      .until<TransportMessage>((done) => {
        heard = (message) => {
          const text = Buffer.from(message.payload).toString();
          if (message.topic.startsWith(`${topic}/`) && text.includes(clientToken)) done(message);
        };
        this.#heard.add(heard);
      }, 'no answer')
      .finally(() => heard && this.#heard.delete(heard));
  }

  /** The CRT says that a question failed before it says why the connection ended, so its own words are not wanted. */
  #answered<T>(question: Promise<T> | undefined, late: string): Promise<T> {
    return this.#link.until<T>((done) => void question?.then(done, () => undefined), late);
  }
}

function endOf(cause: CrtCause, connected: boolean): LinkEnded {
  switch (cause.kind) {
    case 'refused': {
      const what = connected ? 'the broker ended the connection' : 'the broker refuses';
      return new LinkEnded(`${what}: ${reasonWords(cause.code)}`, cause.code);
    }
    case 'otherVersion':
      return new LinkEnded('the broker refuses: it speaks another version of MQTT', OTHER_VERSION);
    case 'unknownRefusal':
      return new LinkEnded('the broker refuses, with a code that this client does not tell: Not authorized?');
    case 'hungUp':
      return new LinkEnded(connected ? 'the broker hung up' : 'the broker hung up before CONNACK');
    case 'error':
      return new LinkEnded(cause.words);
  }
}
