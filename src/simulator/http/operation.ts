import type { z } from 'zod';

/** One row of the table of operations: what the API model says of it. */
export type ServiceName = 'iot' | 'iot-jobs-data' | 'iot-data';
export type Method = 'GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE';

export interface Operation<
  U extends z.ZodRawShape = z.ZodRawShape,
  Q extends z.ZodRawShape = z.ZodRawShape,
  B extends z.ZodRawShape = z.ZodRawShape,
> {
  service: ServiceName;
  method: Method;
  /** `{name}` is one percent-encoded segment; `{name+}` is the rest of the path. */
  path: string;
  uri: U;
  query: Q;
  body: B;
  /** Where the body is no JSON object of members but bytes. */
  payload: boolean;
  /** Names of the errors it may answer with. */
  errors: readonly string[];
}

interface Members<U extends z.ZodRawShape, Q extends z.ZodRawShape, B extends z.ZodRawShape> {
  uri?: U;
  query?: Q;
  body?: B;
  payload?: boolean;
  errors: readonly string[];
}

/** The members of a location that has none. */
// eslint-disable-next-line @typescript-eslint/no-generated-empty-object-type -- an index signature would swallow the others
type None = Record<never, never>;

export function operation<
  U extends z.ZodRawShape = None,
  Q extends z.ZodRawShape = None,
  B extends z.ZodRawShape = None,
>(service: ServiceName, route: `${Method} /${string}`, members: Members<U, Q, B>): Operation<U, Q, B> {
  const [method, path] = route.split(' ') as [Method, string];
  const { uri = {} as U, query = {} as Q, body = {} as B, payload = false, errors } = members;
  return { service, method, path, uri, query, body, payload, errors };
}

/** What a handler is given: every member that was sent, wherever it stood. */
export type Input<O> =
  O extends Operation<infer U, infer Q, infer B> ? z.output<z.ZodObject<U & Q & B>> : never;

/** Errors that most operations share, by the families of the API model. */
export const COMMON = ['InvalidRequestException', 'ThrottlingException'] as const;
export const JOB_ERRORS = [...COMMON, 'ResourceNotFoundException', 'ServiceUnavailableException'] as const;
