import type { Trace, TraceEntry } from '../trace.ts';

/** What the console reads of the trace. */
export type ConsoleTrace = Pick<Trace, 'since' | 'subscribe'>;

/** One line of the trace, as the page shows it. */
export interface TraceRow {
  sequence: number;
  atMs: number;
  kind: TraceEntry['kind'];
  client: string;
  /** `in`: from a client to the cloud; of messages only. */
  direction?: 'in' | 'out';
  qos?: number;
  bytes?: number;
  /** The topic of a message; of the rest what happened, in words. */
  subject: string;
  /** The beginning of the payload; the whole is asked for by number. */
  text: string;
  cut: boolean;
}

const TEXT_CHARS_MAX = 2048;

export function traceRow(entry: TraceEntry): TraceRow {
  const { sequence, wallMs: atMs, kind, client } = entry;
  const base = { sequence, atMs, kind, client, text: '', cut: false };
  if (entry.kind !== 'message') return { ...base, subject: subjectOf(entry) };
  const { direction, qos, bytes, topic, payload } = entry;
  return {
    ...base,
    direction,
    qos,
    bytes,
    subject: topic,
    text: payload.slice(0, TEXT_CHARS_MAX),
    cut: payload.length > TEXT_CHARS_MAX,
  };
}

function subjectOf(entry: TraceEntry): string {
  switch (entry.kind) {
    case 'connect':
      return `connected, MQTT ${entry.protocol === 5 ? '5' : '3.1.1'}, ${entry.clean ? 'clean' : 'persistent'} session`;
    case 'refused':
      return `refused: ${entry.reason}`;
    case 'disconnect':
      return entry.reason === undefined ? 'disconnected' : `disconnected: ${entry.reason}`;
    case 'subscribe':
      return `subscribed to ${entry.filters.map(({ filter, granted }) => (granted > 2 ? `${filter} (refused)` : filter)).join(', ')}`;
    case 'unsubscribe':
      return `unsubscribed from ${entry.filters.join(', ')}`;
    case 'message':
      return entry.topic;
  }
}

/** Every word must be somewhere in subject, client or payload; case does not matter. */
export function traceFilter(search: string): (entry: TraceEntry) => boolean {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return () => true;
  return (entry) => {
    const payload = entry.kind === 'message' ? entry.payload : '';
    const text = `${subjectOf(entry)}\n${entry.client}\n${payload}`.toLowerCase();
    return words.every((word) => text.includes(word));
  };
}
