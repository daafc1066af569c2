import { HttpRefusal } from './errors.ts';

/** C25: an opaque token that names the last entry of the page before, and the question it belongs to. */

export interface PageRequest {
  maxResults?: number;
  nextToken?: string;
}

export interface Page<T> {
  items: T[];
  nextToken?: string;
}

const PAGE_DEFAULT = 250;

/** `question` is whatever narrowed the list: a token of another question is refused. */
export function pageOf<T>(
  all: readonly T[],
  keyOf: (one: T) => string,
  { maxResults = PAGE_DEFAULT, nextToken }: PageRequest,
  question: unknown = '',
): Page<T> {
  const asked = JSON.stringify(question);
  const start = nextToken === undefined ? 0 : startOf(all, keyOf, nextToken, asked);
  const items = all.slice(start, start + maxResults);
  const end = start + items.length;
  const last = items.at(-1);
  if (end >= all.length || last === undefined) return { items };
  return { items, nextToken: encoded({ asked, after: keyOf(last), index: end }) };
}

interface Token {
  asked: string;
  after: string;
  index: number;
}

function startOf<T>(all: readonly T[], keyOf: (one: T) => string, nextToken: string, asked: string): number {
  const token = decodedToken(nextToken);
  if (token?.asked !== asked) throw new HttpRefusal('InvalidRequest', 'Invalid nextToken');
  const at = all.findIndex((one) => keyOf(one) === token.after);
  // The entry may be gone by now; then what followed it stands in its place.
  return at === -1 ? token.index - 1 : at + 1;
}

function encoded(token: Token): string {
  return Buffer.from(JSON.stringify(token)).toString('base64url');
}

function decodedToken(text: string): Token | undefined {
  try {
    const value = JSON.parse(Buffer.from(text, 'base64url').toString('utf8')) as Partial<Token> | null;
    return typeof value?.after === 'string' && Number.isInteger(value.index) ? (value as Token) : undefined;
  } catch {
    return undefined;
  }
}
