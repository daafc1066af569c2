/** The part of the host's clock that a transport needs; layers below `agent` import nobody. */
export interface TransportClock {
  monotonicMs(): number;
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
  random(): number;
}

/** Calls back once after `delayMs`, unless the returned function is called first. */
export function after(clock: TransportClock, delayMs: number, callback: () => void): () => void {
  const cancelled = new AbortController();
  void clock.sleep(delayMs, cancelled.signal).then(
    // The sleep may have ended in the same turn in which it was cancelled.
    () => (cancelled.signal.aborted ? undefined : callback()),
    () => undefined,
  );
  return () => cancelled.abort();
}

/** Calls back every `periodMs` until the returned function is called. */
export function every(clock: TransportClock, periodMs: number, callback: () => void): () => void {
  let cancel: () => void;
  const next = (): void => {
    cancel = after(clock, periodMs, () => {
      next();
      callback();
    });
  };
  next();
  return () => cancel();
}
