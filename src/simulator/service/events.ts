import { createHash } from 'node:crypto';
import type { Collection, Store } from '../store/port.ts';
import { thingArn } from './arns.ts';
import type { Outbox } from './outbox.ts';
import type { State } from './state.ts';
import type { Timers } from './timers.ts';
import type { EventConfigurations, Execution, Job, Notifier } from './types.ts';

export const EVENT_TYPES = [
  'THING',
  'THING_GROUP',
  'THING_TYPE',
  'THING_GROUP_MEMBERSHIP',
  'THING_GROUP_HIERARCHY',
  'THING_TYPE_ASSOCIATION',
  'JOB',
  'JOB_EXECUTION',
  'POLICY',
  'CERTIFICATE',
  'CA_CERTIFICATE',
] as const;

export type JobOperation =
  | 'completed'
  | 'canceled'
  | 'deleted'
  | 'cancellation_in_progress'
  | 'deletion_in_progress';

interface Configured {
  enabled: Record<string, boolean>;
  creationDate: number;
  lastModifiedDate: number;
}

/** Events of jobs and executions for whoever watches the fleet (section 7). */
export class Events {
  readonly #configured: Collection<Configured>;
  readonly #deps: { timers: Timers; state: State; outbox: Outbox; notifier: Notifier };
  #sent = 0;

  constructor(store: Store, deps: { timers: Timers; state: State; outbox: Outbox; notifier: Notifier }) {
    this.#configured = store.collection('eventConfigurations');
    this.#deps = deps;
  }

  /** V1: each type is off until it is turned on. */
  configurations(): EventConfigurations {
    const enabled = this.#configured.get('all')?.enabled ?? {};
    return Object.fromEntries(EVENT_TYPES.map((type) => [type, { Enabled: enabled[type] ?? false }]));
  }

  /** Epoch seconds of the first and the last change; none before the first. */
  configuredAt(): { creationDate: number; lastModifiedDate: number } | undefined {
    const found = this.#configured.get('all');
    return found && { creationDate: found.creationDate, lastModifiedDate: found.lastModifiedDate };
  }

  configure(changes: Readonly<EventConfigurations>): void {
    const now = Math.floor(this.#deps.timers.nowMs()) / 1000;
    const old = this.#configured.get('all');
    const enabled = { ...old?.enabled };
    for (const [type, { Enabled }] of Object.entries(changes)) enabled[type] = Enabled;
    this.#configured.set('all', { enabled, creationDate: old?.creationDate ?? now, lastModifiedDate: now });
  }

  /** Off, as if they had never been turned on. */
  clear(): void {
    this.#configured.delete('all');
  }

  /** V2 */
  job(job: Job, operation: JobOperation): void {
    if (!this.#isOn('JOB')) return;
    const { comment, completedAt, forceCanceled, description } = job;
    const details = this.#deps.state.processDetails(job.jobId);
    this.#send(`$aws/events/job/${job.jobId}/${operation}`, {
      eventType: 'JOB',
      ...this.#stamp(),
      operation,
      jobId: job.jobId,
      status: operation.toUpperCase(),
      ...(operation === 'canceled' && { forceCanceled: forceCanceled ?? false }),
      targetSelection: job.targetSelection,
      targets: job.targets,
      ...(description !== undefined && { description }),
      ...(comment !== undefined && { comment }),
      ...(completedAt !== undefined && { completedAt: milliseconds(completedAt) }),
      createdAt: milliseconds(job.createdAt),
      lastUpdatedAt: milliseconds(job.lastUpdatedAt),
      ...(operation === 'completed' && {
        jobProcessDetails: {
          numberOfCanceledThings: details.numberOfCanceledThings,
          numberOfRejectedThings: details.numberOfRejectedThings,
          numberOfFailedThings: details.numberOfFailedThings,
          numberOfRemovedThings: details.numberOfRemovedThings,
          numberOfSucceededThings: details.numberOfSucceededThings,
        },
      }),
    });
  }

  /** V4: on the topic of the job, for whoever watches it; the thing is told in the body. */
  execution({ jobId, thing, status, statusDetails }: Execution, operation: string): void {
    if (!this.#isOn('JOB_EXECUTION')) return;
    this.#send(`$aws/events/jobExecution/${jobId}/${operation}`, {
      eventType: 'JOB_EXECUTION',
      ...this.#stamp(),
      operation,
      jobId,
      thingArn: thingArn(thing),
      status: operation === 'deleted' ? 'DELETED' : status,
      statusDetails: { ...statusDetails },
    });
  }

  #isOn(type: string): boolean {
    return this.#configured.get('all')?.enabled[type] === true;
  }

  #stamp(): { eventId: string; timestamp: number } {
    this.#sent += 1;
    const nowMs = this.#deps.timers.nowMs();
    return { eventId: uuidOf(`${nowMs} ${this.#sent}`), timestamp: Math.floor(nowMs / 1000) };
  }

  #send(topic: string, body: object): void {
    this.#deps.outbox.send(() => this.#deps.notifier.event(topic, body));
  }
}

const milliseconds = (seconds: number): number => Math.round(seconds * 1000);

/** A UUID by its form, made of a text; the service has no chance of its own. */
export function uuidOf(text: string): string {
  const hex = createHash('sha256').update(text).digest('hex');
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `4${hex.slice(13, 16)}`,
    `a${hex.slice(17, 20)}`,
    hex.slice(20, 32),
  ].join('-');
}
