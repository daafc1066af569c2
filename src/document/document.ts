import { isDeepStrictEqual } from 'node:util';
import { readAction } from './actions.ts';
import { Fields, isObject, type Problem } from './fields.ts';
import { PLAIN_NAME } from './inputs.ts';
import { flag, readShape, requiredText, type Shape, text, texts, whole } from './members.ts';
import { type Plan, type PlanStep, worseGrade } from './plan.ts';

export type { Problem } from './fields.ts';

/** What `conditions` of a document are compared with. */
export type DeviceFacts = Readonly<Record<string, string>>;

/** The fact that is no name: where the link to the credential in use is, on a device that can be given another one. */
export const CREDENTIAL_LINK = 'evenkeel:credentialLink';

export type ReadDocument = { ok: true; plan: Plan } | { ok: false; problems: readonly Problem[] };

const STEPS_MAX = 100;
const DEPTH_MAX = 32;

/** What a document may say beside its steps and conditions. */
export const DOCUMENT = {
  includeStdOut: flag('The tail of stdout goes into the details of the last update.'),
  repair: flag('This job mends a device that is INCONSISTENT, and may run on one.'),
  accept: texts('Paths and units (unit:NAME) that are right as this repair leaves them.'),
} satisfies Shape;

export const CONDITION = {
  key: text('A fact of the device.'),
  value: texts('The job runs where the fact is one of these.'),
  conditionKey: text('The same as key.'),
  conditionValue: texts('The same as value.'),
  type: text('stringEqual, which is the default.'),
} satisfies Shape;

/** The form before 1.0: one handler with its arguments. */
export const OPERATION = {
  operation: requiredText('File name of a script in the handler directory.', PLAIN_NAME),
  args: texts('Its arguments, behind the name of the user.'),
  path: text('Directory of the handler; the configured one when absent.'),
  allowStdErr: whole('More lines than this on stderr fail the job.', 0, 1_000_000),
} satisfies Shape;

/**
 * Reads a job document of AWS IoT Device Client 1.0, or of its old `operation` form, with our extension keys, into one
 * frozen plan; or says all that is wrong with it. Keys that nobody knows are ignored, as Device Client does.
 */
export function readDocument(document: unknown, facts: DeviceFacts): ReadDocument {
  const problems: Problem[] = [];
  if (depthOf(document) > DEPTH_MAX)
    return { ok: false, problems: [{ path: '', reason: `deeper than ${DEPTH_MAX}` }] };
  const root = new Fields(document, '', problems);
  const operation = root.raw('operation') !== undefined && root.raw('steps') === undefined;
  const credentialLink = facts[CREDENTIAL_LINK];
  const steps = operation ? readOperation(root, problems) : readSteps(root, credentialLink);
  readConditions(root, facts);
  checkOrder(steps, problems);
  const said = readShape(root, DOCUMENT);
  const plan: Plan = {
    format: 1,
    dialect: operation ? 'operation' : 'aws-1.0',
    steps,
    grade: steps.map(({ grade }) => grade).reduce(worseGrade, 'full'),
    diskNeedBytes: steps.reduce((sum, step) => sum + announcedBytes(step), 0),
    repair: said.repair,
    accept: (said.accept ?? []).map((item) => (item.startsWith('/') ? `path:${item}` : item)),
    includeStdOut: said.includeStdOut,
  };
  return problems.length > 0 ? { ok: false, problems } : { ok: true, plan: deepFreeze(plan) };
}

function readSteps(root: Fields, credentialLink: string | undefined): PlanStep[] {
  const version = root.raw('version');
  if (version !== '1.0' && version !== 1) root.wrong('version', 'must be "1.0"');
  const listed = root.objects('steps').map((step) => step.object('action'));
  const final = root.raw('finalStep') === undefined ? [] : [root.object('finalStep').object('action')];
  const actions = [...listed, ...final];
  if (actions.length === 0) root.wrong('steps', 'must name at least one step');
  if (actions.length > STEPS_MAX) {
    root.wrong('steps', `must name at most ${STEPS_MAX} steps`);
    return [];
  }
  return actions.flatMap((action, index) => readAction(action, { index, credentialLink }) ?? []);
}

function readOperation(root: Fields, problems: Problem[]): PlanStep[] {
  const before = problems.length;
  const { operation, args, path } = readShape(root, OPERATION);
  if (problems.length > before) return [];
  const found: Problem[] = [];
  const input = { handler: operation, args, path };
  const action = { name: operation, type: 'runHandler', input, allowStdErr: root.raw('allowStdErr') };
  const step = readAction(new Fields(action, '', found), {
    index: 0,
    credentialLink: undefined,
  });
  // Named as they stand in this form, where there is no `input`.
  problems.push(...found.map(({ path: at, reason }) => ({ path: at.replace(/^input\./, ''), reason })));
  return step ? [{ ...step, path: 'operation' }] : [];
}

function readConditions(root: Fields, facts: DeviceFacts): void {
  for (const condition of root.objects('conditions')) {
    const said = readShape(condition, CONDITION);
    // Device Client reads the short names, and its documentation once had the long ones.
    const name = said.key === undefined ? 'conditionKey' : 'key';
    const { [name]: key, type = 'stringEqual' } = said;
    const values = said.value ?? said.conditionValue ?? [];
    if (key === undefined) {
      condition.wrong('key', 'is missing');
    } else if (type !== 'stringEqual') {
      condition.wrong('type', `is not known: "${type}"`);
    } else if (!values.includes(facts[key] ?? '')) {
      condition.wrong(name, `this device has ${key}=${facts[key] ?? '(nothing)'}`);
    }
  }
}

/** Saga: behind a pivot only what can be tried again may follow. */
export function checkOrder(steps: readonly PlanStep[], problems: Problem[]): void {
  const pivot = steps.findIndex((step) => step.pivot);
  if (pivot < 0) return;
  for (const step of steps.slice(pivot)) {
    if (!step.idempotent)
      problems.push({
        path: step.path,
        reason: 'must be idempotent: from the pivot on the job goes only forward',
      });
  }
}

function announcedBytes(step: PlanStep): number {
  if ('urlHasQuery' in step) return step.sizeBytes ?? 0;
  return step.type === 'writeFile' ? Math.ceil((step.contentBase64.length * 3) / 4) : 0;
}

function depthOf(value: unknown, depth = 0): number {
  if (depth > DEPTH_MAX || typeof value !== 'object' || value === null) return depth;
  return Math.max(depth, ...Object.values(value).map((inner) => depthOf(inner, depth + 1)));
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const inner of Object.values(value)) deepFreeze(inner);
    Object.freeze(value);
  }
  return value;
}

/** A copy in which every http(s) URL has lost its query: a presigned URL is never kept (J14). */
export function withoutUrlQueries<T>(value: T): T {
  if (typeof value === 'string') return value.replace(/(https?:\/\/[^\s"'?#]+)\?[^\s"'#]*/g, '$1') as T;
  if (Array.isArray(value)) return value.map(withoutUrlQueries) as T;
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [key, withoutUrlQueries(inner)]),
  ) as T;
}

/** The same document, the order of keys and the queries of URLs aside (P20). */
export function sameDocument(a: unknown, b: unknown): boolean {
  return isDeepStrictEqual(withoutUrlQueries(a), withoutUrlQueries(b));
}
