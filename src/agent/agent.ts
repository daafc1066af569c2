import { type ActorRefFrom, createActor, fromPromise, toPromise } from 'xstate';
import type { DeviceFacts } from '../document/document.ts';
import type { Policy } from '../document/policy.ts';
import { deviceState } from '../execution/details.ts';
import type { ExecutionLimits } from '../execution/effects.ts';
import type { CommitPolicy } from '../execution/next-move.ts';
import { cancelOutlook, type Outlook } from '../execution/outlook.ts';
import type { Progress } from '../execution/progress.ts';
import type { ExecutionRecord } from '../execution/records.ts';
import type { Clock } from '../host/clock.ts';
import type { Disk } from '../host/disk.ts';
import type { Log } from '../host/log.ts';
import type { Processes } from '../host/processes.ts';
import type { Systemd } from '../host/systemd.ts';
import type { JobsClient } from '../jobs/client.ts';
import type { Outbox } from '../receipts/outbox.ts';
import type { StepContext } from '../steps/step.ts';
import type { Transport } from '../transport/port.ts';
import { agentMachine, type Standing } from './agent-machine.ts';
import { type Book, type OpenExecution, openBook, prune, strandedBy } from './book.ts';
import { Errands } from './errands.ts';
import { type Current, execute } from './execute.ts';
import { type Inhibition, Inhibitor } from './inhibition.ts';
import { type LocalJob, takeInLocal } from './local-job.ts';
import { createNotices, type Notices } from './notices.ts';
import { Refused } from './refused.ts';
import { finishRepairs, resolveAfterRepair } from './repair.ts';
import { type Resolution, type ResolveWanted, resolve } from './resolve.ts';
import { Seeker } from './seek.ts';
import { type Summary, summaryOf } from './summary.ts';

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
  systemd: Systemd;
  stepContext(key: string, directory: string): Omit<StepContext, 'freshUrl' | 'homeOf'>;
  /** What a connection hangs on, as one string that differs when it has changed. */
  linkFingerprint(): Promise<string>;
  facts: DeviceFacts;
  bootId: string;
  /** How long this boot has lasted; `undefined` where the kernel hides it. */
  uptimeMs(): Promise<number | undefined>;
  machineId: string;
  agentVersion: string;
  log: Log;
  onRecord?(key: string, record: ExecutionRecord): void;
  /** An execution has to turn back, and that is known from now on. */
  onTurn?(key: string): void;
  onRejected?(): void;
}

export interface Agent {
  start(): void;
  /** SIGTERM: what is under way is finished or left to the next start; nothing is cancelled. */
  drain(): Promise<void>;
  /** SIGHUP: ends as soon as no job is under way; what is goes on, and can still be cancelled. */
  leave(): Promise<void>;
  /** Turns the running job back, where that is still possible; `jobId` says which one is meant. */
  cancel(reason: string, jobId?: string): Cancelled;
  /** No job is begun, and with `steps` no step, until it is allowed again or the time is over. */
  inhibit(wanted: { reason: string; steps: boolean; forMs: number }): Promise<Inhibition>;
  /** A person answers for an INCONSISTENT device; throws `Refused` while a job is open. */
  resolve(wanted: ResolveWanted): Promise<Resolution>;
  /** Takes in a job of a person at the device; throws `Refused`. It runs when this resolves. */
  runLocal(document: unknown): Promise<LocalJob>;
  /** False when nothing was inhibited. */
  allow(): Promise<boolean>;
  status(): AgentStatus;
  /** `undefined` where no execution has that key. */
  summary(key: string): Promise<Summary | undefined>;
  /** Resolves when drained; rejects when the process has to end (the journal cannot be written, or a bug). */
  readonly done: Promise<void>;
}

export type Cancelled =
  | { ok: false; reason: string }
  | {
      ok: true;
      key: string;
      jobId: string;
      executionNumber: number;
      linkUp: boolean;
      how: Exclude<Outlook['kind'], 'tooLate'>;
    };

export interface AgentStatus {
  state: string;
  linkUp: boolean;
  stranded?: string;
  inhibited?: Inhibition;
  job?: { jobId: string; executionNumber: number; move: string };
}

/** The agent: one machine for its life, one execution at a time, every trigger of design section 5 wired to reconcile. */
export function createAgent(deps: AgentDeps): Agent {
  return new OneAtATime(deps);
}

class OneAtATime implements Agent {
  readonly done: Promise<void>;
  readonly #deps: AgentDeps;
  readonly #actor: ActorRefFrom<typeof agentMachine>;
  readonly #seeker: Seeker;
  readonly #notices: Notices;
  readonly #inhibitor: Inhibitor;
  readonly #errands: Errands;
  readonly #halted = new AbortController();
  readonly #end = new AbortController();
  #isDraining = false;
  #book: Book | undefined;
  #current: Current | undefined;
  /** How the job before this one ended, in a line. */
  #prev: string | undefined;

  constructor(deps: AgentDeps) {
    this.#deps = deps;
    this.#errands = new Errands(() => this.#actor.send({ type: 'ERRAND' }));
    this.#actor = createActor(this.#machine(), { input: { linkUp: deps.transport.up } });
    // Nothing is noticed any more by then.
    this.done = toPromise(this.#actor)
      .finally(() => {
        this.#end.abort(new Error('drained'));
        this.#errands.giveUpAll('the agent is shutting down');
      })
      .then(() => undefined);
    // `done` is handed out; nobody may be listening yet when it fails.
    this.done.catch(() => undefined);
    const look = (): void => this.#actor.send({ type: 'LOOK' });
    this.#inhibitor = new Inhibitor({
      ...deps,
      stateDirectory: deps.settings.stateDirectory,
      onChange: (inhibition) => {
        this.#hold(inhibition);
        look();
      },
    });
    this.#seeker = new Seeker(deps, {
      book: () => this.#opened,
      look,
      inhibited: () => this.#inhibitor.current,
    });
    this.#notices = createNotices(deps, {
      current: () => this.#current,
      onUp: () => this.#actor.send({ type: 'UP' }),
      onDown: () => this.#actor.send({ type: 'DOWN' }),
      onFront: (front) => {
        this.#seeker.offer(front);
        look();
      },
      onTick: look,
      onList: () => {
        // A repair may stand behind other jobs, where notify-next does not tell of it.
        if (this.#actor.getSnapshot().context.stranded) look();
      },
    });
  }

  start(): void {
    this.#actor.start();
    this.#notices.start(this.#end.signal);
  }

  async drain(): Promise<void> {
    const { clock, settings } = this.#deps;
    this.#isDraining = true;
    this.#actor.send({ type: 'DRAIN' });
    this.#current?.execution.send({ type: 'DRAIN' });
    const halt = clock
      .sleep(settings.drainMs, this.#end.signal)
      .then(() => {
        this.#halted.abort(new Error('the agent is shutting down'));
        this.#current?.execution.send({ type: 'HALT' });
      })
      .catch(() => undefined);
    await this.done;
    await halt;
    await this.#closeAll();
  }

  async leave(): Promise<void> {
    this.#actor.send({ type: 'DRAIN' });
    await this.done;
    await this.#closeAll();
  }

  async #closeAll(): Promise<void> {
    this.#inhibitor.close();
    this.#seeker.close();
    for (const { journal } of this.#book?.open.values() ?? []) await journal.close();
  }

  cancel(reason: string, jobId?: string): Cancelled {
    const current = this.#current;
    if (!current) return { ok: false, reason: 'no job runs here' };
    const { key, execution, plan } = current;
    const job = jobOf(current);
    const name = `${job.jobId}#${job.executionNumber}`;
    if (jobId !== undefined && jobId !== job.jobId) {
      return { ok: false, reason: `${jobId} does not run here; ${name} does` };
    }
    const { context } = this.#actor.getSnapshot();
    if (this.#isDraining) return { ok: false, reason: 'the agent is shutting down; ask it when it is back' };
    const outlook = cancelOutlook(plan, current.written(), execution.move);
    if (outlook.kind === 'tooLate') return { ok: false, reason: `${name}: ${outlook.reason}` };
    this.#deps.onTurn?.(key);
    execution.send({ type: 'CANCEL', cause: { by: 'local', reason } });
    const { jobId: id, executionNumber } = job;
    return { ok: true, key, jobId: id, executionNumber, linkUp: context.linkUp, how: outlook.kind };
  }

  inhibit(wanted: { reason: string; steps: boolean; forMs: number }): Promise<Inhibition> {
    return this.#inhibitor.set(wanted);
  }

  allow(): Promise<boolean> {
    return this.#inhibitor.lift();
  }

  async resolve(wanted: ResolveWanted): Promise<Resolution> {
    return this.#whenFree(async () => {
      const resolution = await resolve(this.#opened, wanted, this.#deps, this.#halted.signal);
      this.#deps.drainOutbox();
      return resolution;
    });
  }

  async runLocal(document: unknown): Promise<LocalJob> {
    return this.#whenFree(() => {
      const inhibited = this.#inhibitor.current;
      if (inhibited) throw new Refused(`inhibited: ${inhibited.reason}; evenkeel allow ends that`);
      return takeInLocal(document, this.#opened, this.#deps);
    });
  }

  /** Refused at once while a job is open: it may run for days. */
  async #whenFree<T>(task: () => Promise<T>): Promise<T> {
    if (this.#actor.getSnapshot().context.draining) throw new Refused('the agent is shutting down');
    const refuseIfOpen = (): void => {
      const [open] = this.#book?.open.values() ?? [];
      const { jobId, executionNumber } = open?.progress.identity ?? {};
      if (open) throw new Refused(`${jobId}#${executionNumber} is open; wait for its end, or cancel it`);
      const blocked = this.#book?.blocked;
      if (blocked) throw new Refused(blocked.reason);
    };
    refuseIfOpen();
    return this.#errands.ask(() => {
      refuseIfOpen();
      return task();
    });
  }

  #hold(inhibition: Inhibition | undefined): void {
    this.#current?.execution.send({ type: inhibition?.steps ? 'HOLD' : 'RELEASE' });
  }

  async summary(key: string): Promise<Summary | undefined> {
    return this.#book && summaryOf(key, this.#book, this.#current, this.#deps.disk);
  }

  status(): AgentStatus {
    const { value, context } = this.#actor.getSnapshot();
    const inhibited = this.#inhibitor.current;
    return {
      state: value,
      linkUp: context.linkUp,
      ...(context.stranded && { stranded: context.stranded.reason }),
      ...(inhibited && { inhibited }),
      ...(this.#current && { job: jobOf(this.#current) }),
    };
  }

  #machine() {
    return agentMachine.provide({
      actors: {
        open: fromPromise(() => this.#open()),
        errand: fromPromise(async () => {
          await this.#errands.runAll();
          return this.#standing();
        }),
        execute: fromPromise(({ input }) => this.#execute(input.key)),
        seek: fromPromise(({ input }) => this.#seeker.seek(input.stranded)),
      },
    });
  }

  get #opened(): Book {
    if (!this.#book) throw new Error('internal error: the book is not open yet');
    return this.#book;
  }

  async #open(): Promise<Standing> {
    const { disk, settings, log } = this.#deps;
    this.#book = await openBook(disk, settings.stateDirectory, log);
    await this.#inhibitor.load();
    if (!this.#book.blocked) await finishRepairs(this.#book, this.#deps);
    const found = this.#standing();
    if (found.stranded) log.error({ ...found.stranded }, 'stranded');
    return found;
  }

  #standing(): Standing {
    return { open: [...this.#opened.open.keys()], stranded: strandedBy(this.#opened) };
  }

  async #execute(key: string): Promise<Standing> {
    const opened = this.#opened.open.get(key);
    if (!opened) throw new Error(`internal error: no open journal ${key}`);
    const current = await execute(opened, this.#prev, this.#deps);
    this.#current = current;
    this.#hold(this.#inhibitor.current);
    this.#notices.now();
    try {
      const progress = await current.execution.done;
      if (progress.phase === 'closed') await this.#close(opened, progress);
    } finally {
      current.conversation.close();
      this.#current = undefined;
    }
    return this.#standing();
  }

  async #close({ key, directory, journal, stored }: OpenExecution, progress: Progress): Promise<void> {
    const { disk, clock, settings, log } = this.#deps;
    const book = this.#opened;
    await journal.close();
    book.open.delete(key);
    const closed = { key, directory, progress, closedAt: clock.wallMs() };
    book.closed.set(key, closed);
    this.#prev = prevOf(progress);
    log.info({ jobId: progress.identity.jobId, outcome: this.#prev }, 'job closed');
    if (stored.plan.repair && progress.commit)
      await resolveAfterRepair(book, closed, stored.plan, this.#deps);
    await prune(disk, book, settings.historyKeep);
    this.#deps.drainOutbox();
  }
}

function jobOf({ execution }: Current): NonNullable<AgentStatus['job']> {
  const { jobId, executionNumber } = execution.progress.identity;
  return { jobId, executionNumber, move: execution.move };
}

/** One line about a closed execution, for the next job's first update. */
function prevOf(progress: Progress): string {
  const { jobId, executionNumber } = progress.identity;
  return `${jobId}#${executionNumber} ${progress.verdict?.outcome ?? 'committed'} ${deviceState(progress)}`;
}
