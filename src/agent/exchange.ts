import type { Answer, CloudEnd, Details } from '../execution/cloud.ts';
import type { ExecutionIdentity } from '../execution/records.ts';
import type { Clock } from '../host/clock.ts';
import type { Log } from '../host/log.ts';
import { isTerminal } from '../jobs/classify.ts';
import type { JobsClient, Reply, UpdateAccepted, UpdateRequest } from '../jobs/client.ts';
import { minimalDetails } from '../jobs/details.ts';
import type { JobExecution } from '../jobs/messages.ts';

/** What one exchange has established. `nothing` is never evidence (I7). */
export type Heard = Answer | Nothing;

export interface Nothing {
  kind: 'nothing';
  why: string;
}

export function nothing(why: string): Nothing {
  return { kind: 'nothing', why };
}

/** What this device knows of its execution in the cloud. */
export interface Known {
  versionNumber: number;
  /** An IN_PROGRESS update of ours was accepted. */
  started: boolean;
  /** Our SUCCEEDED may be out. */
  proposed: boolean;
}

export interface ExchangeDeps {
  identity: ExecutionIdentity;
  jobs: Pick<JobsClient, 'describe' | 'update'>;
  clock: Pick<Clock, 'monotonicMs'>;
  log: Log;
  stepTimerMinutes: number;
}

const DELETED: CloudEnd = { kind: 'ended', status: 'deleted' };
const UNKNOWN: CloudEnd = { kind: 'ended', status: 'unknown' };

/**
 * Single requests about one execution, and what their answers mean, row by row as in the table of design section 5.
 * Whoever uses it has one request in flight at most: version numbers only make sense in order (S14).
 */
export class Exchange {
  /** The last details that were said; what a question repeats, so that asking changes nothing. */
  latest: Details = {};
  readonly #deps: ExchangeDeps;
  readonly #known: Known;
  #refreshedMs: number;
  /** Versions in a row that somebody else had moved. */
  #adopted = 0;
  /** As the cloud last told; monotonic. */
  #timesOutAtMs: number | undefined;

  constructor(deps: ExchangeDeps, known: Known) {
    this.#deps = deps;
    this.#known = { ...known };
    this.#refreshedMs = deps.clock.monotonicMs();
  }

  get known(): Readonly<Known> {
    return this.#known;
  }

  /** Since an update was last accepted, which is what moves the step timer. */
  get silentMs(): number {
    return this.#deps.clock.monotonicMs() - this.#refreshedMs;
  }

  /** Until a timer of the cloud ends the execution, by what it has said and by the step timer that we have set. */
  get timeLeftMs(): number {
    const stepTimerMs = this.#deps.stepTimerMinutes * 60_000 - this.silentMs;
    const told = (this.#timesOutAtMs ?? Number.POSITIVE_INFINITY) - this.#deps.clock.monotonicMs();
    return Math.max(0, Math.min(stepTimerMs, told));
  }

  noteStarted(): void {
    this.#known.started = true;
  }

  noteProposed(): void {
    this.#known.proposed = true;
  }

  /** Sends an update and says what its answer means. */
  async say(
    status: UpdateRequest['status'],
    details: Details,
    extra: Partial<UpdateRequest> = {},
  ): Promise<{ reply: Reply<UpdateAccepted>; heard: Heard }> {
    const reply = await this.#update(status, details, extra);
    return { reply, heard: await this.#hear(reply) };
  }

  /** Asks without changing anything (P19, P20). */
  async ask(): Promise<Heard> {
    return this.#hearDescribed(await this.describe(false), 'fresh');
  }

  describe(includeJobDocument: boolean): Promise<Reply<JobExecution | undefined>> {
    const { jobId, executionNumber } = this.#deps.identity;
    return this.#deps.jobs.describe(jobId, { executionNumber, includeJobDocument });
  }

  hearExecution(execution: JobExecution | undefined): Heard {
    if (!execution) return nothing('described without an execution');
    const { executionNumber, queuedAt } = this.#deps.identity;
    const same = execution.executionNumber === executionNumber && execution.queuedAt === queuedAt;
    // A successor under the same id: ours is gone, and its version is never adopted (A21).
    if (!same) return DELETED;
    if (isTerminal(execution.status)) return { kind: 'ended', status: execution.status };
    if (execution.status === 'QUEUED' && this.#known.started) return DELETED;
    const { approximateSecondsBeforeTimedOut: left } = execution;
    this.#timesOutAtMs = left === undefined ? undefined : this.#deps.clock.monotonicMs() + left * 1000;
    if (execution.versionNumber !== this.#known.versionNumber) this.#adopt(execution.versionNumber);
    return this.#ours();
  }

  /** A lost answer of ours, or a stranger; twice in a row is a stranger. */
  #adopt(versionNumber: number): void {
    this.#adopted += 1;
    if (this.#adopted >= 2) this.#deps.log.warn({ versionNumber }, 'a second agent updates this execution');
    this.#known.versionNumber = versionNumber;
  }

  #ours(): Answer {
    return { kind: 'ours', versionNumber: this.#known.versionNumber };
  }

  async #update(
    status: UpdateRequest['status'],
    details: Details,
    extra: Partial<UpdateRequest>,
  ): Promise<Reply<UpdateAccepted>> {
    const { identity, jobs, log, stepTimerMinutes } = this.#deps;
    const request: UpdateRequest = {
      status,
      statusDetails: details,
      expectedVersion: this.#known.versionNumber,
      executionNumber: identity.executionNumber,
      includeJobExecutionState: true,
      ...(status === 'IN_PROGRESS' && { stepTimeoutInMinutes: stepTimerMinutes }),
      ...extra,
    };
    const reply = await jobs.update(identity.jobId, request);
    const badText = reply.kind === 'rejected' && ['InvalidRequest', 'InvalidJson'].includes(reply.code);
    if (!badText) return reply;
    log.warn({ code: reply.code, reason: reply.message }, 'the details were refused; sending the least');
    return jobs.update(identity.jobId, { ...request, statusDetails: minimalDetails(details) });
  }

  /** What an update's answer means (E4, E5, E6, E13, E14). */
  async #hear(reply: Reply<UpdateAccepted>): Promise<Heard> {
    if (reply.kind === 'noAnswer') return nothing(reply.reason);
    if (reply.kind === 'accepted') return this.#accepted(reply.value);
    const state = reply.executionState;
    if (state && isTerminal(state.status)) return { kind: 'ended', status: state.status };
    switch (reply.code) {
      case 'ResourceNotFound':
        return this.#hearDescribed(await this.describe(false), 'refused');
      case 'VersionMismatch':
        return this.#hearDescribed(await this.describe(false), 'fresh');
      case 'InvalidStateTransition':
        return state ? this.#hearDescribed(await this.describe(false), 'fresh') : this.#endedUnknown();
      case 'TerminalStateReached':
        return this.#endedUnknown();
      default:
        return nothing(`${reply.rawCode}: ${reply.message}`);
    }
  }

  #accepted(value: UpdateAccepted): Answer {
    this.#known.versionNumber = value.executionState?.versionNumber ?? this.#known.versionNumber + 1;
    this.#adopted = 0;
    this.#refreshedMs = this.#deps.clock.monotonicMs();
    return this.#ours();
  }

  /** `history`: whether an update was refused just before; it takes two refusals to call an execution deleted. */
  async #hearDescribed(reply: Reply<JobExecution | undefined>, history: 'fresh' | 'refused'): Promise<Heard> {
    if (reply.kind === 'noAnswer') return nothing(reply.reason);
    if (reply.kind === 'accepted') return this.hearExecution(reply.value);
    switch (reply.code) {
      case 'TerminalStateReached':
        // E9 carries no state: ask once with an update, which does (E4).
        return this.#askByUpdate('ended');
      case 'ResourceNotFound':
        return history === 'fresh' ? this.#askByUpdate('notFound') : DELETED;
      default:
        return nothing(`${reply.rawCode}: ${reply.message}`);
    }
  }

  /** The last question in a row, with what describing has said: its answer is not asked about again. */
  async #askByUpdate(described: 'ended' | 'notFound'): Promise<Heard> {
    const reply = await this.#update('IN_PROGRESS', this.latest, {});
    if (reply.kind === 'noAnswer') return nothing(reply.reason);
    if (reply.kind === 'accepted') return this.#accepted(reply.value);
    const state = reply.executionState;
    if (state && isTerminal(state.status)) return { kind: 'ended', status: state.status };
    // Two answers that contradict each other are no evidence of either (I7).
    if (state) return nothing(`${reply.rawCode}, and the execution is ${state.status}`);
    switch (reply.code) {
      case 'ResourceNotFound':
        return DELETED;
      case 'InvalidStateTransition':
      case 'TerminalStateReached':
        return this.#endedUnknown();
      case 'VersionMismatch':
        return described === 'ended' ? this.#endedUnknown() : nothing('VersionMismatch without a state');
      default:
        return nothing(`${reply.rawCode}: ${reply.message}`);
    }
  }

  /** Terminal, nobody says how. Before the vote it cannot be our success; after it a stale version makes E6 tell. */
  async #endedUnknown(): Promise<Heard> {
    if (!this.#known.proposed) return UNKNOWN;
    const expectedVersion = Math.max(this.#known.versionNumber - 1, 0);
    const reply = await this.#update('IN_PROGRESS', this.latest, { expectedVersion });
    if (reply.kind === 'noAnswer') return nothing(reply.reason);
    if (reply.kind === 'rejected' && reply.executionState && isTerminal(reply.executionState.status)) {
      return { kind: 'ended', status: reply.executionState.status };
    }
    return UNKNOWN;
  }
}
