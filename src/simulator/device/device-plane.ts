import { scheduler } from 'node:timers/promises';
import type { JobsService } from '../service/jobs-service.ts';
import type { Shadows } from '../service/shadows.ts';
import { Refusal, type SimulatorClock } from '../service/types.ts';
import { JobsRequests, stateOf } from './jobs-requests.ts';
import { clientTokenIn } from './members.ts';
import type { Operation, ParsedTopic, ThingOperation } from './topics.ts';

export { parseBody } from './members.ts';
export { parseProvisioningTopic, parseTopic } from './topics.ts';

/** One request of a device, read from its topic. */
export interface DeviceRequest<O extends Operation = Operation> extends ParsedTopic<O> {
  body: Record<string, unknown>;
}

export interface Answer {
  verdict: 'accepted' | 'rejected';
  body: Record<string, unknown>;
}

/** Who answers requests of one kind. */
export interface Answering<O extends Operation> {
  handle(request: DeviceRequest<O>): Promise<Answer>;
  refuse(request: DeviceRequest<O>, error: Refusal, base: object): Answer;
}

/** Answers requests of devices about their things (section 1); knows no network. */
export class DevicePlane implements Answering<ThingOperation> {
  readonly #service: JobsService;
  readonly #jobs: JobsRequests;
  readonly #shadows: Shadows;
  readonly #clock: SimulatorClock;

  constructor(service: JobsService, shadows: Shadows, clock: SimulatorClock) {
    this.#service = service;
    this.#jobs = new JobsRequests(service, 'object');
    this.#shadows = shadows;
    this.#clock = clock;
  }

  /**
   * Acts on a request; resolves with the answer when it is durable. What the request makes known to others leaves a
   * turn of the event loop later, behind an answer that is sent at once (N20).
   */
  async handle(request: DeviceRequest<ThingOperation>): Promise<Answer> {
    let answer: Answer | undefined;
    const release = this.#service.holdWhile(() => {
      answer = this.answer(request);
    });
    try {
      await this.#service.saved();
    } catch {
      // E7: what nobody can be sure of is told to nobody.
      const failed = new Refusal('InternalError', 'the change could not be saved');
      return this.refuse(request, failed, this.#base(request));
    }
    void scheduler.yield().then(release);
    return answer as unknown as Answer;
  }

  /** The same, at once, for those who wait for no disk. */
  answer(request: DeviceRequest<ThingOperation>): Answer {
    const base = this.#base(request);
    try {
      return { verdict: 'accepted', body: { ...base, ...this.#act(request, base.timestamp) } };
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return this.refuse(request, error, base);
    }
  }

  refuse(
    { operation }: Pick<DeviceRequest<ThingOperation>, 'operation'>,
    error: Refusal,
    base: object,
  ): Answer {
    const shadow = operation.startsWith('shadow');
    const code = shadow ? (error.code === 'ResourceNotFound' ? 404 : 400) : error.code;
    // E10: the state comes with these two only.
    const told = ['InvalidStateTransition', 'VersionMismatch'].includes(error.code) && error.execution;
    return {
      verdict: 'rejected',
      body: { ...base, code, message: error.message, ...(told && { executionState: stateOf(told) }) },
    };
  }

  #base({ body }: DeviceRequest): { timestamp: number; clientToken?: string } {
    return { timestamp: Math.floor(this.#clock.wallMs() / 1000), ...clientTokenIn(body) };
  }

  #act({ thing, operation, target, body }: DeviceRequest<ThingOperation>, timestamp: number): object {
    switch (operation) {
      case 'getPending':
        return this.#jobs.getPending(thing);
      case 'startNext':
        return this.#jobs.startNext(thing, body);
      case 'describe':
        return this.#jobs.describe(thing, target, body);
      case 'update':
        return this.#jobs.update(thing, target, body);
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
}
