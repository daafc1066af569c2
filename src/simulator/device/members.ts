import { type Details, Refusal, type Status } from '../service/types.ts';

/**
 * Members of device requests. What is missing or `null` is `undefined`; what is wrong is InvalidRequest, and says what
 * (E3, P26). Unknown members are nobody's matter (P5).
 */

export type Body = Readonly<Record<string, unknown>>;

/** L5-L7, L9 */
const DETAILS_MAX = 10;
const DETAILS_KEY = /^[a-zA-Z0-9:_-]{1,128}$/;
const DETAILS_VALUE = /^[^\p{C}]{1,1024}$/u;
const STEP_MINUTES_MAX = 10_080;
/** L1 */
const JOB_ID = /^[a-zA-Z0-9_-]{1,64}$/;

const invalid = (text: string): Refusal => new Refusal('InvalidRequest', text);

/** P6: a number, or its decimal text. */
export function numberIn(body: Body, name: string): number | undefined {
  const value = body[name];
  if (value === undefined || value === null) return undefined;
  const number = typeof value === 'string' && /^-?\d{1,15}$/.test(value) ? Number(value) : value;
  if (typeof number !== 'number' || !Number.isSafeInteger(number))
    throw invalid(`${name}: must be a whole number`);
  return number;
}

export function booleanIn(body: Body, name: string): boolean | undefined {
  const value = body[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'boolean') throw invalid(`${name}: must be true or false`);
  return value;
}

/** P25, L9 */
export function stepTimeoutIn(body: Body): number | undefined {
  const minutes = numberIn(body, 'stepTimeoutInMinutes');
  if (minutes === undefined || minutes === -1 || (minutes >= 1 && minutes <= STEP_MINUTES_MAX))
    return minutes;
  throw invalid(`stepTimeoutInMinutes: must be -1, or 1 to ${STEP_MINUTES_MAX}`);
}

/** P21: which of the statuses a device may report is the service's to say. */
export function statusIn(body: Body): Status {
  const { status } = body as { status?: unknown };
  if (typeof status !== 'string') throw invalid('status: must be given');
  return status as Status;
}

/** L5-L7, P26 */
export function detailsIn(body: Body): Details | undefined {
  const value = body['statusDetails'];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'object' || Array.isArray(value)) throw invalid('statusDetails: must be an object');
  const pairs = Object.entries(value);
  if (pairs.length > DETAILS_MAX) throw invalid(`statusDetails: at most ${DETAILS_MAX} pairs`);
  for (const [key, text] of pairs) {
    if (!DETAILS_KEY.test(key))
      throw invalid(`statusDetails: the key "${key}" must match [a-zA-Z0-9:_-]{1,128}`);
    if (typeof text !== 'string' || !DETAILS_VALUE.test(text))
      throw invalid(`statusDetails.${key}: must be 1 to 1024 characters, without control characters`);
  }
  return Object.fromEntries(pairs) as Details;
}

export function jobIdIn(target: string): string {
  if (!JOB_ID.test(target)) throw invalid(`jobId: "${target}" must match [a-zA-Z0-9_-]{1,64}`);
  return target;
}

/** P2: echoed when given, absent when not. */
export function clientTokenIn(body: Body): { clientToken?: string } {
  const token = body['clientToken'];
  return typeof token === 'string' ? { clientToken: token } : {};
}

/** P1: a UTF-8 JSON object; nothing at all counts as an empty one. `undefined` is InvalidJson (E2). */
export function parseBody(payload: Uint8Array): Record<string, unknown> | undefined {
  if (payload.length === 0) return {};
  try {
    const value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload)) as unknown;
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}
