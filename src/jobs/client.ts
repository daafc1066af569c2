import type { Clock } from '../host/clock.ts';
import { type Transport, TransportError } from '../transport/port.ts';
import { type ErrorCode, errorCode } from './classify.ts';
import { legalDetails, type StatusDetails } from './details.ts';
import {
  type ExecutionState,
  type JobExecution,
  type PendingExecutions,
  parseJson,
  readDescribed,
  readNotify,
  readPending,
  readRejected,
  readUpdateAccepted,
  type UpdateAccepted,
} from './messages.ts';
import { jobsPrefix, requestTopics } from './topics.ts';

export type { UpdateAccepted } from './messages.ts';

/** What one request came to. `noAnswer` is never evidence of anything (I7). */
export type Reply<T> =
  | { kind: 'accepted'; value: T }
  | { kind: 'rejected'; code: ErrorCode; rawCode: string; message: string; executionState?: ExecutionState }
  | { kind: 'noAnswer'; reason: string };

export interface UpdateRequest {
  status: 'IN_PROGRESS' | 'SUCCEEDED' | 'FAILED' | 'REJECTED';
  statusDetails: StatusDetails;
  expectedVersion: number;
  executionNumber: number;
  includeJobExecutionState?: boolean;
  includeJobDocument?: boolean;
  /** 1 to 10080, or -1 to drop the timer (P25). */
  stepTimeoutInMinutes?: number;
}

export interface JobsListener {
  onNotify(pending: PendingExecutions): void;
  onNotifyNext(front: JobExecution | undefined): void;
}

/** AWS IoT Jobs for one thing, over MQTT. Requests are matched with their answers by client token (P2). */
export interface JobsClient {
  getPending(): Promise<Reply<PendingExecutions>>;
  /** `$next` is the front of the queue; accepted without an execution means that nothing is pending (P17). */
  describe(
    jobId: string,
    request: { executionNumber?: number; includeJobDocument: boolean },
  ): Promise<Reply<JobExecution | undefined>>;
  update(jobId: string, request: UpdateRequest): Promise<Reply<UpdateAccepted>>;
  /** Updates `state.reported` of the receipts' named shadow. */
  updateShadow(reported: object): Promise<Reply<unknown>>;
  /** Calls back on each notification; returns the function that ends it. */
  subscribe(listener: JobsListener): () => void;
  close(): void;
}

export interface JobsClientDeps {
  clock: Pick<Clock, 'sleep' | 'uuid'>;
  requestTimeoutMs: number;
  log: { warn(fields: object, message: string): void };
}

interface Waiting {
  /** The request's topic; answers come on `…/accepted` and `…/rejected` under it. */
  topic: string;
  answer(accepted: boolean, body: unknown): void;
  fail(reason: string): void;
}

export function createJobsClient(transport: Transport, thing: string, deps: JobsClientDeps): JobsClient {
  const prefix = jobsPrefix(thing);
  const topics = requestTopics(thing);
  const waiting = new Map<string, Waiting>();
  const listeners = new Set<JobsListener>();

  const answered = (topic: string, accepted: boolean, payload: Uint8Array): void => {
    const body = parseJson(payload);
    const token = (body as { clientToken?: unknown } | null | undefined)?.clientToken;
    const found = typeof token === 'string' ? waiting.get(token) : undefined;
    if (found?.topic === topic) found.answer(accepted, body);
  };

  const notified = (topic: string, payload: Uint8Array): void => {
    const body = parseJson(payload);
    const pending = topic === `${prefix}notify` ? readNotify(body) : undefined;
    const next = topic === `${prefix}notify-next` ? readDescribed(body) : undefined;
    if (!pending && !next) deps.log.warn({ topic }, 'a notification cannot be read');
    for (const listener of listeners) {
      if (pending) listener.onNotify(pending);
      if (next) listener.onNotifyNext(next.execution);
    }
  };

  const unsubscribe = transport.subscribe({
    onMessage({ topic, payload }) {
      const [, request, verdict] = /^(.*)\/(accepted|rejected)$/.exec(topic) ?? [];
      if (request !== undefined) answered(request, verdict === 'accepted', payload);
      else if (topic.startsWith(prefix)) notified(topic, payload);
    },
    onDown(reason) {
      // T4: answers go to the connection that asked, so none of these can come any more.
      for (const { fail } of [...waiting.values()]) fail(`the link ended: ${reason}`);
    },
  });

  async function request<T>(
    topic: string,
    body: object,
    read: (body: unknown) => T | undefined,
  ): Promise<Reply<T>> {
    const clientToken = deps.clock.uuid();
    const over = new AbortController();
    const reply = new Promise<Reply<T>>((resolve) => {
      waiting.set(clientToken, {
        topic,
        answer: (accepted, answer) => resolve(accepted ? acceptedReply(answer, read) : rejectedReply(answer)),
        fail: (reason) => resolve({ kind: 'noAnswer', reason }),
      });
    });
    const late = deps.clock.sleep(deps.requestTimeoutMs, over.signal).then(
      (): Reply<T> => ({ kind: 'noAnswer', reason: `no answer within ${deps.requestTimeoutMs} ms` }),
      (): Reply<T> => ({ kind: 'noAnswer', reason: 'answered' }),
    );
    const payload = Buffer.from(JSON.stringify({ ...body, clientToken }));
    // T7: PUBACK says nothing about the request, but its failure says that there is no use in waiting.
    const refused = transport.publish(topic, payload, deps.requestTimeoutMs).then(
      () => reply,
      (error: unknown): Reply<T> => {
        if (!(error instanceof TransportError)) throw error;
        return { kind: 'noAnswer', reason: error.message };
      },
    );
    try {
      return await Promise.race([reply, refused, late]);
    } finally {
      waiting.delete(clientToken);
      over.abort();
    }
  }

  return {
    getPending: () => request(topics.pending, {}, readPending),
    async describe(jobId, body) {
      const reply = await request(topics.describe(jobId), body, readDescribed);
      return reply.kind === 'accepted' ? { kind: 'accepted', value: reply.value.execution } : reply;
    },
    update: (jobId, body) =>
      request(
        topics.update(jobId),
        { ...body, statusDetails: legalDetails(body.statusDetails) },
        readUpdateAccepted,
      ),
    updateShadow: (reported) => request(topics.receiptShadow, { state: { reported } }, (body) => ({ body })),
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close() {
      unsubscribe();
      for (const { fail } of [...waiting.values()]) fail('closed');
    },
  };
}

function acceptedReply<T>(body: unknown, read: (body: unknown) => T | undefined): Reply<T> {
  const value = read(body);
  return value === undefined
    ? { kind: 'noAnswer', reason: 'the answer cannot be read' }
    : { kind: 'accepted', value };
}

function rejectedReply(body: unknown): Reply<never> {
  const read = readRejected(body);
  if (!read) return { kind: 'noAnswer', reason: 'the refusal cannot be read' };
  return {
    kind: 'rejected',
    code: errorCode(read.code),
    rawCode: read.code,
    message: read.message,
    ...(read.executionState && { executionState: read.executionState }),
  };
}
