import { thingArn } from '../service/jobs-service.ts';
import type { Shadows } from '../service/shadows.ts';
import {
  type Details,
  type Execution,
  type Job,
  Refusal,
  type SimulatorClock,
  type Status,
} from '../service/types.ts';
import { type Book, type Counts, executionKey, RECEIPT_SHADOW, type Recorded, receiptIn } from './book.ts';
import type { HistoryEntry } from './history.ts';
import { type ConsoleTrace, type TraceRow, traceFilter, traceRow } from './trace-view.ts';

/** What the page is told, as JSON: lists by the page, and one thing, job or execution as a whole. */

export interface Page<T> {
  total: number;
  offset: number;
  items: T[];
}

export interface Overview {
  nowMs: number;
  things: number;
  connected: number;
  jobs: number;
  mqttUrl: string;
  httpUrl: string;
  /** A thing's name after it is the thing's ARN. */
  thingArnPrefix: string;
}

export interface ThingRow {
  thing: string;
  connected: boolean;
  queued: number;
  inProgress: number;
  /** The condition that the agent's last receipt left the device in. */
  condition?: string;
}

export interface JobRow {
  jobId: string;
  status: Job['status'];
  createdAt: number;
  counts: Counts;
}

export interface ExecutionRow {
  key: string;
  thing: string;
  jobId: string;
  executionNumber: number;
  status: Status;
  versionNumber: number;
  lastUpdatedAt: number;
  forceCanceled: boolean;
  outcome?: string;
}

export interface ThingView extends ThingRow {
  shadows: { name: string; version: number; state: unknown }[];
}

export interface JobView extends JobRow {
  document: string;
  description?: string;
  comment?: string;
  reasonCode?: string;
  targetSelection: string;
  targets: string[];
  forceCanceled: boolean;
  completedAt?: number;
  inProgressTimeoutInMinutes?: number;
  /** Things that the rollout has not reached yet. */
  waiting?: number;
}

export interface ExecutionView extends ExecutionRow {
  details: Details;
  queuedAt: number;
  startedAt?: number;
  secondsLeft?: number;
  retryAttempt: number;
  connected: boolean;
  /** Other attempts of this job on this thing. */
  attempts: { key: string; executionNumber: number; status: Status }[];
  document?: string;
  history: HistoryEntry[];
  historyLeft: number;
  receipt?: Record<string, unknown>;
}

export interface ViewsService {
  jobs(): readonly Job[];
  job(jobId: string): Job;
  waitingThings(jobId: string): number;
  hasThing(thing: string): boolean;
  secondsLeft(execution: Execution): number | undefined;
}

export interface ViewsDeps {
  service: ViewsService;
  shadows: Pick<Shadows, 'get' | 'names'>;
  book: Book;
  trace: ConsoleTrace;
  clock: SimulatorClock;
  mqttUrl: string;
}

export interface ListQuery {
  search: string;
  offset: number;
  limit: number;
}

/** Lines of the trace that one answer holds at most. */
const TRACE_MAX = 500;

export class Views {
  readonly #deps: ViewsDeps;

  constructor(deps: ViewsDeps) {
    this.#deps = deps;
  }

  overview(httpUrl: string): Overview {
    const { book, service, clock, mqttUrl } = this.#deps;
    const things = book.things();
    return {
      nowMs: clock.wallMs(),
      things: things.length,
      connected: things.filter((thing) => book.presence.isConnected(thing)).length,
      jobs: service.jobs().length,
      mqttUrl,
      httpUrl,
      thingArnPrefix: thingArn(''),
    };
  }

  things(query: ListQuery): Page<ThingRow> {
    const found = searched(this.#deps.book.things(), query.search, (thing) => thing);
    return page(found, query, (thing) => this.#thingRow(thing));
  }

  jobs(query: ListQuery): Page<JobRow> {
    const newestFirst = [...this.#deps.service.jobs()].reverse();
    return page(
      searched(newestFirst, query.search, ({ jobId }) => jobId),
      query,
      (job) => this.#jobRow(job),
    );
  }

  /** Of a thing the newest first, of a job in the order of things. */
  executions(of: { thing?: string; jobId?: string }, status: string, query: ListQuery): Page<ExecutionRow> {
    const { book } = this.#deps;
    const all = of.thing === undefined ? book.ofJob(of.jobId ?? '') : book.ofThing(of.thing).reverse();
    const wanted = status === '' ? all : all.filter((one) => one.status === status);
    const name = ({ execution }: Recorded): string =>
      of.thing === undefined ? execution.thing : execution.jobId;
    return page(searched(wanted, query.search, name), query, executionRow);
  }

  thing(thing: string): ThingView | undefined {
    const { service, shadows } = this.#deps;
    if (!service.hasThing(thing)) return undefined;
    const shown = shadows.names(thing).flatMap((name) => {
      const shadow = shadows.get(thing, name);
      return shadow ? [{ name, version: shadow.version, state: shadow.state }] : [];
    });
    return { ...this.#thingRow(thing), shadows: shown };
  }

  job(jobId: string): JobView | undefined {
    const job = this.#job(jobId);
    if (!job) return undefined;
    const { description, comment, reasonCode, completedAt } = job;
    const minutes = job.timeoutConfig?.inProgressTimeoutInMinutes;
    const waiting = this.#deps.service.waitingThings(jobId);
    return {
      ...this.#jobRow(job),
      document: job.document,
      targetSelection: job.targetSelection,
      targets: job.targets,
      forceCanceled: job.forceCanceled ?? false,
      ...(description !== undefined && { description }),
      ...(comment !== undefined && { comment }),
      ...(reasonCode !== undefined && { reasonCode }),
      ...(completedAt !== undefined && { completedAt }),
      ...(minutes !== undefined && { inProgressTimeoutInMinutes: minutes }),
      ...(waiting > 0 && { waiting }),
    };
  }

  execution(thing: string, jobId: string, executionNumber: number): ExecutionView | undefined {
    const { book, service } = this.#deps;
    const recorded = book.execution(executionKey(thing, jobId, executionNumber));
    if (!recorded) return undefined;
    const { execution, history, receipt } = recorded;
    const left = service.secondsLeft(execution);
    const job = this.#job(jobId);
    return {
      ...executionRow(recorded),
      details: execution.statusDetails,
      queuedAt: execution.queuedAt,
      retryAttempt: execution.retryAttempt,
      connected: book.presence.isConnected(thing),
      attempts: book
        .ofThing(thing)
        .filter((one) => one.execution.jobId === jobId)
        .map((one) => ({
          key: one.key,
          executionNumber: one.execution.executionNumber,
          status: one.status,
        })),
      history: history.entries,
      historyLeft: history.left,
      ...(execution.startedAt !== undefined && { startedAt: execution.startedAt }),
      ...(left !== undefined && { secondsLeft: left }),
      ...(job && { document: job.document }),
      ...(receipt && { receipt }),
    };
  }

  /** Newest last. */
  trace(search: string): TraceRow[] {
    const found = this.#deps.trace.since(0).filter(traceFilter(search));
    return found.slice(-TRACE_MAX).map(traceRow);
  }

  payload(sequence: number): string | undefined {
    const [entry] = this.#deps.trace.since(sequence - 1);
    return entry?.kind === 'message' && entry.sequence === sequence ? entry.payload : undefined;
  }

  #job(jobId: string): Job | undefined {
    try {
      return this.#deps.service.job(jobId);
    } catch (error) {
      if (error instanceof Refusal) return undefined;
      throw error;
    }
  }

  #thingRow(thing: string): ThingRow {
    const { book, shadows } = this.#deps;
    const executions = book.ofThing(thing);
    const state = shadows.get(thing, RECEIPT_SHADOW)?.state as
      | { reported?: { condition?: unknown } }
      | undefined;
    const condition = receiptIn(state) ? state?.reported?.condition : undefined;
    return {
      thing,
      connected: book.presence.isConnected(thing),
      queued: executions.filter(({ status }) => status === 'QUEUED').length,
      inProgress: executions.filter(({ status }) => status === 'IN_PROGRESS').length,
      ...(typeof condition === 'string' && { condition }),
    };
  }

  #jobRow({ jobId, status, createdAt }: Job): JobRow {
    return { jobId, status, createdAt, counts: this.#deps.book.countsOf(jobId) };
  }
}

function executionRow({ key, execution, receipt }: Recorded): ExecutionRow {
  const {
    thing,
    jobId,
    executionNumber,
    status,
    versionNumber,
    lastUpdatedAt,
    forceCanceled = false,
  } = execution;
  const outcome = receipt?.['outcome'];
  return {
    key,
    thing,
    jobId,
    executionNumber,
    status,
    versionNumber,
    lastUpdatedAt,
    forceCanceled,
    ...(typeof outcome === 'string' && { outcome }),
  };
}

function searched<T>(all: readonly T[], search: string, name: (one: T) => string): readonly T[] {
  const wanted = search.trim().toLowerCase();
  return wanted === '' ? all : all.filter((one) => name(one).toLowerCase().includes(wanted));
}

function page<T, U>(all: readonly T[], { offset, limit }: ListQuery, view: (one: T) => U): Page<U> {
  return { total: all.length, offset, items: all.slice(offset, offset + limit).map(view) };
}
