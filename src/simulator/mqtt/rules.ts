/** Which rules of the broker hold where: on the broker inside the simulator, and on one that runs elsewhere. */
export interface BrokerRule {
  rule: string;
  embedded: string;
  /** `holds`, `broker` (as the broker is set up), or what is otherwise. */
  external: string;
}

const HOLDS = 'holds';
const BROKER = 'up to the broker';

export const BROKER_RULES: readonly BrokerRule[] = [
  { rule: 'T1', embedded: HOLDS, external: HOLDS },
  { rule: 'T2', embedded: HOLDS, external: HOLDS },
  { rule: 'T3', embedded: HOLDS, external: HOLDS },
  { rule: 'T4', embedded: HOLDS, external: 'every subscriber hears an answer, and only subscribers do' },
  { rule: 'T5', embedded: HOLDS, external: HOLDS },
  { rule: 'T6', embedded: HOLDS, external: 'nothing arrives without a subscription' },
  { rule: 'T7', embedded: 'holds; a denied publish ends the connection', external: BROKER },
  { rule: 'T8', embedded: HOLDS, external: HOLDS },
  { rule: 'T9', embedded: 'not there', external: 'not there' },
  { rule: 'T10', embedded: HOLDS, external: 'a retained request is ignored, the connection stays' },
  { rule: 'E1', embedded: HOLDS, external: 'not below accepted, rejected, notify and notify-next' },
  { rule: 'L18', embedded: HOLDS, external: BROKER },
  { rule: 'L19', embedded: HOLDS, external: BROKER },
  { rule: 'L20', embedded: HOLDS, external: BROKER },
  { rule: 'L21', embedded: 'with the switch messagesPerSecond', external: BROKER },
  { rule: 'L22', embedded: HOLDS, external: BROKER },
  { rule: 'L23', embedded: HOLDS, external: BROKER },
  {
    rule: 'L24',
    embedded: 'no limit; what is not acknowledged comes again on the next connection',
    external: BROKER,
  },
  {
    rule: 'L25',
    embedded: 'holds; what waited is sent as fast as it goes (AWS: 10 a second)',
    external: BROKER,
  },
  { rule: 'L26', embedded: 'holds; the rate with the switch connectsPerSecond', external: BROKER },
  { rule: 'L27', embedded: 'no WebSocket', external: BROKER },
];
