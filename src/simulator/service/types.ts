/** Time and chance, as the simulator needs them; it imports nothing of the agent. */
export interface SimulatorClock {
  wallMs(): number;
  monotonicMs(): number;
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
}

export type Status =
  | 'QUEUED'
  | 'IN_PROGRESS'
  | 'SUCCEEDED'
  | 'FAILED'
  | 'REJECTED'
  | 'TIMED_OUT'
  | 'REMOVED'
  | 'CANCELED';

export const TERMINAL: readonly Status[] = [
  'SUCCEEDED',
  'FAILED',
  'REJECTED',
  'TIMED_OUT',
  'REMOVED',
  'CANCELED',
];

export type Details = Record<string, string>;

export interface Execution {
  thing: string;
  jobId: string;
  /** From 1; a retry has the next one (S15, S17). */
  executionNumber: number;
  retryAttempt: number;
  status: Status;
  statusDetails: Details;
  /** Epoch seconds (P3). */
  queuedAt: number;
  startedAt?: number;
  lastUpdatedAt: number;
  versionNumber: number;
  forceCanceled?: boolean;
  /** Monotonic milliseconds (S21-S23). */
  inProgressDeadlineMs?: number;
  stepDeadlineMs?: number;
  /** Order of creation, where seconds are too coarse. */
  order: number;
}

/** One thing that is now other than it was: told after the change is complete, in the order of the changes. */
export type Change =
  | { kind: 'thing'; thing: string }
  | { kind: 'job'; jobId: string }
  | { kind: 'execution'; execution: Execution; deleted: boolean };

export type JobStatus = 'IN_PROGRESS' | 'CANCELED' | 'COMPLETED';

export interface Job {
  jobId: string;
  arn: string;
  targets: string[];
  /** JSON text. */
  document: string;
  description?: string;
  targetSelection: 'SNAPSHOT' | 'CONTINUOUS';
  status: JobStatus;
  forceCanceled?: boolean;
  reasonCode?: string;
  comment?: string;
  createdAt: number;
  lastUpdatedAt: number;
  completedAt?: number;
  inProgressTimeoutInMinutes?: number;
  retries: { failureType: 'FAILED' | 'TIMED_OUT' | 'ALL'; numberOfRetries: number }[];
}

/** What the sources leave open (section 10 of the protocol); each default is what was most often seen. */
export interface Switches {
  /** E13: a terminal execution and a stale version at once. */
  terminalBeforeVersion: boolean;
  /** E4: a refused update of a terminal execution carries its state. */
  terminalCarriesState: boolean;
}

export const DEFAULT_SWITCHES: Switches = { terminalBeforeVersion: true, terminalCarriesState: true };

/** A refusal, by its name on the device plane; the control plane maps it to its own. */
export class Refusal extends Error {
  readonly code: string;
  readonly execution: Execution | undefined;
  constructor(code: string, message: string, execution?: Execution) {
    super(message);
    this.code = code;
    this.execution = execution;
  }
}
