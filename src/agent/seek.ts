import { join } from 'node:path';
import { type ExecutionIdentity, isLocal } from '../execution/records.ts';
import type { JobExecution } from '../jobs/messages.ts';
import { type Admission, admit, type RefusalCode } from './admission.ts';
import type { AgentDeps } from './agent.ts';
import type { Found, Stranded } from './agent-machine.ts';
import { type Book, keyOf } from './book.ts';
import { takeIn } from './intake.ts';
import { lostStateReceipt, observedReceipt } from './side-receipts.ts';

/** What a seeker needs of the agent around it. */
export interface SeekerAgent {
  book(): Book;
  /** There may be something to seek. */
  look(): void;
  /** A local application is busy: nothing is begun. */
  inhibited(): { reason: string } | undefined;
}

const NOTHING: Found = {};

/** Finds the next execution and takes it in, or answers it with a refusal. */
export class Seeker {
  readonly #deps: AgentDeps;
  readonly #agent: SeekerAgent;
  #offered: JobExecution | undefined;
  /** Since when an execution waits in QUEUED, by key. */
  readonly #waitingSince = new Map<string, number>();
  #later = new AbortController();
  readonly #observed = new Set<string>();

  constructor(deps: AgentDeps, agent: SeekerAgent) {
    this.#deps = deps;
    this.#agent = agent;
  }

  /** What notify-next said last; saves asking for it. */
  offer(front: JobExecution | undefined): void {
    this.#offered = front;
  }

  /** No timer is left. */
  close(): void {
    this.#later.abort(new Error('closed'));
  }

  async seek(stranded: Stranded | undefined): Promise<Found> {
    if (stranded) return this.#seekRepair();
    const told = this.#offered;
    this.#offered = undefined;
    const front = told && !this.#mayBeLate(told) ? told : await this.#describeNext();
    if (front) return this.#take(front, 'any');
    // A5: what was just told of may not be seen yet; one more look, and not only the heartbeat's.
    if (told) this.#lookLater();
    return NOTHING;
  }

  /** A3, A4: a message that is not newer than what has been here may come late, and its journal may be forgotten. */
  #mayBeLate({ queuedAt }: JobExecution): boolean {
    const { open, closed } = this.#agent.book();
    return [...open.values(), ...closed.values()].some(
      // The wall clock of this device, which a local job has, says nothing about the cloud's.
      ({ progress }) => !isLocal(progress.origin) && progress.identity.queuedAt >= queuedAt,
    );
  }

  async #describeNext(): Promise<JobExecution | undefined> {
    const reply = await this.#deps.jobs.describe('$next', { includeJobDocument: true });
    if (reply.kind === 'accepted') return reply.value;
    this.#deps.log.debug({ reply }, 'the next job is not known');
    this.#lookLater();
    return undefined;
  }

  /** INCONSISTENT: others stay QUEUED, untouched; the oldest that says `repair: true` is taken by its id. */
  async #seekRepair(): Promise<Found> {
    const { jobs } = this.#deps;
    const reply = await jobs.getPending();
    if (reply.kind !== 'accepted') return NOTHING;
    const { inProgressJobs, queuedJobs } = reply.value;
    const pending = [...inProgressJobs, ...queuedJobs].sort((a, b) => a.queuedAt - b.queuedAt);
    for (const { jobId, executionNumber } of pending) {
      const described = await jobs.describe(jobId, { executionNumber, includeJobDocument: true });
      if (described.kind !== 'accepted' || !described.value) continue;
      const found = await this.#take(described.value, 'repair');
      if (found.admitted !== undefined) return found;
    }
    return NOTHING;
  }

  async #take(execution: JobExecution, only: 'any' | 'repair'): Promise<Found> {
    const { settings, disk, facts, stepContext } = this.#deps;
    const identity = identityOf(execution, settings.thing);
    const key = keyOf(identity);
    const book = this.#agent.book();
    const observing = settings.mode === 'observe';
    if (book.closed.has(key) || book.corrupt.has(key) || execution.status === 'IN_PROGRESS') {
      // Whoever is observed, another agent perhaps, is not interfered with.
      return observing ? NOTHING : this.#answerKnown(execution, key);
    }
    if (this.#observed.has(key)) return NOTHING;
    const directory = join(settings.stateDirectory, 'executions', key);
    const admission = await admit(execution.jobDocument, {
      facts,
      policy: settings.policy,
      disk,
      context: { ...stepContext(key, directory), freshUrl: (step) => Promise.resolve(step.url) },
      reserveBytes: settings.reserveBytes,
    });
    if (only === 'repair' && !(admission.kind === 'admissible' && admission.plan.repair)) return NOTHING;
    return observing ? this.#observe(admission, identity) : this.#act(admission, execution, identity);
  }

  async #act(admission: Admission, execution: JobExecution, identity: ExecutionIdentity): Promise<Found> {
    const key = keyOf(identity);
    switch (admission.kind) {
      case 'refused':
        return this.#refuse(execution, admission.code, admission.reason);
      case 'waits':
        return this.#wait(execution, key, admission.reason, this.#deps.settings.queueRetryMs);
      case 'admissible': {
        const inhibited = this.#agent.inhibited();
        // Its end, by a person or by its time, leads here again.
        if (inhibited) {
          return this.#wait(
            execution,
            key,
            `inhibited on the device: ${inhibited.reason}`,
            this.#deps.settings.queueWaitMs,
          );
        }
        this.#waitingSince.delete(key);
        this.#agent.book().open.set(key, await takeIn(admission, execution, identity, this.#deps));
        return { admitted: key };
      }
    }
  }

  async #wait(execution: JobExecution, key: string, reason: string, retryMs: number): Promise<Found> {
    const { clock, settings, log } = this.#deps;
    const since = this.#waitingSince.get(key) ?? clock.monotonicMs();
    this.#waitingSince.set(key, since);
    if (clock.monotonicMs() - since > settings.queueWaitMs) {
      return this.#refuse(execution, 'queueWait', `waited too long: ${reason}`);
    }
    log.info({ jobId: execution.jobId, reason }, 'job waits in QUEUED');
    this.#lookLater(retryMs);
    return NOTHING;
  }

  /** `mode: observe`: what would become of it here, and not a word to the execution itself. */
  async #observe(admission: Admission, identity: ExecutionIdentity): Promise<Found> {
    const { outbox, log, drainOutbox } = this.#deps;
    const key = keyOf(identity);
    this.#observed.add(key);
    const receipt = observedReceipt(identity, admission, this.#deps);
    log.info({ jobId: identity.jobId, reason: receipt.cause.reason }, 'job observed, not started');
    await outbox.add(`${key}-observed`, receipt);
    drainOutbox();
    return NOTHING;
  }

  /** An execution that already has a journal, or is under way without one, is never run (I6). */
  async #answerKnown(execution: JobExecution, key: string): Promise<Found> {
    const { settings, outbox, drainOutbox } = this.#deps;
    const now = await this.#confirmed(execution);
    if (!now || keyOf(identityOf(now, settings.thing)) !== key) return { again: true };
    const book = this.#agent.book();
    const corrupt = book.corrupt.get(key);
    if (corrupt !== undefined) return this.#refuse(now, 'journalCorrupt', corrupt);
    if (book.closed.has(key))
      return this.#refuse(now, 'alreadyRun', 'this execution has been run and closed here');
    if (now.status !== 'IN_PROGRESS') return { again: true };
    await outbox.add(`${key}-lost`, lostStateReceipt(identityOf(now, settings.thing), this.#deps));
    drainOutbox();
    return this.#refuse(now, 'localStateLost', 'IN_PROGRESS, and this device has no journal of it');
  }

  /** S14, A5: before anything is held against an execution, it is described by its name. */
  async #confirmed({ jobId, executionNumber }: JobExecution): Promise<JobExecution | undefined> {
    const reply = await this.#deps.jobs.describe(jobId, { executionNumber, includeJobDocument: true });
    return reply.kind === 'accepted' ? reply.value : undefined;
  }

  async #refuse(execution: JobExecution, code: RefusalCode, reason: string): Promise<Found> {
    const { jobId, executionNumber, versionNumber } = execution;
    this.#deps.log.warn({ jobId, executionNumber, code, reason }, 'job rejected');
    const reply = await this.#deps.jobs.update(jobId, {
      status: 'REJECTED',
      statusDetails: { code, reason },
      expectedVersion: versionNumber,
      executionNumber,
    });
    if (reply.kind === 'accepted') {
      this.#deps.onRejected?.();
      return { again: true };
    }
    this.#lookLater();
    return NOTHING;
  }

  /** Half as soon to half as late again: devices that were throttled together must not ask together (E8). */
  #lookLater(retryMs = this.#deps.settings.queueRetryMs): void {
    const { clock } = this.#deps;
    const spread = 0.5 + clock.random();
    this.#later.abort(new Error('another'));
    this.#later = new AbortController();
    clock.sleep(retryMs * spread, this.#later.signal).then(
      () => this.#agent.look(),
      () => undefined,
    );
  }
}

function identityOf({ jobId, executionNumber, queuedAt }: JobExecution, thing: string): ExecutionIdentity {
  return { thing, jobId, executionNumber, queuedAt };
}
