import { readFileSync, statSync } from 'node:fs';

const PACKAGE = new URL('../../package.json', import.meta.url);

/**
 * No clock that is right can say an earlier time: this was built then. `npm run build` writes it, and SOURCE_DATE_EPOCH
 * makes it the same for each build. Sources that run as they are were put here then.
 */
export function builtAtMs(): number {
  try {
    const { builtAtMs: ms } = JSON.parse(readFileSync(new URL('./built.json', import.meta.url), 'utf8')) as {
      builtAtMs: number;
    };
    return ms;
  } catch {
    return statSync(PACKAGE).mtimeMs;
  }
}

/** The version of the installed package. */
export function packageVersion(): string {
  return (JSON.parse(readFileSync(PACKAGE, 'utf8')) as { version: string }).version;
}
