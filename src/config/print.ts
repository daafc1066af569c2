import { z } from 'zod';
import { configSchema, defaultConfig } from './config.ts';

/** One key of the configuration, with its meaning and its default. */
export interface ConfigKey {
  path: string;
  /** JSON; `undefined` where there is none. */
  default: string | undefined;
  meaning: string;
}

/** All keys, in the order of the file. */
export function configKeys(): ConfigKey[] {
  return keysOf(configSchema, defaultConfig(), '');
}

function keysOf(schema: z.ZodType, defaults: unknown, prefix: string): ConfigKey[] {
  const inner = unwrap(schema);
  if (!(inner instanceof z.ZodObject)) {
    const fallback = prefix === 'thing' ? undefined : JSON.stringify(defaults);
    return [{ path: prefix, default: fallback, meaning: schema.description ?? '' }];
  }
  return Object.entries(inner.shape as Record<string, z.ZodType>).flatMap(([name, one]) =>
    keysOf(one, (defaults as Record<string, unknown>)[name], prefix === '' ? name : `${prefix}.${name}`),
  );
}

function unwrap(schema: z.ZodType): z.ZodType {
  if (schema instanceof z.ZodPrefault) return unwrap(schema.unwrap() as z.ZodType);
  return schema;
}

/** The commented default file, `config/evenkeel.yaml`: every key is there, every value is the default. */
export function defaultFile(): string {
  const lines = ['# Configuration of evenkeel. Every value here is the default; uncomment what you change.'];
  let section = '';
  for (const { path, default: value, meaning } of configKeys()) {
    const [first = '', second] = path.split('.');
    if (first !== section) {
      lines.push('');
      section = first;
      if (second !== undefined) lines.push(`${first}:`);
    }
    const indent = second === undefined ? '' : '  ';
    const name = second ?? first;
    lines.push(`${indent}# ${meaning}`, `${indent}# ${name}:${value === undefined ? '' : ` ${value}`}`);
  }
  return `${lines.join('\n')}\n`;
}
