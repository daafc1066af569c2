import { z } from 'zod';

/**
 * What arrives from AWS IoT Jobs, read at the edge. Unknown members are ignored, absent and null are the same, and
 * numbers may come as text (N1, P4-P6). What cannot be read is `undefined`, never a throw.
 */

const wholeNumber = z.union([
  z.number().int(),
  z
    .string()
    .regex(/^\d{1,15}$/)
    .transform(Number),
]);

const status = z.enum([
  'QUEUED',
  'IN_PROGRESS',
  'SUCCEEDED',
  'FAILED',
  'REJECTED',
  'TIMED_OUT',
  'REMOVED',
  'CANCELED',
]);

const optional = <T extends z.ZodType>(type: T) => type.nullish().transform((value) => value ?? undefined);

/** L1: a job id is safe in a topic. */
const jobId = z.string().regex(/^[a-zA-Z0-9_-]{1,64}$/);

const summary = z.object({
  jobId,
  queuedAt: wholeNumber,
  executionNumber: wholeNumber,
  versionNumber: wholeNumber,
});

const execution = summary.extend({
  status,
  approximateSecondsBeforeTimedOut: optional(wholeNumber).catch(undefined),
  jobDocument: z.unknown().optional().transform(documentOf),
});

const executionState = z.object({ status, versionNumber: wholeNumber });

const described = z.object({ execution: optional(execution) });
const summaries = optional(z.array(summary)).transform((list) => list ?? []);
const pending = z.object({ inProgressJobs: summaries, queuedJobs: summaries });
const notify = z.object({ jobs: optional(z.object({ IN_PROGRESS: summaries, QUEUED: summaries })) });
const updateAccepted = z.object({
  executionState: optional(executionState),
  jobDocument: z.unknown().optional().transform(documentOf),
});
const rejected = z.object({
  code: optional(z.union([z.string(), z.number()])).transform((code) => String(code ?? 'no code')),
  message: optional(z.string()).transform((message) => message ?? ''),
  executionState: optional(executionState).catch(undefined),
});

/** An execution as `notify-next` and describe tell it. */
export type JobExecution = z.infer<typeof execution>;
export type JobSummary = z.infer<typeof summary>;
export type ExecutionState = z.infer<typeof executionState>;
/** Oldest first in each list (P10). */
export interface PendingExecutions {
  inProgressJobs: readonly JobSummary[];
  queuedJobs: readonly JobSummary[];
}
export type UpdateAccepted = z.infer<typeof updateAccepted>;
export type Rejection = z.infer<typeof rejected>;

/** JSON of a payload; `undefined` when it is none. */
export function parseJson(payload: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(payload).toString('utf8')) as unknown;
  } catch {
    return undefined;
  }
}

function reader<T>(schema: z.ZodType<T>): (body: unknown) => T | undefined {
  return (body) => {
    const read = schema.safeParse(body);
    return read.success ? read.data : undefined;
  };
}

export const readDescribed = reader(described);
export const readPending = reader(pending);
export const readUpdateAccepted = reader(updateAccepted);
export const readRejected = reader(rejected);
const readNotifyBody = reader(notify);

/** N1: an empty list, a missing key and `{}` mean the same. */
export function readNotify(body: unknown): PendingExecutions | undefined {
  const read = readNotifyBody(body);
  return read && { inProgressJobs: read.jobs?.IN_PROGRESS ?? [], queuedJobs: read.jobs?.QUEUED ?? [] };
}

/** P7: an object on MQTT, text on the HTTPS plane; some gateways send text here too. */
function documentOf(value: unknown): unknown {
  if (typeof value !== 'string') return value;
  try {
    return JSON.parse(value) as unknown;
  } catch {
    return value;
  }
}

/** A FreeRTOS OTA job: another agent's work. */
export function isFreeRtosOta(document: unknown): boolean {
  return typeof document === 'object' && document !== null && 'afr_ota' in document;
}
