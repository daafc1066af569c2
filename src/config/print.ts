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
  const keys = Object.entries(inner.shape as Record<string, z.ZodType>).flatMap(([name, one]) =>
    keysOf(
      one,
      (defaults as Record<string, unknown> | undefined)?.[name],
      prefix === '' ? name : `${prefix}.${name}`,
    ),
  );
  // A section that is not there by default has a line of its own.
  const isAbsent = schema instanceof z.ZodOptional;
  return isAbsent ? [{ path: prefix, default: undefined, meaning: schema.description ?? '' }, ...keys] : keys;
}

function unwrap(schema: z.ZodType): z.ZodType {
  if (schema instanceof z.ZodPrefault || schema instanceof z.ZodOptional)
    return unwrap(schema.unwrap() as z.ZodType);
  return schema;
}

/** The commented default file, `config/evenkeel.yaml`: every key is there, every value is the default. */
export function defaultFile(): string {
  const lines = ['# Configuration of evenkeel. Every value here is the default; uncomment what you change.'];
  let section = '';
  for (const { path, default: value, meaning } of configKeys()) {
    const [first = '', second, third] = path.split('.');
    if (first !== section) {
      lines.push('');
      section = first;
      if (second !== undefined) lines.push(`${first}:`);
    }
    const indent = second === undefined ? '' : '  ';
    const mark = third === undefined ? `${indent}#` : `${indent}#  `;
    const remark = third === undefined ? mark : `${mark} #`;
    const name = third ?? second ?? first;
    lines.push(`${remark} ${meaning}`, `${mark} ${name}:${value === undefined ? '' : ` ${value}`}`);
  }
  return `${lines.join('\n')}\n`;
}
