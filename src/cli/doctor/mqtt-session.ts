import type { MqttVersion } from '../../transport/protocol-version.ts';
import { CrtProbe } from './crt-probe.ts';
import type { DoctorHost } from './host.ts';
import { MqttProbe, type Probe } from './mqtt-probe.ts';
import { LinkEnded } from './probe-link.ts';
import type { Target } from './target.ts';

/** CONNACK codes for "not this protocol version", of 3.1.1 and of 5. */
const VERSION_REFUSALS: readonly (number | undefined)[] = [0x01, 0x84];
const HUNG_UP = 'hung up before CONNACK';
const TAKEN_OVER = 0x8e;
/** L26: one CONNECT a second with a client id. */
const CONNECT_EVERY_MS = 1100;

/** Another client has connected with this client id. */
export class TakenOver extends Error {}

/** A key in a token is of use to the CRT alone, which tells less of what goes wrong. */
function connect(target: Target, version: MqttVersion, host: DoctorHost): Promise<Probe> {
  const kind = target.tls.pkcs11 === undefined ? MqttProbe : CrtProbe;
  return kind.connect(target, version, host);
}

/**
 * A connection that is made anew when a question has ended it: AWS answers what a policy forbids by hanging up (T7), and
 * the questions after it are still to be asked.
 */
export class MqttSession {
  readonly #target: Target;
  readonly #host: DoctorHost;
  #probe: Probe;
  #over = false;

  private constructor(target: Target, host: DoctorHost, probe: Probe) {
    this.#target = target;
    this.#host = host;
    this.#probe = probe;
  }

  /** With MQTT 5, and with 3.1.1 where the broker does not speak it; or with the one that is configured. Throws what the last attempt threw. */
  static async open(target: Target, host: DoctorHost): Promise<MqttSession> {
    const only = target.config.connection.mqttVersion;
    if (only !== undefined)
      return new MqttSession(target, host, await connect(target, only === '5' ? 5 : 4, host));
    try {
      return new MqttSession(target, host, await connect(target, 5, host));
    } catch (error) {
      const old = error instanceof LinkEnded && VERSION_REFUSALS.includes(error.code);
      if (!old && !(error as Error).message.includes(HUNG_UP)) throw error;
      await host.clock.sleep(CONNECT_EVERY_MS);
      return new MqttSession(target, host, await connect(target, 4, host));
    }
  }

  get version(): MqttVersion {
    return this.#probe.version;
  }

  /** Asks on a standing connection. A question that ends it rejects with `LinkEnded`, and the next has a new one. */
  async ask<T>(question: (probe: Probe) => Promise<T>): Promise<T> {
    if (this.#over) {
      await this.#host.clock.sleep(CONNECT_EVERY_MS);
      this.#probe = await connect(this.#target, this.version, this.#host);
      this.#over = false;
    }
    try {
      return await question(this.#probe);
    } catch (error) {
      if (error instanceof LinkEnded) {
        this.#probe.close();
        this.#over = true;
        if (error.code === TAKEN_OVER) throw new TakenOver(error.message);
      }
      throw error;
    }
  }

  close(): void {
    this.#probe.close();
  }
}
