/** What AWS IoT Core allows a connection (L18-L26): constants here, and what tests may want otherwise as switches. */
export const PAYLOAD_BYTES_MAX = 128 * 1024;
export const TOPIC_BYTES_MAX = 256;
export const TOPIC_SLASHES_MAX = 7;
export const FILTERS_PER_SUBSCRIBE_MAX = 8;
export const SUBSCRIPTIONS_PER_CONNECTION_MAX = 50;
export const CLIENT_ID_BYTES_MAX = 128;
export const KEEP_ALIVE_SECONDS_MAX = 1200;

const SWITCH_MAX = 1_000_000;

/** What of it can be set: a whole number from `min` to `max`, or one of `values`. */
export const MQTT_SWITCHES = {
  connectsPerSecond: {
    min: 0,
    max: SWITCH_MAX,
    default: 0,
    rules: 'L26',
    meaning:
      'CONNECTs of one client id per second (AWS: 1); 0 is no limit, so that a test may connect as it likes',
  },
  messagesPerSecond: {
    min: 0,
    max: SWITCH_MAX,
    default: 0,
    rules: 'L21',
    meaning: 'messages in and out per second and connection (AWS: 100), the rest is discarded; 0 is no limit',
  },
  keepAliveMinSeconds: {
    min: 1,
    max: 30,
    default: 30,
    rules: 'L22',
    meaning: 'a shorter keep-alive counts as this one',
  },
  sessionExpirySeconds: {
    min: 0,
    max: 604_800,
    default: 3600,
    rules: 'L25',
    meaning: 'how long a persistent session outlives its connection',
  },
  deniedSubscribe: {
    values: ['refuse', 'close'],
    default: 'refuse',
    rules: 'A22',
    meaning: 'a SUBSCRIBE that the policy denies gets a SUBACK with 0x80, or the end of the connection',
  },
} as const;

export interface MqttSwitches {
  connectsPerSecond: number;
  messagesPerSecond: number;
  keepAliveMinSeconds: number;
  sessionExpirySeconds: number;
  deniedSubscribe: 'refuse' | 'close';
}

export const DEFAULT_MQTT_SWITCHES: MqttSwitches = {
  connectsPerSecond: MQTT_SWITCHES.connectsPerSecond.default,
  messagesPerSecond: MQTT_SWITCHES.messagesPerSecond.default,
  keepAliveMinSeconds: MQTT_SWITCHES.keepAliveMinSeconds.default,
  sessionExpirySeconds: MQTT_SWITCHES.sessionExpirySeconds.default,
  deniedSubscribe: MQTT_SWITCHES.deniedSubscribe.default,
};

/** L22: 0 and what is too long count as the longest, what is too short as the shortest. */
export function keepAliveSeconds(asked: number, minSeconds: number): number {
  return asked === 0 ? KEEP_ALIVE_SECONDS_MAX : Math.min(Math.max(asked, minSeconds), KEEP_ALIVE_SECONDS_MAX);
}

/** L19; the three levels before the topic of a rule (`$aws/rules/NAME/`) do not count. */
export function isTopicTooLong(topic: string): boolean {
  const counted = topic.replace(/^\$aws\/rules\/[^/]*\//, '');
  return Buffer.byteLength(counted) > TOPIC_BYTES_MAX || counted.split('/').length - 1 > TOPIC_SLASHES_MAX;
}

/** Counts what happens within each second, by name. A name whose second is over is forgotten. */
export class PerSecondByName {
  readonly #nowMs: () => number;
  /** The oldest second first. */
  readonly #counts = new Map<string, { startMs: number; count: number }>();

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** Names that are remembered now. */
  get size(): number {
    return this.#counts.size;
  }

  /** One more; true when it is within `max`, which 0 does not limit. */
  take(name: string, max: number): boolean {
    const nowMs = this.#nowMs();
    for (const [old, { startMs }] of this.#counts) {
      if (nowMs - startMs < 1000) break;
      this.#counts.delete(old);
    }
    const counted = this.#counts.get(name) ?? { startMs: nowMs, count: 0 };
    counted.count += 1;
    this.#counts.set(name, counted);
    return max === 0 || counted.count <= max;
  }
}

/** Counts what happens within each second. */
export class PerSecond {
  readonly #nowMs: () => number;
  #second = Number.NEGATIVE_INFINITY;
  #count = 0;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** One more; true when it is within `max`, which 0 does not limit. */
  take(max: number): boolean {
    const nowMs = this.#nowMs();
    if (nowMs - this.#second >= 1000) {
      this.#second = nowMs;
      this.#count = 0;
    }
    this.#count += 1;
    return max === 0 || this.#count <= max;
  }
}
