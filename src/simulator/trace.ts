/** What a client and the broker said to each other, for whoever wants to watch: a page, a test, a log. */
export type TraceEvent =
  | {
      kind: 'connect';
      client: string;
      protocol: number;
      clean: boolean;
      secure: boolean;
      commonName?: string;
    }
  /** Never connected; `protocol` where a CONNECT was read. */
  | { kind: 'refused'; client: string; protocol?: number; reason: string }
  /** `reason`: why the simulator ended it; absent when the client did, or the network. */
  | { kind: 'disconnect'; client: string; reason?: string }
  | { kind: 'subscribe'; client: string; filters: readonly { filter: string; granted: number }[] }
  | { kind: 'unsubscribe'; client: string; filters: readonly string[] }
  | MessageEvent;

/** `in`: from a client to the cloud. `out`: to a client. */
export interface MessageEvent {
  kind: 'message';
  direction: 'in' | 'out';
  client: string;
  topic: string;
  /** As text; what is no UTF-8 has replacement characters. */
  payload: string;
  bytes: number;
  qos: number;
  retain: boolean;
}

export type TraceEntry = TraceEvent & { sequence: number; wallMs: number };

/** The last entries, and those to come. */
export interface Trace {
  record(event: TraceEvent): void;
  /** Entries after `sequence` that are still there, oldest first. */
  since(sequence: number): readonly TraceEntry[];
  /** Calls `listener` for each further entry until the returned function is called. */
  subscribe(listener: (entry: TraceEntry) => void): () => void;
  clear(): void;
}

const TRACE_ENTRIES_MAX = 2000;

export function createTrace(wallMs: () => number, entriesMax: number = TRACE_ENTRIES_MAX): Trace {
  /** A ring: the entry of sequence s is at s modulo its length. */
  let ring: (TraceEntry | undefined)[] = Array<undefined>(entriesMax).fill(undefined);
  let last = 0;
  const listeners = new Set<(entry: TraceEntry) => void>();
  return {
    record(event) {
      last += 1;
      const entry = { ...event, sequence: last, wallMs: wallMs() };
      ring[last % entriesMax] = entry;
      for (const listener of [...listeners]) listener(entry);
    },
    since(sequence) {
      const found: TraceEntry[] = [];
      for (let at = Math.max(sequence, last - entriesMax) + 1; at <= last; at += 1) {
        const entry = ring[at % entriesMax];
        if (entry?.sequence === at) found.push(entry);
      }
      return found;
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    clear() {
      ring = Array<undefined>(entriesMax).fill(undefined);
    },
  };
}
