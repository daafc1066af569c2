import { scheduler } from 'node:timers/promises';
import { Refusal } from '../service/types.ts';
import type { CallContext, Handlers, HttpPlaneDeps } from './deps.ts';
import { errorAnswer, HttpRefusal } from './errors.ts';
import { handlersOf } from './handlers/all.ts';
import type { ServiceName } from './operation.ts';
import { type Route, routed, servicesOf } from './route.ts';
import { faultOfHeader, type SignatureFault, type SignedRequest, scopeOf } from './signature.ts';
import { nameOf } from './table.ts';
import { validated } from './validate.ts';

/**
 * The one way that every call of every service goes: signature, route, members, fault, handler, and only when all that
 * was changed is durable the answer.
 */

/** Bounds what is read of a request; the largest that is legal is a few documents long. */
export const BODY_BYTES_MAX = 1024 * 1024;

interface Call {
  service: ServiceName;
  operation: string;
  input: Record<string, unknown>;
}

/** Resolves when the answer of the request has left. */
export type Sent = () => Promise<void>;

export function createEdge(deps: HttpPlaneDeps): (request: Request, sent?: Sent) => Promise<Response> {
  const handlers = handlersOf(deps);
  let count = 0;
  return async (request, sent = () => scheduler.yield()) => {
    count += 1;
    const call: Call = { service: deps.services?.[0] ?? 'iot', operation: 'Unknown', input: {} };
    const answer = await answered(request, call, handlers, { ...deps, sent });
    answer.headers.set('x-amzn-requestid', `00000000-0000-4000-8000-${count.toString(16).padStart(12, '0')}`);
    const error = answer.headers.get('x-amzn-errortype');
    deps.onCall?.({ ...call, status: answer.status, ...(error !== null && { error }) });
    return answer;
  };
}

async function answered(
  request: Request,
  call: Call,
  handlers: Handlers,
  deps: HttpPlaneDeps & { sent: Sent },
): Promise<Response> {
  // N20: what a call makes known leaves behind its answer. Only reads are long enough to be slow on their way.
  let release: () => void = () => undefined;
  let isPerformed = false;
  try {
    const result = await performed(request, call, handlers, deps, (act) => {
      if (request.method === 'GET') act();
      else release = deps.service.holdWhile(act);
    });
    isPerformed = true;
    // E7: when that fails, nothing is made known at all.
    await deps.service.saved();
    void deps.sent().then(release, release);
    return result === undefined ? new Response(null, { status: 200 }) : json(200, result);
  } catch (error) {
    const refusal = error instanceof Refusal ? error : new Refusal('InternalError', internal(error));
    if (!isPerformed) release();
    const { httpStaleVersionError } = deps.service.switches;
    const { status, name, body } = errorAnswer(call.service, refusal, httpStaleVersionError);
    return json(status, body, { 'x-amzn-errortype': name });
  }
}

async function performed(
  request: Request,
  call: Call,
  handlers: Handlers,
  deps: HttpPlaneDeps,
  hold: (act: () => void) => void,
): Promise<object | undefined> {
  const url = new URL(request.url);
  const { headers, method } = request;
  const signedFor = scopeOf(url, headers)?.service;
  const services = deps.services ?? servicesOf(signedFor);
  call.service = services[0] ?? 'iot';
  const body = await bodyOf(request);
  checkSignature({ method, url, headers, body }, deps);
  const route = routed(services, method, url.pathname);
  if (!route) throw new HttpRefusal('UnknownOperation', `No operation is ${method} ${url.pathname}`);
  const { operation, uri } = route;
  call.service = operation.service;
  call.operation = nameOf(route.key);
  const members = operation.payload ? undefined : jsonOf(body);
  call.input = validated(operation, { uri, query: url.searchParams, body: members });
  const fault = await deps.faults?.(call.service, call.operation, call.input);
  if (fault) throw new Refusal(fault.code, fault.message ?? 'a fault on purpose');
  let result: ReturnType<typeof handled>;
  hold(() => {
    result = handled(handlers, route, call.input, { host: headers.get('host') ?? url.host, payload: body });
  });
  return await result;
}

/** The table has typed each handler's input; a route only knows that it is one of them. */
function handled(
  handlers: Handlers,
  { key }: Route,
  input: Record<string, unknown>,
  context: CallContext,
): object | undefined | Promise<object | undefined> {
  const handler = handlers[key] as (
    input: Record<string, unknown>,
    context: CallContext,
  ) => object | undefined | Promise<object | undefined>;
  return handler(input, context);
}

const SIGNATURE_FAULTS: Record<SignatureFault, [code: string, message: string]> = {
  missing: ['MissingAuthenticationToken', 'Missing Authentication Token'],
  incomplete: ['IncompleteSignature', 'The Authorization header lacks a part.'],
  unknownKey: ['UnrecognizedClient', 'The security token included in the request is invalid.'],
  wrong: [
    'InvalidSignature',
    'The request signature we calculated does not match the signature you provided.',
  ],
  expired: ['InvalidSignature', 'Signature expired'],
};

function checkSignature(request: SignedRequest, { checkSignatures }: HttpPlaneDeps): void {
  if (!checkSignatures || isOwnPage(request)) return;
  const secretOf = (id: string): string | undefined =>
    checkSignatures.find(({ accessKeyId }) => accessKeyId === id)?.secretAccessKey;
  const fault = faultOfHeader(request, secretOf);
  if (fault) throw new HttpRefusal(...SIGNATURE_FAULTS[fault]);
}

/** The console has no secret to sign with. A browser says where its page is from, and lets no page say otherwise. */
function isOwnPage({ headers }: SignedRequest): boolean {
  if (headers.has('authorization')) return false;
  const origin = headers.get('origin')?.replace(/^https?:\/\//, '');
  return headers.get('sec-fetch-site') === 'same-origin' || (origin ?? '') === headers.get('host');
}

async function bodyOf(request: Request): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of request.body ?? []) {
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX)
      throw new HttpRefusal('RequestEntityTooLarge', `A request has at most ${BODY_BYTES_MAX} bytes.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** C7: nothing at all is an empty object. */
function jsonOf(body: Uint8Array): unknown {
  if (body.length === 0) return {};
  try {
    const value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body)) as unknown;
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  } catch {
    // Said below.
  }
  throw new HttpRefusal('InvalidRequest', 'The body is no JSON object.');
}

function json(status: number, body: object, headers: Record<string, string> = {}): Response {
  const text = JSON.stringify(body);
  return new Response(text, { status, headers: { 'content-type': 'application/json', ...headers } });
}

function internal(error: unknown): string {
  return `internal error: ${error instanceof Error ? error.message : String(error)}`;
}
