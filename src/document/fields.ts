import { posix } from 'node:path';

/** One thing that is wrong with a document, with the place where it stands. */
export interface Problem {
  path: string;
  reason: string;
}

const PROBLEMS_MAX = 50;
const ARGUMENT_CHARS_MAX = 4096;
const ARGUMENTS_MAX = 256;
/** man 7 systemd.unit; no template without an instance, no pattern, nothing that could be an option. */
const UNIT = String.raw`[A-Za-z0-9:_\\][A-Za-z0-9:_.\\@-]*`;
/** One name or several with white space between them. */
export const UNITS_PATTERN = String.raw`^\s*${UNIT}(\s+${UNIT})*\s*$`;
const UNIT_NAME = new RegExp(`^${UNIT}$`);
const UNIT_TEMPLATE = /@\.\w+$/;
const UNIT_SUFFIX = /\.(service|socket|timer|path|target|mount|automount)$/;
const UNIT_NAME_CHARS_MAX = 255;
/** Directories of this agent beside its targets begin like this; nothing that is compared looks into them. */
export const OWN_PREFIX = '.evenkeel-';
const FORBIDDEN_ROOTS = ['/proc', '/sys', '/dev', '/run'];

/**
 * Reads members of one object of a document. Every reader returns `undefined` where the member is absent (an empty
 * string is absent too, as deployed documents leave optional parameters empty) and notes a problem where it is wrong.
 */
export class Fields {
  readonly path: string;
  readonly #value: Readonly<Record<string, unknown>>;
  readonly #problems: Problem[];

  constructor(value: unknown, path: string, problems: Problem[]) {
    this.path = path;
    this.#problems = problems;
    if (isObject(value)) this.#value = value;
    else {
      this.#value = {};
      problems.push({ path, reason: 'must be an object' });
    }
  }

  at(name: string): string {
    return this.path === '' ? name : `${this.path}.${name}`;
  }

  wrong(name: string, reason: string): undefined {
    if (this.#problems.length < PROBLEMS_MAX) this.#problems.push({ path: this.at(name), reason });
    return undefined;
  }

  raw(name: string): unknown {
    const value = Object.hasOwn(this.#value, name) ? this.#value[name] : undefined;
    return value === null || value === '' ? undefined : value;
  }

  object(name: string): Fields {
    return new Fields(this.raw(name) ?? {}, this.at(name), this.#problems);
  }

  objects(name: string): Fields[] {
    const list = this.raw(name);
    if (list === undefined) return [];
    if (!Array.isArray(list)) {
      this.wrong(name, 'must be a list');
      return [];
    }
    return list.map((item, index) => new Fields(item, this.at(`${name}[${index}]`), this.#problems));
  }

  text(name: string, charsMax = ARGUMENT_CHARS_MAX): string | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    if (typeof value !== 'string') return this.wrong(name, 'must be text');
    if (value.length > charsMax) return this.wrong(name, `must have at most ${charsMax} characters`);
    return value.includes('\0') ? this.wrong(name, 'must not contain NUL') : value;
  }

  required(name: string, charsMax?: number): string {
    const before = this.#problems.length;
    const value = this.text(name, charsMax);
    if (value === undefined && this.#problems.length === before) this.wrong(name, 'is missing');
    return value ?? '';
  }

  /** Deployed documents write booleans as text. */
  flag(name: string): boolean {
    const value = this.raw(name);
    if (value === undefined || value === false || value === 'false') return false;
    if (value === true || value === 'true') return true;
    this.wrong(name, 'must be true or false');
    return false;
  }

  whole(name: string, min: number, max: number): number | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    const number = typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : value;
    if (typeof number === 'number' && Number.isInteger(number) && number >= min && number <= max)
      return number;
    return this.wrong(name, `must be a whole number from ${min} to ${max}`);
  }

  texts(name: string): string[] | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    const fine =
      Array.isArray(value) &&
      value.length <= ARGUMENTS_MAX &&
      value.every(
        (item) => typeof item === 'string' && item.length <= ARGUMENT_CHARS_MAX && !item.includes('\0'),
      );
    return fine ? (value as string[]) : this.wrong(name, `must be a list of at most ${ARGUMENTS_MAX} texts`);
  }

  /** A list of arguments, or one text that is split at commas (`\,` is a comma), each token trimmed. */
  command(name: string): string[] | undefined {
    const value = this.raw(name);
    const argv = typeof value === 'string' ? splitCommand(value) : this.texts(name);
    if (argv === undefined) return undefined;
    const program = argv[0] ?? '';
    if (program === '') return this.wrong(name, 'must name a program');
    if (argv.some((argument) => argument.includes('\0'))) return this.wrong(name, 'must not contain NUL');
    if (/\s/.test(program))
      return this.wrong(name, 'the program must not contain white space: separate arguments by commas');
    return argv;
  }

  /** An absolute path without `.`, `..`, doubled or trailing slashes, outside of what the kernel makes up. */
  filePath(name: string): string {
    const before = this.#problems.length;
    const path = this.required(name);
    if (this.#problems.length === before) {
      const reason = pathProblem(path);
      if (reason !== undefined) this.wrong(name, reason);
    }
    return path;
  }

  /** Names of units, each once and with its suffix. */
  unitNames(name: string): string[] {
    const before = this.#problems.length;
    const value = this.raw(name);
    const texts = typeof value === 'string' ? [value] : this.texts(name);
    if (this.#problems.length > before) return [];
    // AWS' template has all of them in one element of a list.
    const said = (texts ?? []).flatMap((one) => one.split(/\s+/)).filter((word) => word !== '');
    if (said.length === 0) {
      this.wrong(name, 'must name at least one unit');
      return [];
    }
    const named = said.map((word) => (UNIT_SUFFIX.test(word) ? word : `${word}.service`));
    const bad = named.find(
      (unit) => !UNIT_NAME.test(unit) || UNIT_TEMPLATE.test(unit) || unit.length > UNIT_NAME_CHARS_MAX,
    );
    if (bad !== undefined) this.wrong(name, `is no name of a unit: "${bad.slice(0, 60)}"`);
    return [...new Set(named)];
  }

  mode(name: string): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    return /^[0-7]{3,4}$/.test(text)
      ? Number.parseInt(text, 8)
      : this.wrong(name, 'must be octal, such as "0644"');
  }

  sha256(name: string): string | undefined {
    const text = this.text(name)?.toLowerCase();
    if (text === undefined) return undefined;
    return /^[0-9a-f]{64}$/.test(text) ? text : this.wrong(name, 'must be 64 hexadecimal digits');
  }

  url(name: string): string {
    const before = this.#problems.length;
    const text = this.required(name);
    const protocol = URL.canParse(text) ? new URL(text).protocol : '';
    if (this.#problems.length === before && protocol !== 'https:' && protocol !== 'http:') {
      this.wrong(name, 'must be an https URL');
    }
    return text;
  }
}

/** Why this is no path that a document may name; `undefined` when it is one. */
export function pathProblem(path: string): string | undefined {
  if (!path.startsWith('/')) return 'must be an absolute path';
  if (posix.normalize(path) !== path || path.endsWith('/'))
    return 'must be a path without ., .., // or a trailing /';
  if (path.split('/').some((name) => name.startsWith(OWN_PREFIX)))
    return `must not contain a name that begins with ${OWN_PREFIX}`;
  const root = FORBIDDEN_ROOTS.find((forbidden) => path === forbidden || path.startsWith(`${forbidden}/`));
  return root === undefined ? undefined : `must not be under ${root}`;
}

function splitCommand(text: string): string[] {
  const tokens: string[] = [''];
  for (const part of text.match(/\\,|,|[^,\\]+|\\/g) ?? []) {
    if (part === ',') tokens.push('');
    else tokens.push((tokens.pop() ?? '') + (part === '\\,' ? ',' : part));
  }
  return tokens.map((token) => token.trim());
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
