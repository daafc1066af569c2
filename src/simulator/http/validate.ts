import { z } from 'zod';
import { HttpRefusal } from './errors.ts';
import type { Operation } from './operation.ts';

/** Checks every member against the table (C5), and says what is wrong in the words of the service. */

export interface RawInput {
  uri: Record<string, string>;
  query: URLSearchParams;
  body: unknown;
}

const inputs = new WeakMap<Operation, z.ZodType>();

export function validated(operation: Operation, raw: RawInput): Record<string, unknown> {
  const members = {
    ...(isObject(raw.body) ? (withoutNulls(raw.body) as object) : {}),
    ...texts(operation.query, (name) => raw.query.get(name) ?? undefined),
    ...texts(operation.uri, (name) => raw.uri[name]),
  };
  const result = inputOf(operation).safeParse(members);
  if (result.success) return result.data as Record<string, unknown>;
  const found = result.error.issues.map((issue) => sentence(issue, members));
  const count = found.length === 1 ? '1 validation error' : `${found.length} validation errors`;
  throw new HttpRefusal('InvalidRequest', `${count} detected: ${found.join('; ')}`);
}

function inputOf(operation: Operation): z.ZodType {
  let input = inputs.get(operation);
  if (!input) {
    input = z.object({ ...operation.body, ...operation.query, ...operation.uri });
    inputs.set(operation, input);
  }
  return input;
}

/** Members of the path and the query are text; the table says what they stand for. */
function texts(shapes: z.ZodRawShape, textOf: (name: string) => string | undefined): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(shapes).flatMap(([name, shape]) => {
      const text = textOf(name);
      return text === undefined ? [] : [[name, decoded(shape as z.ZodType, text)]];
    }),
  );
}

function decoded(shape: z.ZodType, text: string): unknown {
  const inner = shape instanceof z.ZodExactOptional ? (shape.unwrap() as z.ZodType) : shape;
  if (inner instanceof z.ZodBoolean) return text === 'true' ? true : text === 'false' ? false : text;
  if (inner instanceof z.ZodNumber) return /^-?\d{1,15}$/.test(text) ? Number(text) : text;
  return text;
}

/** A member that is null was not sent. */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, one]) => one !== null)
      .map(([key, one]) => [key, withoutNulls(one)]),
  );
}

type Issue = z.core.$ZodIssue;

function sentence(issue: Issue, members: object): string {
  const value = valueAt(members, issue.path);
  const shown = value === undefined ? 'Value null' : `Value '${shortened(value)}'`;
  return `${shown} at '${pathText(issue.path)}' failed to satisfy constraint: ${constraint(issue, value)}`;
}

function constraint(issue: Issue, value: unknown): string {
  switch (issue.code) {
    case 'invalid_type':
      return value === undefined ? 'Member must not be null' : `Member must be of type ${issue.expected}`;
    case 'too_small':
      return `Member must have ${measure(issue.origin)} greater than or equal to ${issue.minimum}`;
    case 'too_big':
      return `Member must have ${measure(issue.origin)} less than or equal to ${issue.maximum}`;
    case 'invalid_format':
      return `Member must satisfy regular expression pattern: ${patternText(issue)}`;
    case 'invalid_value':
      return value === undefined
        ? 'Member must not be null'
        : `Member must satisfy enum value set: [${issue.values.join(', ')}]`;
    case 'invalid_key':
      return `Map keys must satisfy constraint: [${issue.issues.map((one) => constraint(one as Issue, '')).join(', ')}]`;
    case 'unrecognized_keys':
      return `Map keys must not be ${issue.keys.join(', ')}`;
    default:
      return issue.message;
  }
}

function measure(origin: string): string {
  return origin === 'string' || origin === 'array' ? 'length' : 'value';
}

function patternText(issue: Issue): string {
  const pattern = 'pattern' in issue && issue.pattern !== undefined ? issue.pattern : '';
  return /^\/\^\(\?:(.*)\)\$\/u$/.exec(pattern)?.[1] ?? pattern;
}

/** Lists count from one: `criteriaList.1.member.action`. */
function pathText(path: readonly PropertyKey[]): string {
  return path.map((key) => (typeof key === 'number' ? `${key + 1}.member` : String(key))).join('.');
}

function valueAt(root: object, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (value, key) =>
      typeof value === 'object' && value !== null ? (value as Record<PropertyKey, unknown>)[key] : undefined,
    root,
  );
}

const SHOWN_MAX = 256;

function shortened(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}...` : text;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
