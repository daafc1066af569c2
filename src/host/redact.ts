/** What must not stand in a log or a support archive, wherever it comes from. */

const SECRET = '[secret]';
const SECRET_KEY = /^(password|pin|privateKey|secret|authorization|.*(token|secret|signature))$/i;
/** A presigned URL is a key for as long as it is valid, so no query is kept. */
const QUERY = /\b((?:https?|wss?):\/\/[^\s"'<>?#]+)\?[^\s"'<>]+/gi;
const USER_INFO = /\b([a-z][a-z0-9+.-]*:\/\/)[^\s/"'<>@]+@/gi;
const PEM_KEY = /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)/g;
/** As command lines, headers and configurations write them. */
const ASSIGNED =
  /\b(password|passwd|pin|secret|api[_-]?key|[a-z_-]*token|authorization|x-amz-[a-z-]+)(["']?\s*[=:]\s*)(?:bearer\s+|basic\s+)?("[^"\n]*"|'[^'\n]*'|[^\s"',;&]+)/gi;
/** Access keys of AWS go by their first letters. */
const AWS_KEY = /\b(AKIA|ASIA)[A-Z0-9]{16}\b/g;
const DEPTH_MAX = 8;

export function redactedText(text: string): string {
  return text
    .replace(PEM_KEY, SECRET)
    .replace(QUERY, `$1?${SECRET}`)
    .replace(USER_INFO, `$1${SECRET}@`)
    .replace(ASSIGNED, `$1$2${SECRET}`)
    .replace(AWS_KEY, SECRET);
}

/** The same for every string of a value, and for whatever stands under a name that tells of a secret. */
export function redacted(value: unknown, depth = 0): unknown {
  if (typeof value === 'string') return redactedText(value);
  if (typeof value !== 'object' || value === null) return value;
  if (depth >= DEPTH_MAX) return '[deep]';
  if (Array.isArray(value)) return value.map((one) => redacted(one, depth + 1));
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [
      key,
      SECRET_KEY.test(key) && inner !== undefined && typeof inner !== 'object'
        ? SECRET
        : redacted(inner, depth + 1),
    ]),
  );
}
