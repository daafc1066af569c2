import type { Answer, DeviceRequest } from './device/device-plane.ts';
import {
  type ActiveRule,
  activate,
  type FaultPoint,
  type FaultRule,
  type FaultSubject,
  parseFaultRules,
} from './fault-rules.ts';
import type { Policy } from './mqtt/policy.ts';
import type { SimulatorClock } from './service/types.ts';

/** What a hook, or a rule, wants done with a message. */
export type Fault =
  | { kind: 'process' }
  | { kind: 'drop' }
  | { kind: 'reject'; code: string }
  | { kind: 'delay'; delayMs: number }
  /** It happens twice. */
  | { kind: 'duplicate' }
  /** It waits until another message to the same thing has gone, at most `delayMs`. */
  | { kind: 'reorder'; delayMs: number }
  /** The connection dies in its stead. */
  | { kind: 'disconnect' }
  /** The connection dies, and the answer comes on the next one of this client. */
  | { kind: 'late' };

export interface NotificationMessage {
  thing: string;
  kind: 'notify' | 'notify-next';
  body: object;
}

/** What is known of a request beside its content. */
export interface Asked {
  client: string;
  topic: string;
}

/** What to do now: delays and reordering have passed. */
export type Decision = Exclude<Fault, { kind: 'delay' | 'reorder' }>;

/** Faults made on purpose: by hooks, each of which returns its own end, and by rules. */
export interface Faults {
  onRequest(hook: (request: DeviceRequest) => Fault): () => void;
  onAnswer(hook: (request: DeviceRequest, answer: Answer) => Fault): () => void;
  onNotification(hook: (message: NotificationMessage) => Fault): () => void;
  /** The rules in force, in the order in which they are asked. */
  rules(): readonly ActiveRule[];
  /** Adds rules, all or none; throws with the place of the first mistake. Returns their ids. */
  add(rules: unknown): string[];
  /** False when there is no such rule. */
  remove(id: string): boolean;
  clear(): void;
  readonly policy: Policy;
  request(request: DeviceRequest, asked: Asked): Promise<Decision>;
  answer(request: DeviceRequest, answer: Answer, asked: Asked): Promise<Decision>;
  notification(message: NotificationMessage): Promise<Decision>;
  /** A call over HTTP; a slow CancelJobExecution is S9. */
  call(operation: string, thing?: string): Promise<Decision>;
  /** A message has gone to this thing: what was to come after it may go, too. */
  sent(thing: string): void;
}

const REORDER_MS = 1000;

export function createFaults(clock: SimulatorClock): Faults {
  const hooks = {
    request: new Set<(request: DeviceRequest) => Fault>(),
    answer: new Set<(request: DeviceRequest, answer: Answer) => Fault>(),
    notification: new Set<(message: NotificationMessage) => Fault>(),
  };
  const rules: ActiveRule[] = [];
  const waiting = new Map<string, Set<() => void>>();
  let ids = 0;

  const add = <T>(set: Set<T>, hook: T): (() => void) => {
    set.add(hook);
    return () => void set.delete(hook);
  };
  const wantedBy = (subject: FaultSubject): Iterable<() => Fault> =>
    rules.map((active) => () => (active.takes(subject) ? faultOf(active) : { kind: 'process' }));
  const overtaken = async (thing: string, atMostMs: number): Promise<void> => {
    const enough = new AbortController();
    const waiters = waiting.get(thing) ?? new Set();
    waiting.set(thing, waiters);
    const go = (): void => enough.abort();
    waiters.add(go);
    await clock.sleep(atMostMs, enough.signal).catch(() => undefined);
    waiters.delete(go);
  };
  /** The first that wants more than time decides; what delays it has passed when this resolves. */
  const decided = async (thing: string, wishes: Iterable<() => Fault>): Promise<Decision> => {
    for (const wish of wishes) {
      const fault = wish();
      if (fault.kind === 'process') continue;
      if (fault.kind === 'delay') await clock.sleep(fault.delayMs);
      else if (fault.kind === 'reorder') await overtaken(thing, fault.delayMs);
      else return fault;
    }
    return { kind: 'process' };
  };
  const hooked = <A extends unknown[]>(
    set: ReadonlySet<(...args: A) => Fault>,
    ...args: A
  ): (() => Fault)[] => [...set].map((hook) => () => hook(...args));

  return {
    onRequest: (hook) => add(hooks.request, hook),
    onAnswer: (hook) => add(hooks.answer, hook),
    onNotification: (hook) => add(hooks.notification, hook),
    rules: () => rules,
    add(wanted) {
      const parsed = parseFaultRules(wanted);
      const taken = new Set(rules.map(({ id }) => id));
      const named: [string, FaultRule][] = parsed.map((rule, at) => {
        if (rule.id !== undefined && taken.has(rule.id))
          throw new Error(`faults[${at}].id: must be new, "${rule.id}" is taken`);
        if (rule.id === undefined) ids += 1;
        const id = rule.id ?? `fault-${ids}`;
        taken.add(id);
        return [id, rule];
      });
      for (const [id, rule] of named) rules.push(activate(rule, id));
      return named.map(([id]) => id);
    },
    remove(id) {
      const at = rules.findIndex((one) => one.id === id);
      if (at !== -1) rules.splice(at, 1);
      return at !== -1;
    },
    clear: () => void rules.splice(0),
    policy: {
      denies: (on, principal, topic) =>
        rules.some((one) => one.takes({ on, ...principal, ...(topic !== undefined && { topic }) })),
    },
    request: (request, asked) =>
      decided(request.thing, [
        ...hooked(hooks.request, request),
        ...wantedBy(subjectOf('request', request, asked)),
      ]),
    answer: (request, answer, asked) =>
      decided(request.thing, [
        ...hooked(hooks.answer, request, answer),
        ...wantedBy(subjectOf('answer', request, asked)),
      ]),
    notification: (message) => {
      const { thing, kind } = message;
      const topic = `$aws/things/${thing}/jobs/${kind}`;
      const subject: FaultSubject = { on: 'notification', thing, client: thing, kind, topic };
      return decided(thing, [...hooked(hooks.notification, message), ...wantedBy(subject)]);
    },
    call: (operation, thing) =>
      decided(thing ?? '', wantedBy({ on: 'call', operation, ...(thing !== undefined && { thing }) })),
    sent(thing) {
      const waiters = waiting.get(thing);
      waiting.delete(thing);
      for (const go of waiters ?? []) go();
    },
  };
}

function subjectOf(on: FaultPoint, { thing, operation }: DeviceRequest, asked: Asked): FaultSubject {
  return { on, thing, operation, ...asked };
}

function faultOf(active: ActiveRule): Fault {
  const { action, code } = active.rule;
  switch (action) {
    case 'delay':
      return { kind: 'delay', delayMs: active.delayMs(0) };
    case 'reorder':
      return { kind: 'reorder', delayMs: active.delayMs(REORDER_MS) };
    case 'reject':
      return { kind: 'reject', code: code ?? 'InternalError' };
    case 'deny':
      return { kind: 'drop' };
    default:
      return { kind: action };
  }
}
