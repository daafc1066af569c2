import { readFileSync } from 'node:fs';

/** No clock that is right can say an earlier time; moved on with each release. */
export const NOT_BEFORE = Date.UTC(2026, 10, 1);

/** The version of the installed package. */
export function packageVersion(): string {
  const file = new URL('../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}
