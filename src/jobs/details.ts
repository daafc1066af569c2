export type StatusDetails = Readonly<Record<string, string>>;

/** L5-L7. */
const PAIRS_MAX = 10;
const KEY_CHARS_MAX = 128;
const VALUE_CHARS_MAX = 1024;

/** Makes any details legal: at most ten pairs, no control characters, nothing empty. Cuts; never fails. */
export function legalDetails(details: StatusDetails): Record<string, string> {
  const pairs = Object.entries(details).map(([key, value]) => [legalKey(key), legalValue(value)] as const);
  return Object.fromEntries(pairs.filter(([key, value]) => key !== '' && value !== '').slice(0, PAIRS_MAX));
}

/** The least that still says something: sent when the service refused the whole (E3). */
export function minimalDetails(details: StatusDetails): Record<string, string> {
  const kept = ['phase', 'outcome', 'code'].flatMap((key) => {
    const value = details[key];
    return value === undefined ? [] : [[key, legalValue(value).slice(0, KEY_CHARS_MAX)] as const];
  });
  return legalDetails(Object.fromEntries(kept));
}

function legalKey(key: string): string {
  return key.replace(/[^a-zA-Z0-9:_-]/g, '_').slice(0, KEY_CHARS_MAX);
}

function legalValue(value: string): string {
  // L7: newlines and tabs are refused too. A cut must not leave half a surrogate pair, which is of category C.
  const visible = value
    .replace(/[\n\r\t]+/g, ' ')
    .replace(/\p{C}/gu, '')
    .trim();
  return visible.slice(0, VALUE_CHARS_MAX).replace(/\p{C}$/u, '');
}
