import { z } from 'zod';
import { matches } from './mqtt/filters.ts';

/** Faults as data: what to look for, what to do with it, how often. Settable at start and while the simulator runs. */

/** Where a rule can act. The last four are what an IoT policy decides. */
export const FAULT_POINTS = [
  'request',
  'answer',
  'notification',
  'call',
  'connect',
  'publish',
  'subscribe',
  'receive',
] as const;
export type FaultPoint = (typeof FAULT_POINTS)[number];

const ACTIONS: Record<FaultPoint, readonly FaultAction[]> = {
  request: ['drop', 'delay', 'duplicate', 'reject', 'disconnect'],
  answer: ['drop', 'delay', 'duplicate', 'reorder', 'disconnect', 'late'],
  notification: ['drop', 'delay', 'duplicate', 'reorder', 'disconnect'],
  call: ['delay', 'reject'],
  connect: ['deny'],
  publish: ['deny'],
  subscribe: ['deny'],
  receive: ['deny'],
};

const FAULT_ACTIONS = [
  'drop',
  'delay',
  'duplicate',
  'reorder',
  'reject',
  'disconnect',
  'late',
  'deny',
] as const;
export type FaultAction = (typeof FAULT_ACTIONS)[number];

/** Written out, so that its users need no types of a validator. */
export interface FaultRule {
  id?: string | undefined;
  on: FaultPoint;
  action: FaultAction;
  /** Names; `*` stands for any text. */
  thing?: string | undefined;
  client?: string | undefined;
  /** The name in the client's certificate. */
  commonName?: string | undefined;
  /** getPending, startNext, describe, update, shadowGet, …; of a call, such as CancelJobExecution. */
  operation?: string | undefined;
  kind?: 'notify' | 'notify-next' | undefined;
  /** An MQTT topic filter. */
  topic?: string | undefined;
  /** Of `reject`. */
  code?: string | undefined;
  /** Of `delay` (how long) and `reorder` (at most): milliseconds, or a range of them. */
  delayMs?: number | [number, number] | undefined;
  probability?: number | undefined;
  /** Of the chance in probability and in a range: the same seed, the same run. */
  seed?: number | undefined;
  /** So many matches go by untouched first. */
  skip?: number | undefined;
  /** So many are touched, then no more. */
  count?: number | undefined;
}

const DELAY_MS_MAX = 86_400_000;

const delay = z.number('must be a number').int('must be a whole number').min(0, 'must be 0 or more');
const delayMs = delay.max(DELAY_MS_MAX, `must be at most ${DELAY_MS_MAX}`);
const name = z.string('must be text').min(1, 'must not be empty');
const count = z.number('must be a number').int('must be a whole number').min(0, 'must be 0 or more');

const oneOf = <const T extends readonly string[]>(values: T) =>
  z.enum(values, `must be one of ${values.join(', ')}`);

const ruleSchema: z.ZodType<FaultRule> = z
  .strictObject(
    {
      id: name.optional(),
      on: oneOf(FAULT_POINTS),
      action: oneOf(FAULT_ACTIONS),
      thing: name.optional(),
      client: name.optional(),
      commonName: name.optional(),
      operation: name.optional(),
      kind: oneOf(['notify', 'notify-next']).optional(),
      topic: name.optional(),
      code: name.optional(),
      delayMs: z
        .union([delayMs, z.tuple([delayMs, delayMs])], 'must be milliseconds, or [least, most]')
        .optional(),
      probability: z.number('must be a number').min(0, 'must be 0 to 1').max(1, 'must be 0 to 1').optional(),
      seed: count.optional(),
      skip: count.optional(),
      count: count.optional(),
    },
    {
      error: (issue) =>
        issue.code === 'unrecognized_keys'
          ? `has unknown members: ${issue.keys.join(', ')}`
          : 'must be an object',
    },
  )
  .superRefine((rule, context) => {
    const allowed = ACTIONS[rule.on];
    if (!allowed.includes(rule.action)) {
      const message = `must be one of ${allowed.join(', ')} where on is ${rule.on}`;
      context.addIssue({ code: 'custom', path: ['action'], message });
    }
    if (rule.action === 'delay' && rule.delayMs === undefined)
      context.addIssue({ code: 'custom', path: ['delayMs'], message: 'must be given where action is delay' });
    if (Array.isArray(rule.delayMs) && rule.delayMs[0] > rule.delayMs[1])
      context.addIssue({ code: 'custom', path: ['delayMs'], message: 'must be [least, most]' });
  });

/** Reads rules; the error names the place, such as `faults[0].delayMs: must be 0 or more`. */
export function parseFaultRules(value: unknown): FaultRule[] {
  const read = z.array(ruleSchema, 'must be a list').safeParse(value);
  if (read.success) return read.data;
  const [issue] = read.error.issues;
  const place = (issue?.path ?? []).map((part) =>
    typeof part === 'number' ? `[${part}]` : `.${String(part)}`,
  );
  throw new Error(`faults${place.join('')}: ${issue?.message ?? 'is wrong'}`);
}

/** What happens, as a rule sees it. */
export interface FaultSubject {
  on: FaultPoint;
  thing?: string;
  client?: string;
  commonName?: string;
  operation?: string;
  kind?: string;
  topic?: string;
}

/** A rule with its memory: how often it matched and acted, and its own chance. */
export interface ActiveRule {
  readonly id: string;
  readonly rule: FaultRule;
  readonly matched: number;
  readonly acted: number;
  /** True when the rule wants this one; counts it. */
  takes(subject: FaultSubject): boolean;
  /** Milliseconds of its delay, drawn anew each time. */
  delayMs(otherwise: number): number;
}

export function activate(rule: FaultRule, id: string): ActiveRule {
  const random = seeded(rule.seed ?? 1);
  let matched = 0;
  let acted = 0;
  return {
    id,
    rule,
    get matched() {
      return matched;
    },
    get acted() {
      return acted;
    },
    takes(subject) {
      if (!isMeant(rule, subject)) return false;
      matched += 1;
      if (matched <= (rule.skip ?? 0) || acted >= (rule.count ?? Number.POSITIVE_INFINITY)) return false;
      if (random() >= (rule.probability ?? 1)) return false;
      acted += 1;
      return true;
    },
    delayMs(otherwise) {
      const wanted = rule.delayMs ?? otherwise;
      if (!Array.isArray(wanted)) return wanted;
      return Math.round(wanted[0] + random() * (wanted[1] - wanted[0]));
    },
  };
}

function isMeant(rule: FaultRule, subject: FaultSubject): boolean {
  const fits = (wanted: string | undefined, given: string | undefined): boolean =>
    wanted === undefined || (given !== undefined && isLike(wanted, given));
  return (
    rule.on === subject.on &&
    fits(rule.thing, subject.thing) &&
    fits(rule.client, subject.client) &&
    fits(rule.commonName, subject.commonName) &&
    fits(rule.operation, subject.operation) &&
    fits(rule.kind, subject.kind) &&
    (rule.topic === undefined || (subject.topic !== undefined && matches(rule.topic, subject.topic)))
  );
}

function isLike(pattern: string, text: string): boolean {
  const parts = pattern.split('*').map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`, 's').test(text);
}

/** Numbers in [0, 1) that are the same for the same seed (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
