/** The statuses of a job execution (section 3.1 of the service's life cycle). */
export type ExecutionStatus =
  | 'QUEUED'
  | 'IN_PROGRESS'
  | 'SUCCEEDED'
  | 'FAILED'
  | 'REJECTED'
  | 'TIMED_OUT'
  | 'REMOVED'
  | 'CANCELED';

export type TerminalStatus = Exclude<ExecutionStatus, 'QUEUED' | 'IN_PROGRESS'>;

/** S4: no transition leaves these. */
export function isTerminal(status: ExecutionStatus): status is TerminalStatus {
  return status !== 'QUEUED' && status !== 'IN_PROGRESS';
}

/** E1-E9. E14: a code that nobody knows is retried like a fault of the service. */
export type ErrorCode =
  | 'InvalidTopic'
  | 'InvalidJson'
  | 'InvalidRequest'
  | 'InvalidStateTransition'
  | 'ResourceNotFound'
  | 'VersionMismatch'
  | 'InternalError'
  | 'RequestThrottled'
  | 'TerminalStateReached'
  | 'unknown';

const CODES: readonly string[] = [
  'InvalidTopic',
  'InvalidJson',
  'InvalidRequest',
  'InvalidStateTransition',
  'ResourceNotFound',
  'VersionMismatch',
  'InternalError',
  'RequestThrottled',
  'TerminalStateReached',
];

export function errorCode(text: string): ErrorCode {
  return CODES.includes(text) ? (text as ErrorCode) : 'unknown';
}

/** E14: back off and say it again. */
export function isTransient(code: ErrorCode): boolean {
  return code === 'InternalError' || code === 'RequestThrottled' || code === 'unknown';
}
