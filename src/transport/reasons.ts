import { ReasonCodes } from 'mqtt';

/** MQTT reason and return codes from here on are failures, in all packets but a 3.1.1 CONNACK. */
export const FAILURE_CODE_MIN = 0x80;

/** "Not authorized (0x87)" */
export function reasonWords(code: number): string {
  const words = (ReasonCodes as Record<number, string | undefined>)[code];
  return `${words ?? 'unknown reason'} (0x${code.toString(16).padStart(2, '0')})`;
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
