import { type DevicePlane, type DeviceRequest, parseTopic } from '../device/device-plane.ts';
import type { Faults } from '../faults.ts';
import { Refusal, type SimulatorClock } from '../service/types.ts';

export interface RequestsDeps {
  plane: DevicePlane;
  faults: Faults;
  clock: SimulatorClock;
}

/** Hands an answer to whoever asked; how, is the broker's matter. */
export type Reply = (topic: string, payload: Buffer) => void;

/** Answers what was published to a request topic; `false` where the topic is none, and nobody will answer. */
export type Requests = (topic: string, payload: Buffer, reply: Reply) => boolean;

/** What the service itself publishes below `$aws/things/+/`, and what is asked of it, told apart by the end. */
const TOLD_BY_THE_SERVICE = /\/(accepted|rejected|delta|documents|notify|notify-next)$/;

export function createRequests(deps: RequestsDeps): Requests {
  return (topic, payload, reply) => {
    const parsed = parseTopic(topic);
    if (parsed) {
      void answer(topic, { ...parsed, body: parseBody(payload) ?? {} }, payload, reply, deps);
      return true;
    }
    return false;
  };
}

/** True for a topic on which devices only listen. */
export function isTold(topic: string): boolean {
  return TOLD_BY_THE_SERVICE.test(topic);
}

async function answer(
  topic: string,
  request: DeviceRequest,
  payload: Buffer,
  reply: Reply,
  { plane, faults, clock }: RequestsDeps,
): Promise<void> {
  const base = { timestamp: Math.floor(clock.wallMs() / 1000), clientToken: request.body['clientToken'] };
  const fault = await faults.request(request);
  if (fault.kind === 'drop') return;
  const refusal =
    parseBody(payload) === undefined
      ? new Refusal('InvalidJson', 'the payload is no JSON object')
      : refusalOf(fault);
  const answered = refusal ? plane.refuse(request, refusal, base) : plane.answer(request);
  if ((await faults.answer(request, answered)).kind === 'drop') return;
  reply(`${topic}/${answered.verdict}`, Buffer.from(JSON.stringify(answered.body)));
}

function refusalOf(fault: { kind: string; code?: string }): Refusal | undefined {
  return fault.kind === 'reject'
    ? new Refusal(fault.code ?? 'InternalError', 'a fault on purpose')
    : undefined;
}

/** P1: an empty payload is an empty object. */
function parseBody(payload: Buffer): Record<string, unknown> | undefined {
  if (payload.length === 0) return {};
  try {
    const value = JSON.parse(payload.toString('utf8')) as unknown;
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}
