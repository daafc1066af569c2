/** The protocol level as it stands in CONNECT: 5, or 4 for MQTT 3.1.1. */
export type MqttVersion = 5 | 4;

/** How a broker showed that it does not want a version: it said so, or it hung up instead of answering CONNECT. */
export type VersionRefusal = 'said' | 'hungUp';

/** Which version to speak to this broker: 5 until it is refused, then the one that worked last; or one and no other. */
export interface VersionChoice {
  readonly current: MqttVersion;
  accepted(): void;
  /**
   * Takes note of an attempt that did not get a CONNACK; `undefined` is a failure that says nothing about versions.
   * Returns true when another version is worth a try at once.
   */
  failed(refusal: VersionRefusal | undefined): boolean;
}

const HANG_UPS_MAX = 2;
/** A version that has worked is not given up for a balancer that drops a few connections. */
const HANG_UPS_MAX_PROVEN = 6;

export function createVersionChoice(only?: MqttVersion): VersionChoice {
  let current: MqttVersion = only ?? 5;
  let proven: MqttVersion | undefined;
  let hangUps = 0;
  let mayHurry = true;

  const change = (): void => {
    current = current === 5 ? 4 : 5;
    hangUps = 0;
  };

  return {
    get current() {
      return current;
    },
    accepted() {
      proven = current;
      hangUps = 0;
      mayHurry = true;
    },
    failed(refusal) {
      if (only !== undefined) return false;
      if (refusal === 'said') {
        change();
        // A broker that refuses both versions must not be asked in a tight loop.
        const hurry = mayHurry;
        mayHurry = false;
        return hurry;
      }
      hangUps = refusal === 'hungUp' ? hangUps + 1 : 0;
      if (hangUps >= (proven === current ? HANG_UPS_MAX_PROVEN : HANG_UPS_MAX)) change();
      return false;
    },
  };
}
