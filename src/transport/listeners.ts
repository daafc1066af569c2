import type { TransportListener, TransportMessage } from './port.ts';

/** Reports an event with fields: the host's logger, or nothing. */
export type TransportLog = (event: string, fields: object) => void;

/** All who listen to a transport. One that throws, or returns a promise that rejects, is logged and changes nothing. */
export interface Listeners {
  add(listener: TransportListener): () => void;
  up(sessionPresent: boolean): void;
  down(reason: string): void;
  message(message: TransportMessage): void;
  clear(): void;
}

export function createListeners(log: TransportLog): Listeners {
  // Wrapped, so that one listener object may be subscribed twice.
  const entries = new Set<{ listener: TransportListener }>();

  function tell(callback: string, call: (listener: TransportListener) => unknown): void {
    const failed = (error: unknown): void => log('transport.listenerFailed', { callback, error });
    for (const entry of [...entries]) {
      if (!entries.has(entry)) continue;
      try {
        const result = call(entry.listener);
        // Nobody waits for it: waiting here would hold back PUBACK and every packet behind it (A16).
        if (result instanceof Promise) result.catch(failed);
      } catch (error) {
        failed(error);
      }
    }
  }

  return {
    add(listener) {
      const entry = { listener };
      entries.add(entry);
      return () => void entries.delete(entry);
    },
    up: (sessionPresent) => tell('onUp', (listener) => listener.onUp?.(sessionPresent)),
    down: (reason) => tell('onDown', (listener) => listener.onDown?.(reason)),
    message: (message) => tell('onMessage', (listener) => listener.onMessage?.(message)),
    clear: () => entries.clear(),
  };
}
