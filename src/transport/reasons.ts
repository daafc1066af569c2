/**
 * Return codes of MQTT 3.1.1 (up to 5) and reason codes of MQTT 5. mqtt.js has the same words, and is not loaded for
 * them on a device that speaks MQTT by another library; a test holds these against its own.
 */
const WORDS: Readonly<Record<number, string>> = {
  1: 'Unacceptable protocol version',
  2: 'Identifier rejected',
  3: 'Server unavailable',
  4: 'Bad username or password',
  5: 'Not authorized',
  16: 'No matching subscribers',
  17: 'No subscription existed',
  128: 'Unspecified error',
  129: 'Malformed Packet',
  130: 'Protocol Error',
  131: 'Implementation specific error',
  132: 'Unsupported Protocol Version',
  133: 'Client Identifier not valid',
  134: 'Bad User Name or Password',
  135: 'Not authorized',
  136: 'Server unavailable',
  137: 'Server busy',
  138: 'Banned',
  139: 'Server shutting down',
  140: 'Bad authentication method',
  141: 'Keep Alive timeout',
  142: 'Session taken over',
  143: 'Topic Filter invalid',
  144: 'Topic Name invalid',
  145: 'Packet identifier in use',
  146: 'Packet Identifier not found',
  147: 'Receive Maximum exceeded',
  148: 'Topic Alias invalid',
  149: 'Packet too large',
  150: 'Message rate too high',
  151: 'Quota exceeded',
  152: 'Administrative action',
  153: 'Payload format invalid',
  154: 'Retain not supported',
  155: 'QoS not supported',
  156: 'Use another server',
  157: 'Server moved',
  158: 'Shared Subscriptions not supported',
  159: 'Connection rate exceeded',
  160: 'Maximum connect time',
  161: 'Subscription Identifiers not supported',
  162: 'Wildcard Subscriptions not supported',
};

/** MQTT reason and return codes from here on are failures, in all packets but a 3.1.1 CONNACK. */
export const FAILURE_CODE_MIN = 0x80;

/** "Not authorized (0x87)" */
export function reasonWords(code: number): string {
  return `${WORDS[code] ?? 'unknown reason'} (0x${code.toString(16).padStart(2, '0')})`;
}

/** One line for an error of a socket, of TLS or of mqtt.js. */
export function errorWords(error: unknown): string {
  // One error for all addresses of a name: its own message is empty.
  if (error instanceof AggregateError) {
    return [...new Set(error.errors.map(errorWords))].join('; ');
  }
  if (!(error instanceof Error)) return String(error);
  return error.message || (error as NodeJS.ErrnoException).code || error.name;
}
