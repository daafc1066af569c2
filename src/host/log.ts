import { type DestinationStream, destination, pino } from 'pino';

/** Structured log lines: fields first, then a stable text. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
  /** A log whose lines all carry `fields`. */
  child(fields: object): Log;
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

const SECRETS = ['privateKey', 'password', '*.privateKey', '*.password'];

/** Writes JSON lines, synchronously, so that nothing is lost at an exit. */
export function createLog(level: LogLevel, stream?: DestinationStream): Log {
  return pino(
    { level, redact: { paths: SECRETS, censor: '[secret]' } },
    stream ?? destination({ dest: 1, sync: true }),
  );
}
