import { join } from 'node:path';
import { withoutUrlQueries } from '../document/document.ts';
import type { Plan } from '../document/plan.ts';
import type { ExecutionIdentity, ExecutionRecord } from '../execution/records.ts';
import type { JobExecution } from '../jobs/messages.ts';
import { createExecutionDirectory } from '../store/execution-directory.ts';
import { openJournal } from '../store/journal.ts';
import { type Admission, admit, type RefusalCode } from './admission.ts';
import type { AgentDeps } from './agent.ts';
import type { Found, Stranded } from './agent-machine.ts';
import { type Book, keyOf } from './book.ts';
import { lostStateReceipt, observedReceipt } from './side-receipts.ts';

/** Finds the next execution and takes it in, or answers it with a refusal. */
export interface Seeker {
  /** What notify-next said last; saves asking for it. */
  offer(front: JobExecution | undefined): void;
  seek(stranded: Stranded | undefined): Promise<Found>;
}

const NOTHING: Found = {};

export function createSeeker(deps: AgentDeps, agent: { book(): Book; look(): void }): Seeker {
  const { jobs, clock, settings, log } = deps;
  let offered: JobExecution | undefined;
  /** Since when an execution waits in QUEUED, and whether it was observed, by key. */
  const waitingSince = new Map<string, number>();
  const observed = new Set<string>();

  const lookIn = (delayMs: number): void => {
    void clock.sleep(delayMs).then(() => agent.look());
  };

  const describeNext = async (): Promise<JobExecution | undefined> => {
    const reply = await jobs.describe('$next', { includeJobDocument: true });
    if (reply.kind === 'accepted') return reply.value;
    log.debug({ reply }, 'the next job is not known');
    lookIn(settings.queueRetryMs);
    return undefined;
  };

  const refuse = async (execution: JobExecution, code: RefusalCode, reason: string): Promise<Found> => {
    const { jobId, executionNumber, versionNumber } = execution;
    log.warn({ jobId, executionNumber, code, reason }, 'job rejected');
    const reply = await jobs.update(jobId, {
      status: 'REJECTED',
      statusDetails: { code, reason },
      expectedVersion: versionNumber,
      executionNumber,
    });
    if (reply.kind === 'accepted') return { again: true };
    lookIn(settings.queueRetryMs);
    return NOTHING;
  };

  /** S14, A5: before anything is held against an execution, it is described by its name. */
  const confirmed = async ({ jobId, executionNumber }: JobExecution): Promise<JobExecution | undefined> => {
    const reply = await jobs.describe(jobId, { executionNumber, includeJobDocument: true });
    return reply.kind === 'accepted' ? reply.value : undefined;
  };

  /** An execution that already has a journal, or is under way without one, is never run (I6). */
  const answerKnown = async (execution: JobExecution, key: string): Promise<Found> => {
    const now = await confirmed(execution);
    if (!now || keyOf(identityOf(now, settings.thing)) !== key) return { again: true };
    const book = agent.book();
    if (book.corrupt.has(key)) return refuse(now, 'journalCorrupt', book.corrupt.get(key) ?? '');
    if (book.closed.has(key)) return refuse(now, 'alreadyRun', 'this execution has been run and closed here');
    if (now.status !== 'IN_PROGRESS') return { again: true };
    await deps.outbox.add(`${key}-lost`, lostStateReceipt(identityOf(now, settings.thing), deps));
    deps.drainOutbox();
    return refuse(now, 'localStateLost', 'IN_PROGRESS, and this device has no journal of it');
  };

  const take = async (execution: JobExecution, only: 'any' | 'repair'): Promise<Found> => {
    const identity = identityOf(execution, settings.thing);
    const key = keyOf(identity);
    const book = agent.book();
    if (book.closed.has(key) || book.corrupt.has(key) || execution.status === 'IN_PROGRESS') {
      return answerKnown(execution, key);
    }
    if (observed.has(key)) return NOTHING;
    const directory = join(settings.stateDirectory, 'executions', key);
    const admission = await admit(execution.jobDocument, {
      facts: deps.facts,
      policy: settings.policy,
      disk: deps.disk,
      context: { ...deps.stepContext(key, directory), freshUrl: (step) => Promise.resolve(step.url) },
      reserveBytes: settings.reserveBytes,
    });
    if (only === 'repair' && !(admission.kind === 'admissible' && admission.plan.repair)) return NOTHING;
    return act(admission, execution, identity, key);
  };

  const act = async (
    admission: Admission,
    execution: JobExecution,
    identity: ExecutionIdentity,
    key: string,
  ): Promise<Found> => {
    switch (admission.kind) {
      case 'refused':
        return refuse(execution, admission.code, admission.reason);
      case 'waits': {
        const since = waitingSince.get(key) ?? clock.monotonicMs();
        waitingSince.set(key, since);
        if (clock.monotonicMs() - since > settings.queueWaitMs) {
          return refuse(execution, 'queueWait', `waited too long: ${admission.reason}`);
        }
        log.info({ jobId: identity.jobId, reason: admission.reason }, 'job waits in QUEUED');
        lookIn(settings.queueRetryMs);
        return NOTHING;
      }
      case 'admissible':
        waitingSince.delete(key);
        if (settings.mode === 'run') return { admitted: await admitted(admission, execution, identity, key) };
        observed.add(key);
        log.info({ jobId: identity.jobId, grade: admission.grade }, 'job observed, not started');
        await deps.outbox.add(`${key}-observed`, observedReceipt(identity, admission, deps));
        deps.drainOutbox();
        return NOTHING;
    }
  };

  /** The execution's directory is durable, with its first record, before the cloud hears of it. */
  const admitted = async (
    { plan, grades }: Admission & { kind: 'admissible' },
    execution: JobExecution,
    identity: ExecutionIdentity,
    key: string,
  ): Promise<string> => {
    const stored = {
      plan: withoutUrlQueries(plan) as Plan,
      document: withoutUrlQueries(execution.jobDocument),
    };
    const { directory, planSha256 } = await createExecutionDirectory(
      deps.disk,
      settings.stateDirectory,
      identity,
      {
        plan: stored,
        capacityBlocks: blocksFor(plan),
        head: (sha256) => ({
          type: 'received',
          at: clock.wallMs(),
          format: 1,
          identity,
          origin: { endpoint: settings.endpoint, machineId: deps.machineId },
          agentVersion: deps.agentVersion,
          bootId: deps.bootId,
          planSha256: sha256,
          grades,
          versionNumber: execution.versionNumber,
        }),
      },
    );
    const opened = await openJournal(deps.disk, join(directory, 'journal'));
    if (opened.kind !== 'ok') throw new Error(`internal error: the new journal ${key} is ${opened.kind}`);
    const { fold } = await import('../execution/progress.ts');
    const progress = fold(opened.records as unknown as ExecutionRecord[]);
    if (progress.planSha256 !== planSha256)
      throw new Error(`internal error: the new journal ${key} names another plan`);
    agent.book().open.set(key, { key, directory, journal: opened.journal, progress, stored, life: 'new' });
    return key;
  };

  /** INCONSISTENT: others stay QUEUED, untouched; the oldest that says `repair: true` is taken by its id. */
  const seekRepair = async (): Promise<Found> => {
    const reply = await jobs.getPending();
    if (reply.kind !== 'accepted') return NOTHING;
    const queued = [...reply.value.inProgressJobs, ...reply.value.queuedJobs].sort(
      (a, b) => a.queuedAt - b.queuedAt,
    );
    for (const { jobId, executionNumber } of queued) {
      const described = await jobs.describe(jobId, { executionNumber, includeJobDocument: true });
      if (described.kind !== 'accepted' || !described.value) continue;
      const found = await take(described.value, 'repair');
      if (found.admitted !== undefined) return found;
    }
    return NOTHING;
  };

  return {
    offer(front) {
      offered = front;
    },
    async seek(stranded) {
      if (stranded) return seekRepair();
      const front = offered ?? (await describeNext());
      offered = undefined;
      return front ? take(front, 'any') : NOTHING;
    },
  };
}

function identityOf({ jobId, executionNumber, queuedAt }: JobExecution, thing: string): ExecutionIdentity {
  return { thing, jobId, executionNumber, queuedAt };
}

/** Blocks that one step may need, forward and back with all its tries, and the rest of an execution. */
const BLOCKS_PER_STEP = 12;
const BLOCKS_BESIDES = 12;

function blocksFor(plan: Plan): number {
  return plan.steps.length * BLOCKS_PER_STEP + BLOCKS_BESIDES;
}
