import { type Fields, pathProblem, UNITS_PATTERN } from './fields.ts';

/**
 * The members that an object of a document may have. One table says both how each is read and what the published JSON
 * Schema says of it, so that the two cannot differ.
 */
export interface Member<T> {
  read(fields: Fields, name: string): T;
  schema: JsonSchema;
  required: boolean;
}

export type Shape = Readonly<Record<string, Member<unknown>>>;

export type Values<S extends Shape> = { [K in keyof S]: S[K] extends Member<infer T> ? T : never };

/** A schema of JSON Schema draft 2020-12. */
export type JsonSchema = Readonly<Record<string, unknown>>;

/** Reads every member of the shape; what is wrong is noted in the fields' problems. */
export function readShape<S extends Shape>(fields: Fields, shape: S): Values<S> {
  const values = Object.entries(shape).map(([name, member]) => [name, member.read(fields, name)] as const);
  return Object.fromEntries(values) as Values<S>;
}

/** The schema of an object with these members; others are ignored when it is read, and allowed here. */
export function objectSchema(
  shape: Shape,
  more: { properties?: object; required?: string[] } = {},
): JsonSchema {
  const members = Object.entries(shape);
  const required = [
    ...(more.required ?? []),
    ...members.filter(([, member]) => member.required).map(([name]) => name),
  ];
  return {
    type: 'object',
    properties: {
      ...more.properties,
      ...Object.fromEntries(members.map(([name, { schema }]) => [name, schema])),
    },
    ...(required.length > 0 && { required }),
  };
}

export function text(description: string, charsMax?: number): Member<string | undefined> {
  return {
    read: (fields, name) => fields.text(name, charsMax),
    schema: { description, type: 'string', ...(charsMax !== undefined && { maxLength: charsMax }) },
    required: false,
  };
}

export function requiredText(
  description: string,
  pattern?: { regex: RegExp; words: string },
): Member<string> {
  return {
    read(fields, name) {
      const value = fields.required(name);
      if (pattern && value !== '' && !pattern.regex.test(value)) fields.wrong(name, pattern.words);
      return value;
    },
    schema: { description, type: 'string', minLength: 1, ...(pattern && { pattern: pattern.regex.source }) },
    required: true,
  };
}

/** Absent is false; deployed documents write booleans as text. */
export function flag(description: string): Member<boolean> {
  return {
    read: (fields, name) => fields.flag(name),
    schema: { description, enum: [true, false, 'true', 'false', ''] },
    required: false,
  };
}

export function whole(description: string, min: number, max: number): Member<number | undefined> {
  return {
    read: (fields, name) => fields.whole(name, min, max),
    schema: {
      description,
      anyOf: [
        { type: 'integer', minimum: min, maximum: max },
        { type: 'string', pattern: '^\\d{0,15}$' },
      ],
    },
    required: false,
  };
}

export function texts(description: string): Member<string[] | undefined> {
  return {
    read: (fields, name) => fields.texts(name),
    schema: { description, anyOf: [{ type: 'array', items: { type: 'string' } }, { const: '' }] },
    required: false,
  };
}

const PACKAGES_MAX = 128;

/** A program with its arguments: a list, or one text that is split at commas. */
export function command(description: string): Member<string[] | undefined> {
  return {
    read: (fields, name) => fields.command(name),
    schema: { description, anyOf: [{ type: 'string' }, { type: 'array', items: { type: 'string' } }] },
    required: false,
  };
}

export function requiredCommand(description: string): Member<string[] | undefined> {
  return {
    read: (fields, name) =>
      fields.raw(name) === undefined ? fields.wrong(name, 'is missing') : fields.command(name),
    schema: {
      description,
      anyOf: [
        { type: 'string', minLength: 1 },
        { type: 'array', items: { type: 'string' }, minItems: 1 },
      ],
    },
    required: true,
  };
}

const PATH_PATTERN = '^/(?!(proc|sys|dev|run)(/|$))([^/]+(/[^/]+)*)?$';

/** An absolute path without `.`, `..`, doubled or trailing slashes, outside of what the kernel makes up. */
export function filePath(description: string): Member<string> {
  return {
    read: (fields, name) => fields.filePath(name),
    schema: { description, type: 'string', pattern: PATH_PATTERN },
    required: true,
  };
}

export function filePaths(description: string): Member<string[]> {
  return {
    read(fields, name) {
      const paths = fields.texts(name) ?? [];
      for (const [index, path] of paths.entries()) {
        const reason = pathProblem(path);
        if (reason !== undefined) fields.wrong(`${name}[${index}]`, reason);
      }
      return paths;
    },
    schema: {
      description,
      anyOf: [{ type: 'array', items: { type: 'string', pattern: PATH_PATTERN } }, { const: '' }],
    },
    required: false,
  };
}

/** Units of systemd: a list, or one text split at white space; `.service` where no suffix is said. */
export function unitNames(description: string): Member<string[]> {
  return {
    read: (fields, name) => fields.unitNames(name),
    schema: {
      description,
      anyOf: [
        { type: 'string', pattern: UNITS_PATTERN },
        { type: 'array', items: { type: 'string', pattern: UNITS_PATTERN }, minItems: 1 },
      ],
    },
    required: true,
  };
}

/** A path that may be absent. */
export function optionalFilePath(description: string): Member<string | undefined> {
  return {
    read: (fields, name) => (fields.raw(name) === undefined ? undefined : fields.filePath(name)),
    schema: { description, anyOf: [{ type: 'string', pattern: PATH_PATTERN }, { const: '' }] },
    required: false,
  };
}

export function choice<T extends string>(description: string, values: readonly T[]): Member<T | undefined> {
  return {
    read(fields, name) {
      const value = fields.text(name);
      const known = values.find((one) => one === value);
      if (value !== undefined && known === undefined)
        fields.wrong(name, `must be one of ${values.join(', ')}`);
      return known;
    },
    schema: { description, enum: [...values, ''] },
    required: false,
  };
}

export function mode(description: string): Member<number | undefined> {
  return {
    read: (fields, name) => fields.mode(name),
    schema: { description, type: 'string', pattern: '^([0-7]{3,4})?$' },
    required: false,
  };
}

/** What apt takes as one package; never an option, nor a pattern, nor (behind a trailing `-`) its opposite. */
const PACKAGE = '[a-z0-9]([a-z0-9.+-]*[a-z0-9.+])?(:[a-z0-9]+(-[a-z0-9]+)*)?';
const PACKAGE_VERSION = '=[0-9A-Za-z][0-9A-Za-z.+:~-]*';

/** Names of packages: a list, or one text with spaces between them, as AWS' managed templates have it. */
export function packages(description: string, versions: 'versions' | 'names'): Member<string[]> {
  const pattern = versions === 'versions' ? `${PACKAGE}(${PACKAGE_VERSION})?` : PACKAGE;
  const word = new RegExp(`^${pattern}$`);
  const list = `^\\s*${pattern}(\\s+${pattern})*\\s*$`;
  return {
    read(fields, name) {
      const value = fields.raw(name);
      const said = typeof value === 'string' ? [fields.text(name) ?? ''] : (fields.texts(name) ?? []);
      const words = [...new Set(said.flatMap((one) => one.split(/\s+/)).filter((one) => one !== ''))];
      if (words.length === 0) fields.wrong(name, 'names no package');
      if (words.length > PACKAGES_MAX) fields.wrong(name, `must name at most ${PACKAGES_MAX} packages`);
      const wrong = words.find((one) => !word.test(one));
      if (wrong !== undefined) fields.wrong(name, `is no name of a package: "${wrong.slice(0, 60)}"`);
      return words;
    },
    schema: {
      description,
      anyOf: [
        { type: 'array', items: { type: 'string' }, minItems: 1 },
        { type: 'string', pattern: list },
      ],
    },
    required: true,
  };
}

export function sha256(description: string): Member<string | undefined> {
  return {
    read: (fields, name) => fields.sha256(name),
    schema: { description, type: 'string', pattern: '^([0-9a-fA-F]{64})?$' },
    required: false,
  };
}

export function url(description: string): Member<string> {
  return {
    read: (fields, name) => fields.url(name),
    schema: { description, type: 'string', pattern: '^[hH][tT][tT][pP][sS]?://' },
    required: true,
  };
}

export function base64(description: string, charsMax: number): Member<string | undefined> {
  return {
    read(fields, name) {
      const value = fields.text(name, charsMax);
      if (value === undefined || /^[A-Za-z0-9+/]*={0,2}$/.test(value)) return value;
      return fields.wrong(name, 'must be base64');
    },
    schema: { description, type: 'string', maxLength: charsMax, pattern: '^[A-Za-z0-9+/]*={0,2}$' },
    required: false,
  };
}
