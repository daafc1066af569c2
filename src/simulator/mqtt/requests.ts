import {
  type Answering,
  type DevicePlane,
  type DeviceRequest,
  parseBody,
  parseProvisioningTopic,
  parseTopic,
} from '../device/device-plane.ts';
import type { Operation, ProvisioningOperation } from '../device/topics.ts';
import type { Faults } from '../faults.ts';
import { Refusal, type SimulatorClock } from '../service/types.ts';

export interface RequestsDeps {
  plane: DevicePlane;
  provisioning: Answering<ProvisioningOperation>;
  faults: Faults;
  clock: SimulatorClock;
}

/** Whoever asks: a connection, or a whole broker where nothing tells who it was. */
export interface Asker {
  readonly client: string;
  /** Hands over an answer; one that is not connected any more gets none. */
  deliver(topic: string, payload: Buffer): void;
  /** The same, but on the next connection of this client where there is none now. */
  deliverLater(topic: string, payload: Buffer): void;
  end(reason: string): void;
}

/** Answers what was published on a topic of jobs, shadows or provisioning. */
export type Requests = (topic: string, payload: Buffer, asker: Asker) => void;

/** What the service itself publishes below `$aws/things/+/`, and what is asked of it, told apart by the end. */
const TOLD_BY_THE_SERVICE = /\/(accepted|rejected|delta|documents|notify|notify-next)$/;
const JOBS = /^\$aws\/things\/[^/]+\/jobs\//;

export function createRequests(deps: RequestsDeps): Requests {
  return (topic, payload, asker) => {
    const body = parseBody(payload);
    // A disk that fails must not look like a service that says no.
    const ended = (error: unknown): void => asker.end(`cannot answer: ${String(error)}`);
    const parsed = parseTopic(topic);
    if (parsed) {
      const request = { ...parsed, body: body ?? {} };
      answer(topic, request, body !== undefined, asker, deps.plane, deps).catch(ended);
      return;
    }
    const asked = parseProvisioningTopic(topic);
    if (asked) {
      const request = { ...asked, thing: asker.client, body: body ?? {} };
      // CreateKeysAndCertificate has no payload.
      const isJson = body !== undefined || payload.length === 0;
      answer(topic, request, isJson, asker, deps.provisioning, deps).catch(ended);
      return;
    }
    if (!JOBS.test(topic)) return;
    // E1, E11
    const token = body?.['clientToken'];
    const rejected = {
      ...(typeof token === 'string' && { clientToken: token }),
      timestamp: secondsOf(deps.clock),
      code: 'InvalidTopic',
      message: `no operation at ${topic}`,
    };
    asker.deliver(`${topic}/rejected`, Buffer.from(JSON.stringify(rejected)));
  };
}

/** True for a topic on which devices only listen. */
export function isTold(topic: string): boolean {
  return TOLD_BY_THE_SERVICE.test(topic);
}

async function answer<O extends Operation>(
  topic: string,
  request: DeviceRequest<O>,
  isJson: boolean,
  asker: Asker,
  plane: Answering<O>,
  { faults, clock }: RequestsDeps,
): Promise<void> {
  const asked = { client: asker.client, topic };
  const fault = await faults.request(request, asked);
  if (fault.kind === 'drop') return;
  if (fault.kind === 'disconnect') {
    asker.end('a fault on purpose');
    return;
  }
  const token = request.body['clientToken'];
  const base = { timestamp: secondsOf(clock), ...(typeof token === 'string' && { clientToken: token }) };
  const refusal = isJson ? refusalOf(fault) : new Refusal('InvalidJson', 'the payload is no JSON object');
  // A request that arrives twice is acted upon twice, as at least once allows.
  for (let times = fault.kind === 'duplicate' ? 2 : 1; times > 0; times -= 1) {
    const answered = refusal ? plane.refuse(request, refusal, base) : await plane.handle(request);
    const payload = Buffer.from(JSON.stringify(answered.body));
    const told = await faults.answer(request, answered, asked);
    if (told.kind === 'drop') continue;
    if (told.kind === 'disconnect' || told.kind === 'late') asker.end('a fault on purpose');
    if (told.kind === 'late') asker.deliverLater(`${topic}/${answered.verdict}`, payload);
    else
      for (let copies = told.kind === 'duplicate' ? 2 : 1; copies > 0; copies -= 1) {
        asker.deliver(`${topic}/${answered.verdict}`, payload);
      }
    faults.sent(request.thing);
  }
}

function refusalOf(fault: { kind: string; code?: string }): Refusal | undefined {
  return fault.kind === 'reject'
    ? new Refusal(fault.code ?? 'InternalError', 'a fault on purpose')
    : undefined;
}

function secondsOf(clock: SimulatorClock): number {
  return Math.floor(clock.wallMs() / 1000);
}
