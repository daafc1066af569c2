/**
 * What an execution needs of the cloud, as a port. Behind it stands the agent's conversation with AWS IoT Jobs, which
 * tells evidence from silence by the table of design section 5; an execution never sees a timeout or a lost link.
 */
export interface Cloud {
  /** Updates to IN_PROGRESS and compares the document that comes back with the plan's. */
  start(details: Details, signal: AbortSignal): Promise<Answer | Replaced | Stopped>;
  /** Reports the newest progress when it can; never waits, and a newer one replaces one that is still waiting. */
  progress(details: Details): void;
  /** Asks what has become of this execution; gives up after `waitMs` without evidence. */
  ask(waitMs: number, signal: AbortSignal): Promise<Answer | Stopped>;
  /** An IN_PROGRESS update that must be accepted before the caller goes on (A7). */
  fence(details: Details, signal: AbortSignal): Promise<Answer | Stopped>;
  /**
   * Proves that the device can still reach the cloud: over the standing connection, or over one made anew with a
   * fenced update on it. Gives up after `waitMs`.
   */
  proveLink(
    options: { fresh: boolean; waitMs: number },
    signal: AbortSignal,
  ): Promise<Answer | NoLink | Stopped>;
  /** Votes SUCCEEDED. `beforeSend` makes the vote durable and is called before each copy leaves. */
  propose(
    details: Details,
    beforeSend: (expectedVersion: number) => Promise<void>,
    signal: AbortSignal,
  ): Promise<Answer | Stopped>;
  /** Reports an end that the device decided. */
  report(status: 'FAILED' | 'REJECTED', details: Details, signal: AbortSignal): Promise<Answer | Stopped>;
  /** The URL of a download as the cloud gives it now (J14). */
  freshUrl(step: number, signal: AbortSignal): Promise<string>;
  /** The last version known to be ours. */
  readonly versionNumber: number;
}

/** Becomes `statusDetails`: at most 10 pairs (L5). */
export type Details = Readonly<Record<string, string>>;

export type TerminalStatus = 'SUCCEEDED' | 'FAILED' | 'REJECTED' | 'CANCELED' | 'TIMED_OUT' | 'REMOVED';

/** Positive evidence, one way or the other (I7). */
export type Answer = { kind: 'ours'; versionNumber: number } | CloudEnd;

/** The cloud has ended the execution. `unknown`: terminal, and nobody says how. `deleted`: it or its job is gone. */
export interface CloudEnd {
  kind: 'ended';
  status: TerminalStatus | 'unknown' | 'deleted';
}

/** Another document stands under this job id now: ours was never started. */
export interface Replaced {
  kind: 'replaced';
}

export interface NoLink {
  kind: 'noLink';
  reason: string;
}

/** `signal` aborted before there was evidence. */
export interface Stopped {
  kind: 'stopped';
}
