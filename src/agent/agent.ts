import { createActor, fromPromise, toPromise } from 'xstate';
import type { DeviceFacts } from '../document/document.ts';
import type { Policy } from '../document/policy.ts';
import { deviceState } from '../execution/details.ts';
import type { ExecutionLimits } from '../execution/effects.ts';
import type { CommitPolicy } from '../execution/next-move.ts';
import type { Progress } from '../execution/progress.ts';
import type { ExecutionRecord } from '../execution/records.ts';
import type { Clock } from '../host/clock.ts';
import type { Disk } from '../host/disk.ts';
import type { Log } from '../host/log.ts';
import type { Processes } from '../host/processes.ts';
import type { JobsClient } from '../jobs/client.ts';
import type { Outbox } from '../receipts/outbox.ts';
import type { StepContext } from '../steps/step.ts';
import type { Transport } from '../transport/port.ts';
import { agentMachine, type Standing } from './agent-machine.ts';
import { type Book, openBook, prune, strandedBy } from './book.ts';
import { type Current, execute } from './execute.ts';
import { createNotices } from './notices.ts';
import { resolveAfterRepair } from './repair.ts';
import { Seeker } from './seek.ts';

/** What local configuration decides for the agent; times in milliseconds. */
export interface AgentSettings {
  thing: string;
  stateDirectory: string;
  /** Names the cloud that an answer has to come from to be evidence. */
  endpoint: string;
  mode: 'run' | 'observe';
  heartbeatMs: number;
  /** How long a job may wait in QUEUED for something that may come. */
  queueWaitMs: number;
  queueRetryMs: number;
  requestTimeoutMs: number;
  stepTimerMinutes: number;
  drainMs: number;
  reserveBytes: number;
  historyKeep: number;
  /** The agent's own config and credentials: part of what the link depends on. */
  linkPaths: readonly string[];
  commit: CommitPolicy;
  limits: ExecutionLimits;
  policy: Policy;
}

export interface AgentDeps {
  settings: AgentSettings;
  transport: Transport;
  jobs: JobsClient;
  outbox: Pick<Outbox, 'add'>;
  /** Tells the channel that there is something to drain; returns at once. */
  drainOutbox(): void;
  disk: Disk;
  clock: Clock;
  processes: Processes;
  stepContext(key: string, directory: string): Omit<StepContext, 'freshUrl'>;
  facts: DeviceFacts;
  bootId: string;
  machineId: string;
  agentVersion: string;
  log: Log;
  onRecord?(key: string, record: ExecutionRecord): void;
}

export interface Agent {
  start(): void;
  /** SIGTERM: what is under way is finished or left to the next start; nothing is cancelled. */
  drain(): Promise<void>;
  /** Turns the running job back; false when there is none, or it is past the point. */
  cancel(reason: string): boolean;
  status(): AgentStatus;
  /** Resolves when drained; rejects when the process has to end (the journal cannot be written, or a bug). */
  readonly done: Promise<void>;
}

export interface AgentStatus {
  state: string;
  linkUp: boolean;
  stranded?: string;
  job?: { jobId: string; executionNumber: number; move: string };
}

/** The agent: one machine for its life, one execution at a time, every trigger of design section 5 wired to reconcile. */
export function createAgent(deps: AgentDeps): Agent {
  const { settings, clock, transport, log } = deps;
  const end = new AbortController();
  let book: Book | undefined;
  let current: Current | undefined;
  let prev: string | undefined;

  const seeker = new Seeker(deps, {
    book: () => book!,
    look: () => actor.send({ type: 'LOOK' }),
  });

  const standing = (): Standing => ({ open: [...(book?.open.keys() ?? [])], stranded: strandedBy(book!) });

  const open = async (): Promise<Standing> => {
    book = await openBook(deps.disk, settings.stateDirectory, log);
    const found = standing();
    if (found.stranded) log.error({ ...found.stranded }, 'stranded');
    return found;
  };

  const executeOne = async (key: string): Promise<Standing> => {
    const opened = book!.open.get(key)!;
    current = await execute(opened, prev, deps);
    notices.now();
    try {
      const progress = await current.execution.done;
      if (progress.phase === 'closed') await close(key, progress);
    } finally {
      current.conversation.close();
      current = undefined;
    }
    return standing();
  };

  const close = async (key: string, progress: Progress): Promise<void> => {
    const { directory, journal, stored } = book!.open.get(key)!;
    await journal.close();
    book!.open.delete(key);
    book!.closed.set(key, { key, directory, progress, closedAt: clock.wallMs() });
    prev = prevOf(progress);
    log.info({ jobId: progress.identity.jobId, outcome: prev }, 'job closed');
    if (stored.plan.repair && progress.commit) await resolveAfterRepair(book!, stored.plan, deps);
    await prune(deps.disk, book!, settings.historyKeep);
    deps.drainOutbox();
  };

  const actor = createActor(
    agentMachine.provide({
      actors: {
        open: fromPromise(open),
        execute: fromPromise(({ input }) => executeOne(input.key)),
        seek: fromPromise(({ input }) => seeker.seek(input.stranded)),
      },
    }),
    { input: { linkUp: transport.up } },
  );
  const done = toPromise(actor).then(() => undefined);
  // `done` is handed out; nobody may be listening yet when it fails.
  done.catch(() => undefined);

  const notices = createNotices(deps, {
    current: () => current,
    onUp: () => actor.send({ type: 'UP' }),
    onDown: () => actor.send({ type: 'DOWN' }),
    onFront: (front) => {
      seeker.offer(front);
      actor.send({ type: 'LOOK' });
    },
    onTick: () => actor.send({ type: 'LOOK' }),
  });

  return {
    start() {
      actor.start();
      notices.start(end.signal);
    },
    async drain() {
      actor.send({ type: 'DRAIN' });
      current?.execution.send({ type: 'DRAIN' });
      const halt = clock
        .sleep(settings.drainMs, end.signal)
        .then(() => current?.execution.send({ type: 'HALT' }))
        .catch(() => undefined);
      await done.finally(() => end.abort(new Error('drained')));
      await halt;
      for (const { journal } of book?.open.values() ?? []) await journal.close();
    },
    cancel(reason) {
      if (!current || current.execution.progress.direction === 'back') return false;
      current.execution.send({ type: 'CANCEL', cause: { by: 'local', reason } });
      return true;
    },
    status() {
      const { value, context } = actor.getSnapshot();
      const identity = current?.execution.progress.identity;
      return {
        state: value,
        linkUp: context.linkUp,
        ...(context.stranded && { stranded: context.stranded.reason }),
        ...(current &&
          identity && {
            job: {
              jobId: identity.jobId,
              executionNumber: identity.executionNumber,
              move: current.execution.move,
            },
          }),
      };
    },
    done,
  };
}

/** One line about a closed execution, for the next job's first update. */
function prevOf(progress: Progress): string {
  const { jobId, executionNumber } = progress.identity;
  return `${jobId}#${executionNumber} ${progress.verdict?.outcome ?? 'committed'} ${deviceState(progress)}`;
}
