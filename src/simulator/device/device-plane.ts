import type { JobsService } from '../service/jobs-service.ts';
import type { Shadows } from '../service/shadows.ts';
import {
  type Details,
  type Execution,
  Refusal,
  type SimulatorClock,
  type Status,
  TERMINAL,
} from '../service/types.ts';

/** One request of a device, read from its topic. */
export interface DeviceRequest {
  thing: string;
  operation:
    | 'getPending'
    | 'startNext'
    | 'describe'
    | 'update'
    | 'shadowGet'
    | 'shadowUpdate'
    | 'shadowDelete';
  /** The job of describe and update; the shadow's name. */
  target: string;
  body: Record<string, unknown>;
}

export interface Answer {
  verdict: 'accepted' | 'rejected';
  body: Record<string, unknown>;
}

/** Reads a reserved topic; `undefined` where it is no request of this service. */
export function parseTopic(topic: string): Omit<DeviceRequest, 'body'> | undefined {
  const [root, things, thing, kind, ...rest] = topic.split('/');
  if (root !== '$aws' || things !== 'things' || thing === undefined) return undefined;
  if (kind === 'jobs') {
    if (rest.length === 1 && rest[0] === 'get') return { thing, operation: 'getPending', target: '' };
    if (rest.length === 1 && rest[0] === 'start-next') return { thing, operation: 'startNext', target: '' };
    const [target = '', verb] = rest;
    if (rest.length === 2 && verb === 'get') return { thing, operation: 'describe', target };
    if (rest.length === 2 && verb === 'update') return { thing, operation: 'update', target };
    return undefined;
  }
  if (kind !== 'shadow') return undefined;
  const [name, verb] = rest[0] === 'name' ? [rest[1] ?? '', rest[2]] : ['', rest[0]];
  if (rest.length !== (rest[0] === 'name' ? 3 : 1)) return undefined;
  if (verb === 'get') return { thing, operation: 'shadowGet', target: name };
  if (verb === 'update') return { thing, operation: 'shadowUpdate', target: name };
  return verb === 'delete' ? { thing, operation: 'shadowDelete', target: name } : undefined;
}

/** Answers requests of devices (section 1); knows no network. */
export class DevicePlane {
  readonly #service: JobsService;
  readonly #shadows: Shadows;
  readonly #clock: SimulatorClock;

  constructor(service: JobsService, shadows: Shadows, clock: SimulatorClock) {
    this.#service = service;
    this.#shadows = shadows;
    this.#clock = clock;
  }

  answer(request: DeviceRequest): Answer {
    const timestamp = Math.floor(this.#clock.wallMs() / 1000);
    const token = request.body['clientToken'];
    // P2: echoed when given, absent when not.
    const base = { timestamp, ...(typeof token === 'string' && { clientToken: token }) };
    try {
      return { verdict: 'accepted', body: { ...base, ...this.#act(request, timestamp) } };
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return this.refuse(request, error, base);
    }
  }

  refuse({ operation }: DeviceRequest, error: Refusal, base: object): Answer {
    const shadow = operation.startsWith('shadow');
    const code = shadow ? (error.code === 'ResourceNotFound' ? 404 : 400) : error.code;
    // E10: the state comes with these two only.
    const state = ['InvalidStateTransition', 'VersionMismatch'].includes(error.code)
      ? error.execution
      : undefined;
    return {
      verdict: 'rejected',
      body: { ...base, code, message: error.message, ...(state && { executionState: stateOf(state) }) },
    };
  }

  #act({ thing, operation, target, body }: DeviceRequest, timestamp: number): object {
    switch (operation) {
      case 'getPending': {
        const pending = this.#service.pending(thing);
        const under = (status: Status): object[] =>
          pending.filter((one) => one.status === status).map(summary);
        return { inProgressJobs: under('IN_PROGRESS'), queuedJobs: under('QUEUED') };
      }
      case 'startNext': {
        const minutes = numberIn(body, 'stepTimeoutInMinutes');
        const details = detailsIn(body);
        const started = this.#service.startNext(thing, {
          ...(details && { statusDetails: details }),
          ...(minutes !== undefined && { stepTimeoutInMinutes: minutes }),
        });
        return started ? { execution: this.#service.described(started, true) } : {};
      }
      case 'describe':
        return this.#describe(thing, target, body);
      case 'update':
        return this.#update(thing, target, body);
      case 'shadowGet': {
        const found = this.#shadows.get(thing, target);
        if (!found) throw new Refusal('ResourceNotFound', `No shadow exists with name: '${target}'`);
        return { ...found };
      }
      case 'shadowUpdate': {
        const state = body['state'];
        if (typeof state !== 'object' || state === null)
          throw new Refusal('InvalidRequest', 'Missing required node: state');
        const { version } = this.#shadows.update(thing, target, state, timestamp);
        return { state, version };
      }
      case 'shadowDelete':
        if (!this.#shadows.delete(thing, target)) throw new Refusal('ResourceNotFound', 'no such shadow');
        return {};
    }
  }

  #describe(thing: string, target: string, body: Record<string, unknown>): object {
    const withDocument = body['includeJobDocument'] !== false;
    if (target === '$next') {
      const [front] = this.#service.pending(thing);
      // P17: nothing pending is accepted, without an execution.
      return front ? { execution: this.#service.described(front, withDocument) } : {};
    }
    const execution = this.#service.execution(thing, target, numberIn(body, 'executionNumber'));
    if (TERMINAL.includes(execution.status))
      throw new Refusal('TerminalStateReached', 'the execution has ended');
    return { execution: this.#service.described(execution, withDocument) };
  }

  #update(thing: string, target: string, body: Record<string, unknown>): object {
    const details = detailsIn(body);
    const numbers = Object.fromEntries(
      ['expectedVersion', 'executionNumber', 'stepTimeoutInMinutes'].flatMap((name) => {
        const value = numberIn(body, name);
        return value === undefined ? [] : [[name, value]];
      }),
    );
    const execution = this.#service.update(thing, target, {
      status: String(body['status']) as Status,
      ...(details && { statusDetails: details }),
      ...numbers,
    });
    return {
      ...(body['includeJobExecutionState'] === true && { executionState: stateOf(execution) }),
      ...(body['includeJobDocument'] === true && {
        jobDocument: JSON.parse(this.#service.documentOf(execution)) as unknown,
      }),
    };
  }
}

function summary(execution: Execution): object {
  const { jobId, queuedAt, lastUpdatedAt, startedAt, executionNumber, versionNumber } = execution;
  return {
    jobId,
    queuedAt,
    lastUpdatedAt,
    ...(startedAt !== undefined && { startedAt }),
    executionNumber,
    versionNumber,
  };
}

function stateOf({ status, statusDetails, versionNumber }: Execution): object {
  return { status, ...(Object.keys(statusDetails).length > 0 && { statusDetails }), versionNumber };
}

/** P6: a number, or its decimal text. */
function numberIn(body: Record<string, unknown>, name: string): number | undefined {
  const value = body[name];
  if (value === undefined || value === null) return undefined;
  const number = typeof value === 'string' && /^-?\d{1,15}$/.test(value) ? Number(value) : value;
  if (typeof number !== 'number' || !Number.isInteger(number))
    throw new Refusal('InvalidRequest', `${name} is no whole number`);
  if (name === 'stepTimeoutInMinutes' && number !== -1 && (number < 1 || number > 10_080)) {
    throw new Refusal('InvalidRequest', `${name} must be -1, or 1 to 10080`);
  }
  return number;
}

/** L5-L7, P26. */
function detailsIn(body: Record<string, unknown>): Details | undefined {
  const value = body['statusDetails'];
  if (value === undefined || value === null) return undefined;
  const pairs = typeof value === 'object' && !Array.isArray(value) ? Object.entries(value) : undefined;
  const legal = ([key, text]: [string, unknown]): boolean =>
    /^[a-zA-Z0-9:_-]{1,128}$/.test(key) && typeof text === 'string' && /^[^\p{C}]{1,1024}$/u.test(text);
  if (!pairs || pairs.length > 10 || !pairs.every(legal)) {
    throw new Refusal('InvalidRequest', 'statusDetails: at most 10 pairs of legal keys and values');
  }
  return Object.fromEntries(pairs) as Details;
}
