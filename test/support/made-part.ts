import { readFile, writeFile } from 'node:fs/promises';
import { expect } from 'vitest';

/**
 * Figures that a test makes and people read. With `EVENKEEL_WRITE=1` the test writes them; else it compares, so that
 * what is committed is what the code makes now.
 */
const WRITES = process.env['EVENKEEL_WRITE'] === '1';

export async function madeFile(url: URL, made: string): Promise<void> {
  if (WRITES) await writeFile(url, made);
  else expect(await readFile(url, 'utf8')).toBe(made);
}

/** The part of a Markdown file between `<!-- made by COMMAND -->` and `<!-- end -->`. */
export async function madePart(url: URL, command: string, made: string): Promise<void> {
  const begin = `<!-- made by ${command} -->`;
  const text = await readFile(url, 'utf8');
  const [before, rest = ''] = text.split(begin);
  expect(rest, `a part that is ${begin}`).not.toBe('');
  const after = rest.slice(rest.indexOf('<!-- end -->'));
  const whole = `${before}${begin}\n\n${made}\n\n${after}`;
  if (WRITES) await writeFile(url, whole);
  else expect(text).toBe(whole);
}
