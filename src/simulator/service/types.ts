export type { SimulatorClock } from '../clock.ts';
export { DEFAULT_SWITCHES, type Switches } from '../options.ts';
export type { Change } from './changes.ts';

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

export const STATUSES: readonly Status[] = ['QUEUED', 'IN_PROGRESS', ...TERMINAL];

export type Details = Record<string, string>;

/** All stamps are epoch seconds with a fraction, as the control plane tells them; devices get whole ones (P3, C4). */
export interface Execution {
  thing: string;
  jobId: string;
  /** From 1; a retry has the next one (S15, S17). */
  executionNumber: number;
  retryAttempt: number;
  status: Status;
  statusDetails: Details;
  queuedAt: number;
  startedAt?: number;
  lastUpdatedAt: number;
  versionNumber: number;
  forceCanceled?: boolean;
  /** Epoch milliseconds (S21-S23). */
  inProgressDeadlineMs?: number;
  stepDeadlineMs?: number;
  /** Order of creation, where stamps are too coarse. */
  order: number;
}

export type JobStatus = 'IN_PROGRESS' | 'SCHEDULED' | 'CANCELED' | 'COMPLETED' | 'DELETION_IN_PROGRESS';

export interface RolloutConfig {
  maximumPerMinute?: number;
  exponentialRate?: {
    baseRatePerMinute: number;
    incrementFactor: number;
    rateIncreaseCriteria: { numberOfNotifiedThings?: number; numberOfSucceededThings?: number };
  };
}

export interface AbortConfig {
  criteriaList: {
    failureType: 'FAILED' | 'REJECTED' | 'TIMED_OUT' | 'ALL';
    action: 'CANCEL';
    thresholdPercentage: number;
    minNumberOfExecutedThings: number;
  }[];
}

export interface RetryConfig {
  criteriaList: { failureType: 'FAILED' | 'TIMED_OUT' | 'ALL'; numberOfRetries: number }[];
}

export interface SchedulingConfig {
  /** `2026-01-31T12:00`, UTC where it names no zone. */
  startTime?: string;
  endTime?: string;
  endBehavior?: 'STOP_ROLLOUT' | 'CANCEL' | 'FORCE_CANCEL';
  maintenanceWindows?: { startTime: string; durationInMinutes: number }[];
}

/** What CreateJob says (section 4.4), its members already validated, its document already resolved to text. */
export interface NewJob {
  jobId: string;
  /** ARNs of things and of thing groups. */
  targets: string[];
  document: string;
  documentSource?: string;
  description?: string;
  targetSelection?: 'SNAPSHOT' | 'CONTINUOUS';
  presignedUrlConfig?: { roleArn?: string; expiresInSec?: number };
  jobExecutionsRolloutConfig?: RolloutConfig;
  abortConfig?: AbortConfig;
  timeoutConfig?: { inProgressTimeoutInMinutes?: number };
  jobExecutionsRetryConfig?: RetryConfig;
  schedulingConfig?: SchedulingConfig;
  documentParameters?: Record<string, string>;
  jobTemplateArn?: string;
  destinationPackageVersions?: string[];
  tags?: { Key: string; Value?: string }[];
  namespaceId?: string;
}

/** What UpdateJob may change (S19). */
export type JobChanges = Pick<
  NewJob,
  | 'description'
  | 'presignedUrlConfig'
  | 'jobExecutionsRolloutConfig'
  | 'abortConfig'
  | 'timeoutConfig'
  | 'jobExecutionsRetryConfig'
>;

/** Neither ended nor being deleted. */
export const isActive = ({ status }: Pick<Job, 'status'>): boolean =>
  status === 'IN_PROGRESS' || status === 'SCHEDULED';

export interface Job extends NewJob {
  arn: string;
  targetSelection: 'SNAPSHOT' | 'CONTINUOUS';
  status: JobStatus;
  forceCanceled?: boolean;
  reasonCode?: string;
  comment?: string;
  createdAt: number;
  lastUpdatedAt: number;
  completedAt?: number;
  rollout: Rollout;
}

/** How far the making of executions has come (S29); which things still wait is in `Waiting`. */
export interface Rollout {
  /** `new` until the first may be made, `ended` when no more may be made. */
  phase: 'new' | 'open' | 'ended';
  /** False outside of every maintenance window (N18d). */
  inWindow: boolean;
  notified: number;
  /** The minute that is counted, and how many executions it has brought. */
  minuteStartMs: number;
  minuteCount: number;
}

/** `numberOf…Things` of DescribeJob: each thing counts once, with its latest execution. */
export interface JobProcessDetails {
  /** Only while the job is rolled out. */
  processingTargets?: string[];
  numberOfCanceledThings: number;
  numberOfSucceededThings: number;
  numberOfFailedThings: number;
  numberOfRejectedThings: number;
  numberOfQueuedThings: number;
  numberOfInProgressThings: number;
  numberOfRemovedThings: number;
  numberOfTimedOutThings: number;
}

export interface DeviceUpdate {
  status: Status;
  statusDetails?: Details;
  expectedVersion?: number;
  executionNumber?: number;
  stepTimeoutInMinutes?: number;
}

export interface CancelExecutionRequest {
  force: boolean;
  expectedVersion?: number;
  statusDetails?: Details;
}

export interface CancelJobRequest {
  force: boolean;
  reasonCode?: string;
  comment?: string;
}

export interface JobFilter {
  status?: JobStatus;
  targetSelection?: 'SNAPSHOT' | 'CONTINUOUS';
  /** Jobs that have this group as a target. */
  thingGroupName?: string;
  namespaceId?: string;
}

export interface ExecutionFilter {
  jobId?: string;
  thing?: string;
  status?: Status;
  namespaceId?: string;
}

/** Told about each change that somebody may hear of, once the change is durable. */
export interface Notifier {
  /** N1: all pending executions. */
  notify(thing: string, body: object): void;
  /** The front has changed, or nothing is pending any more. */
  notifyNext(thing: string, body: object): void;
  /** V1-V4: `$aws/events/…`. */
  event(topic: string, body: object): void;
}

/** The things and thing groups that jobs are made for. */
export interface Directory {
  hasThing(thing: string): boolean;
  addThing(thing: string): void;
  deleteThing(thing: string): void;
  thingNames(): Iterable<string>;
  hasGroup(group: string): boolean;
  /** In the group itself, or in one below it. */
  isIn(thing: string, group: string): boolean;
  /** All of them. */
  thingsIn(group: string): readonly string[];
}

/** Event types of UpdateEventConfigurations (V1). */
export type EventConfigurations = Record<string, { Enabled: boolean }>;

/** The document as this execution gets it now: presigned URLs and the like are resolved (J14). JSON text. */
export type DocumentResolver = (job: Job, execution: Execution) => string;

/** A refusal, by its name on the device plane; the other planes map it to their own. */
export class Refusal extends Error {
  readonly code: string;
  readonly execution: Execution | undefined;
  constructor(code: string, message: string, execution?: Execution) {
    super(message);
    this.code = code;
    this.execution = execution;
  }
}
