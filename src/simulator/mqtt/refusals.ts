import { generate } from 'mqtt-packet';

/** A CONNACK that is a refusal, and what is said about it on this side. */
export interface Refusal {
  connack: Buffer;
  reason: string;
}

/** CONNACK codes of MQTT 3.1.1; `UNSUPPORTED_PROTOCOL` is that of MQTT 5. */
const BAD_PROTOCOL = 1;
const BAD_CLIENT_ID = 2;
const UNAVAILABLE = 3;
const UNSUPPORTED_PROTOCOL = 0x84;

const refusal = (returnCode: number, reason: string): Refusal => ({
  connack: generate({ cmd: 'connack', returnCode, sessionPresent: false }),
  reason,
});

/** L26 */
export const badClientId = (): Refusal =>
  refusal(BAD_CLIENT_ID, 'L26: the client id must have 1 to 128 bytes');

export const tooHasty = (): Refusal => refusal(UNAVAILABLE, 'L26: this client id connects too often');

/** Each in its own language: what MQTT 5 reads in a CONNACK of 3.1.1 is a protocol error. */
export function badProtocol(version: number): Refusal {
  if (version !== 5) return refusal(BAD_PROTOCOL, 'MQTT 3.1 is not spoken here, 3.1.1 is');
  const reason =
    'MQTT 5 is not spoken here, 3.1.1 is; for a client that knows 5 alone, start the simulator with --broker and a broker of MQTT 5';
  const connack = generate(
    {
      cmd: 'connack',
      reasonCode: UNSUPPORTED_PROTOCOL,
      sessionPresent: false,
      properties: { reasonString: reason },
    },
    { protocolVersion: 5 },
  );
  return { connack, reason };
}
