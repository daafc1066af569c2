import { after, type TransportClock } from './clock.ts';
import { TransportError, type TransportFailure } from './port.ts';

/** One promise that waits for the other side. It settles once; later calls do nothing. */
export interface PendingCall {
  readonly promise: Promise<void>;
  resolve(): void;
  fail(failure: TransportFailure, cause: string): void;
}

/** The promises of one kind that are open, each with its own time limit. */
export interface Pending {
  readonly size: number;
  /** `what` completes "cannot …"; `settled` is called exactly once, before the promise settles. */
  add(what: string, timeoutMs: number, settled?: () => void): PendingCall;
  resolveAll(): void;
  failAll(failure: TransportFailure, cause: string): void;
}

export function createPending(clock: TransportClock): Pending {
  const open = new Set<PendingCall>();

  function add(what: string, timeoutMs: number, settled?: () => void): PendingCall {
    const { promise, resolve, reject } = manualPromise();
    const settle = (finish: () => void): void => {
      if (!open.delete(call)) return;
      cancelTimeout();
      settled?.();
      finish();
    };
    const call: PendingCall = {
      promise,
      resolve: () => settle(resolve),
      fail: (failure, cause) => settle(() => reject(new TransportError(failure, `cannot ${what}: ${cause}`))),
    };
    const cancelTimeout = after(clock, timeoutMs, () =>
      call.fail('timeout', `no answer within ${timeoutMs} ms`),
    );
    open.add(call);
    return call;
  }

  return {
    get size() {
      return open.size;
    },
    add,
    resolveAll() {
      for (const call of [...open]) call.resolve();
    },
    failAll(failure, cause) {
      for (const call of [...open]) call.fail(failure, cause);
    },
  };
}

function manualPromise(): { promise: Promise<void>; resolve: () => void; reject: (error: Error) => void } {
  let resolve!: () => void;
  let reject!: (error: Error) => void;
  const promise = new Promise<void>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  return { promise, resolve, reject };
}
