import type { Answer, DeviceRequest } from './device/device-plane.ts';
import type { SimulatorClock } from './service/types.ts';

/** What a hook wants done with a message. */
export type Fault =
  | { kind: 'process' }
  | { kind: 'drop' }
  | { kind: 'reject'; code: string }
  | { kind: 'delay'; delayMs: number };

export interface NotificationMessage {
  thing: string;
  kind: 'notify' | 'notify-next';
  body: object;
}

/** Faults made on purpose: hooks that see each message and may drop, delay or refuse it. Each returns its own end. */
export interface Faults {
  onRequest(hook: (request: DeviceRequest) => Fault): () => void;
  onAnswer(hook: (request: DeviceRequest, answer: Answer) => Fault): () => void;
  onNotification(hook: (message: NotificationMessage) => Fault): () => void;
  request(request: DeviceRequest): Promise<Fault>;
  answer(request: DeviceRequest, answer: Answer): Promise<Fault>;
  notification(message: NotificationMessage): Promise<Fault>;
}

export function createFaults(clock: SimulatorClock): Faults {
  const hooks = {
    request: new Set<(request: DeviceRequest) => Fault>(),
    answer: new Set<(request: DeviceRequest, answer: Answer) => Fault>(),
    notification: new Set<(message: NotificationMessage) => Fault>(),
  };
  const add = <T>(set: Set<T>, hook: T): (() => void) => {
    set.add(hook);
    return () => void set.delete(hook);
  };
  /** The first hook that wants something decides; a delay has passed when this resolves. */
  const decided = async <A extends unknown[]>(
    set: ReadonlySet<(...args: A) => Fault>,
    ...args: A
  ): Promise<Fault> => {
    for (const hook of [...set]) {
      const fault = hook(...args);
      if (fault.kind === 'process') continue;
      if (fault.kind !== 'delay') return fault;
      await clock.sleep(fault.delayMs);
    }
    return { kind: 'process' };
  };
  return {
    onRequest: (hook) => add(hooks.request, hook),
    onAnswer: (hook) => add(hooks.answer, hook),
    onNotification: (hook) => add(hooks.notification, hook),
    request: (request) => decided(hooks.request, request),
    answer: (request, answer) => decided(hooks.answer, request, answer),
    notification: (message) => decided(hooks.notification, message),
  };
}
