import { fstatSync } from 'node:fs';
import { type DestinationStream, destination, pino } from 'pino';
import { redacted } from './redact.ts';

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

const STDOUT = 1;

/**
 * Writes synchronously, so that nothing is lost at an exit: JSON lines, and to the systemd journal the text with its
 * fields behind it, under the priority of its level. Secrets are taken out of both.
 */
export function createLog(level: LogLevel, stream?: DestinationStream): Log {
  const out = stream ?? destination({ dest: STDOUT, sync: true });
  return pino(
    { level, formatters: { log: (fields) => redacted(fields) as Record<string, unknown> } },
    stream === undefined && goesToJournal() ? journalStream(out) : out,
  );
}

/** systemd names the journal's stream by device and inode, since the variable outlives a redirection. */
function goesToJournal(): boolean {
  const named = process.env['JOURNAL_STREAM'];
  if (named === undefined) return false;
  try {
    const { dev, ino } = fstatSync(STDOUT);
    return named === `${dev}:${ino}`;
  } catch {
    return false;
  }
}

/** pino's levels as those of syslog (man 3 sd-daemon). */
const PRIORITIES: Readonly<Record<number, number>> = { 20: 7, 30: 6, 40: 4, 50: 3 };
/** What the journal knows itself. */
const KNOWN = ['level', 'time', 'pid', 'hostname', 'msg'];

/** Turns pino's JSON lines into lines for the journal. */
export function journalStream(out: DestinationStream): DestinationStream {
  return { write: (line) => out.write(`${journalLine(line)}\n`) };
}

/** `<6>job closed jobId=update-1 outcome="update-1#1 rolledBack old"`; always one line. */
export function journalLine(json: string): string {
  const { level, msg, ...fields } = JSON.parse(json) as Record<string, unknown>;
  const told = Object.entries(fields)
    .filter(([name, value]) => !KNOWN.includes(name) && value !== undefined)
    .map(([name, value]) => ` ${name}=${fieldText(value)}`);
  return `<${PRIORITIES[Number(level)] ?? 6}>${String(msg)}${told.join('')}`;
}

function fieldText(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return /^[^\s"=\u0000-\u001f\u007f]+$/.test(text) ? text : JSON.stringify(text);
}
