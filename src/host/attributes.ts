import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/**
 * Extended attributes and ACLs by way of `getfattr` and `setfattr` (Debian package `attr`), which Node has no calls
 * for. ACLs are attributes too (`system.posix_acl_access`, man 5 acl). Where the programs are not installed nothing is
 * known of attributes, and none are compared.
 */

const run = promisify(execFile);
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024;
/** Paths that one call is given: far below what an argument list may hold. */
const PATHS_AT_ONCE = 256;

/** Written by the kernel or by a mount, by itself and differently on a copy. */
const NOT_OURS = /^(security\.(selinux|ima|evm)|(trusted|user)\.overlay\.)/;

/** Attribute name to base64 value. */
export type Attributes = Readonly<Record<string, string>>;

const NONE: Attributes = {};

/** The attributes of each path, never of what a link points to; an empty map when they cannot be read here at all. */
export async function readAttributesOf(paths: readonly string[]): Promise<Map<string, Attributes>> {
  const found = new Map<string, Attributes>(paths.map((path) => [path, NONE]));
  for (let at = 0; at < paths.length; at += PATHS_AT_ONCE) {
    const text = await getfattr(paths.slice(at, at + PATHS_AT_ONCE));
    if (text === undefined) return new Map();
    for (const [path, attributes] of parseDump(text)) found.set(path, attributes);
  }
  return found;
}

/** Gives an entry these attributes besides those that it has. Throws where the file system does not take them. */
export async function writeAttributesTo(path: string, attributes: Attributes): Promise<void> {
  for (const [name, value] of Object.entries(attributes)) {
    await run('setfattr', ['-h', '-n', name, '-v', `0s${value}`, '--', path]);
  }
}

/** Removes all attributes that `readAttributesOf` would name. */
export async function removeAttributesOf(path: string): Promise<void> {
  const found = (await readAttributesOf([path])).get(path) ?? NONE;
  for (const name of Object.keys(found)) await run('setfattr', ['-h', '-x', name, '--', path]);
}

async function getfattr(paths: readonly string[]): Promise<string | undefined> {
  const args = ['-h', '-d', '-m', '-', '-e', 'base64', '--absolute-names', '--', ...paths];
  try {
    return (await run('getfattr', args, { maxBuffer: OUTPUT_BYTES_MAX })).stdout;
  } catch (error) {
    const { code, stdout } = error as NodeJS.ErrnoException & { stdout?: string };
    if (code === 'ENOENT') return undefined;
    // A path that is gone, or a file system without attributes: what it said of the others stands.
    if (typeof code === 'number') return stdout ?? '';
    throw error;
  }
}

/** Reads what `getfattr --dump` prints: a header with the path, then one line for each attribute. */
export function parseDump(text: string): Map<string, Attributes> {
  const found = new Map<string, Record<string, string>>();
  let current: Record<string, string> = {};
  for (const line of text.split('\n')) {
    const header = /^# file: (.*)$/.exec(line);
    if (header) {
      current = {};
      found.set(unescaped(header[1] ?? ''), current);
      continue;
    }
    const [, name = '', value = ''] = /^([^=]+)=0s(.*)$/.exec(line) ?? [];
    if (name !== '' && !NOT_OURS.test(name)) current[unescaped(name)] = value;
  }
  return found;
}

/** Bytes that would be mistaken for the dump's own are written as `\ooo`. */
function unescaped(text: string): string {
  const bytes = Buffer.from(text).toString('latin1');
  const plain = bytes.replace(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
  return Buffer.from(plain, 'latin1').toString();
}
