import { isMap, isNode, LineCounter, type Node, parseDocument } from 'yaml';
import type { z } from 'zod';
import { type Config, configSchema } from './config.ts';

export interface ConfigProblem {
  /** From 1. */
  line: number;
  column: number;
  /** Such as `connection.url`; empty for the file as a whole. */
  path: string;
  reason: string;
}

export type LoadedConfig = { ok: true; config: Config } | { ok: false; problems: readonly ConfigProblem[] };

const TEXT_CHARS_MAX = 1_000_000;
const ALIASES_MAX = 100;

/** Reads `evenkeel.yaml`; what is wrong comes with its place. Unknown keys are errors: a misspelt limit is no limit. */
export function loadConfig(text: string): LoadedConfig {
  if (text.length > TEXT_CHARS_MAX)
    return failed({ line: 1, column: 1, path: '', reason: 'the file is too long' });
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const at = (offset: number): { line: number; column: number } => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  if (document.errors.length > 0) {
    return {
      ok: false,
      problems: document.errors.map(({ pos, message }) => ({ ...at(pos[0]), path: '', reason: message })),
    };
  }
  let value: unknown;
  try {
    value = withoutEmpty(document.toJS({ maxAliasCount: ALIASES_MAX }) ?? {});
  } catch (error) {
    return failed({ line: 1, column: 1, path: '', reason: (error as Error).message });
  }
  const read = configSchema.safeParse(value);
  if (read.success) return { ok: true, config: read.data };
  const place = (path: readonly PropertyKey[]): { line: number; column: number } =>
    at(offsetOf(document.contents, path));
  return { ok: false, problems: read.error.issues.flatMap((issue) => problemsOf(issue, place)) };
}

/** A section whose every key is commented out is read as null: it has its defaults. */
function withoutEmpty(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).filter(([, inner]) => inner !== null));
}

function failed(problem: ConfigProblem): LoadedConfig {
  return { ok: false, problems: [problem] };
}

function problemsOf(
  issue: z.core.$ZodIssue,
  place: (path: readonly PropertyKey[]) => { line: number; column: number },
): ConfigProblem[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => {
      const path = [...issue.path, key];
      return { ...place(path), path: path.join('.'), reason: 'is not a known key' };
    });
  }
  return [{ ...place(issue.path), path: issue.path.join('.'), reason: issue.message }];
}

/** Where a key stands; for what is missing, the nearest thing around it. */
function offsetOf(root: Node | null, path: readonly PropertyKey[]): number {
  let node: unknown = root;
  let offset = root?.range?.[0] ?? 0;
  for (const name of path) {
    if (!isMap(node)) break;
    const pair = node.items.find(
      ({ key }) => String(isNode(key) && 'value' in key ? key.value : key) === String(name),
    );
    if (!pair) break;
    offset = (isNode(pair.key) ? pair.key.range?.[0] : undefined) ?? offset;
    node = pair.value;
  }
  return offset;
}
