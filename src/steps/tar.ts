/**
 * A reader of tar archives as GNU tar, bsdtar and Python write them: ustar, pax and GNU long names. It is strict on
 * purpose: what it does not know it refuses, so that nothing is judged as one thing and extracted as another.
 */

/** What no archive should hold, or what is no archive. */
export class BadArchive extends Error {}

export type TarKind = 'file' | 'directory' | 'link' | 'hardLink' | 'fifo' | 'blockDevice' | 'characterDevice';

export interface TarEntry {
  /** As it stands in the archive. */
  name: string;
  kind: TarKind;
  mode: number;
  mtimeMs: number;
  sizeBytes: number;
  /** Of a link. */
  target: string;
  /** The content; what is not read is passed over. */
  content(): AsyncIterable<Uint8Array>;
}

const BLOCK_BYTES = 512;
const NAME_BYTES_MAX = 8192;
const EXTENSION_BYTES_MAX = 64 * 1024;

const KINDS: Readonly<Record<string, TarKind>> = {
  '\0': 'file',
  '0': 'file',
  '1': 'hardLink',
  '2': 'link',
  '3': 'characterDevice',
  '4': 'blockDevice',
  '5': 'directory',
  '6': 'fifo',
};

/** What an extension header says of the entry behind it. */
interface Extension {
  path?: string;
  linkpath?: string;
  size?: number;
  mtimeMs?: number;
}

/** The entries of an archive, one at a time; reads on to the end of the source behind the last. */
export async function* readTar(source: AsyncIterable<Uint8Array>): AsyncGenerator<TarEntry> {
  const bytes = new ByteReader(source);
  try {
    yield* entriesOf(bytes);
    await bytes.drain();
  } finally {
    await bytes.close();
  }
}

async function* entriesOf(bytes: ByteReader): AsyncGenerator<TarEntry> {
  let extension: Extension = {};
  for (;;) {
    const header = await bytes.take(BLOCK_BYTES);
    if (header.every((byte) => byte === 0)) return;
    const entry = parseHeader(header);
    switch (entry.type) {
      case 'x':
        extension = { ...extension, ...paxRecords(await extensionOf(entry, bytes, EXTENSION_BYTES_MAX)) };
        break;
      case 'g':
        refuseGlobal(paxRecords(await extensionOf(entry, bytes, EXTENSION_BYTES_MAX)));
        break;
      case 'L':
        extension = { ...extension, path: textOf(await extensionOf(entry, bytes, NAME_BYTES_MAX)) };
        break;
      case 'K':
        extension = { ...extension, linkpath: textOf(await extensionOf(entry, bytes, NAME_BYTES_MAX)) };
        break;
      default: {
        const sizeBytes = extension.size ?? entry.sizeBytes;
        const made = entryOf(entry, extension, sizeBytes);
        extension = {};
        let left = made.kind === 'file' ? sizeBytes : 0;
        const padding = (BLOCK_BYTES - (left % BLOCK_BYTES)) % BLOCK_BYTES;
        yield {
          ...made,
          async *content() {
            while (left > 0) {
              const chunk = await bytes.some(left);
              left -= chunk.length;
              yield chunk;
            }
          },
        };
        await bytes.skip(left + padding);
      }
    }
  }
}

interface Header {
  name: string;
  type: string;
  mode: number;
  mtimeMs: number;
  sizeBytes: number;
  target: string;
}

function parseHeader(block: Uint8Array): Header {
  const sum = block.reduce((total, byte, at) => total + (at >= 148 && at < 156 ? 0x20 : byte), 0);
  if (numberIn(block, 148, 8) !== sum) throw new BadArchive('a header is damaged, or this is no tar archive');
  const magic = Buffer.from(block.subarray(257, 265)).toString('latin1');
  if (magic !== 'ustar\x0000' && magic !== 'ustar  \0')
    throw new BadArchive('a header is neither of POSIX nor of GNU tar');
  const prefix = magic === 'ustar\x0000' ? textOf(block.subarray(345, 500)) : '';
  const name = textOf(block.subarray(0, 100));
  return {
    name: prefix === '' ? name : `${prefix}/${name}`,
    type: String.fromCharCode(block[156] ?? 0),
    mode: numberIn(block, 100, 8),
    mtimeMs: numberIn(block, 136, 12) * 1000,
    sizeBytes: numberIn(block, 124, 12),
    target: textOf(block.subarray(157, 257)),
  };
}

function entryOf(header: Header, extension: Extension, sizeBytes: number): Omit<TarEntry, 'content'> {
  const kind = KINDS[header.type];
  const name = extension.path ?? header.name;
  if (kind === undefined)
    throw new BadArchive(`${quoted(name)} is of the type ${quoted(header.type)}, which is not known`);
  if (kind !== 'file' && kind !== 'hardLink' && sizeBytes !== 0)
    throw new BadArchive(`${quoted(name)} is a ${kind} and has a content`);
  return {
    name,
    // The form before POSIX wrote directories so.
    kind: kind === 'file' && name.endsWith('/') ? 'directory' : kind,
    mode: header.mode & 0o7777,
    mtimeMs: extension.mtimeMs ?? header.mtimeMs,
    sizeBytes,
    target: extension.linkpath ?? header.target,
  };
}

/** Octal digits, or base 256 where the first bit is set (GNU, for what octal cannot hold). */
function numberIn(block: Uint8Array, from: number, length: number): number {
  const field = block.subarray(from, from + length);
  if (((field[0] ?? 0) & 0x80) !== 0) {
    const value = field.reduce((total, byte, at) => total * 256 + (at === 0 ? byte & 0x7f : byte), 0);
    if ((field[0] ?? 0) !== 0x80 || !Number.isSafeInteger(value))
      throw new BadArchive('a number in a header is out of range');
    return value;
  }
  const text = Buffer.from(field).toString('latin1');
  const digits = /^ *([0-7]*)[ \0]*$/.exec(text)?.[1];
  if (digits === undefined) throw new BadArchive('a number in a header is none, or this is no tar archive');
  return digits === '' ? 0 : Number.parseInt(digits, 8);
}

/** Up to the first NUL. Names that are no UTF-8 would be changed by being read. */
function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(
      end < 0 ? bytes : bytes.subarray(0, end),
    );
  } catch {
    throw new BadArchive('a name is no UTF-8');
  }
}

async function extensionOf({ sizeBytes }: Header, bytes: ByteReader, bytesMax: number): Promise<Uint8Array> {
  if (sizeBytes > bytesMax) throw new BadArchive(`an extension header is longer than ${bytesMax} bytes`);
  const content = await bytes.take(sizeBytes);
  await bytes.skip((BLOCK_BYTES - (sizeBytes % BLOCK_BYTES)) % BLOCK_BYTES);
  return content;
}

/** `LENGTH KEY=VALUE\n`, one behind the other (POSIX pax). Attributes and ACLs in it are not taken over. */
function paxRecords(bytes: Uint8Array): Extension {
  const said: Extension = {};
  for (let at = 0; at < bytes.length; ) {
    const head = Buffer.from(bytes.subarray(at, at + 12)).toString('latin1');
    const digits = /^(\d+) /.exec(head)?.[1] ?? '';
    const end = at + Number(digits);
    const record = bytes.subarray(at + digits.length + 1, end - 1);
    const equals = record.indexOf(0x3d);
    if (digits === '' || end > bytes.length || bytes[end - 1] !== 0x0a || equals <= 0)
      throw new BadArchive('an extension header is damaged');
    const key = Buffer.from(record.subarray(0, equals)).toString('latin1');
    note(said, key, record.subarray(equals + 1));
    at = end;
  }
  return said;
}

function note(said: Extension, key: string, value: Uint8Array): void {
  if (key.startsWith('GNU.sparse.')) throw new BadArchive('it holds a sparse file, which is not read here');
  if ((key === 'path' || key === 'linkpath') && value.includes(0))
    throw new BadArchive('a name contains NUL');
  if (key === 'path') said.path = textOf(value);
  if (key === 'linkpath') said.linkpath = textOf(value);
  if (key === 'size' || key === 'mtime') {
    const number = Number(textOf(value));
    if (key === 'mtime' && Number.isFinite(number)) said.mtimeMs = number * 1000;
    else if (key === 'size' && Number.isSafeInteger(number) && number >= 0) said.size = number;
    else throw new BadArchive('a number in an extension header is none');
  }
}

/** What would hold for all entries behind it is a way to say two things at once. */
function refuseGlobal({ path, linkpath, size }: Extension): void {
  if (path !== undefined || linkpath !== undefined || size !== undefined)
    throw new BadArchive('a global header names a path or a size');
}

/** For a message: what may be in a name must not steer a terminal. */
export function quoted(text: string): string {
  const shown = text.length > 200 ? `${text.slice(0, 200)}…` : text;
  return JSON.stringify(shown).replace(
    /[\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** Reads a source of chunks by the byte. */
class ByteReader {
  readonly #source: AsyncIterator<Uint8Array>;
  #held: Uint8Array = new Uint8Array(0);

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** Between one and `countMax` bytes. */
  async some(countMax: number): Promise<Uint8Array> {
    while (this.#held.length === 0) {
      const next = await this.#source.next();
      if (next.done === true) throw new BadArchive('it ends in its middle');
      this.#held = next.value;
    }
    const taken = this.#held.subarray(0, countMax);
    this.#held = this.#held.subarray(taken.length);
    return taken;
  }

  /** Exactly `count` bytes. */
  async take(count: number): Promise<Uint8Array> {
    const taken = new Uint8Array(count);
    for (let at = 0; at < count; ) {
      const part = await this.some(count - at);
      taken.set(part, at);
      at += part.length;
    }
    return taken;
  }

  async skip(count: number): Promise<void> {
    for (let left = count; left > 0; ) left -= (await this.some(left)).length;
  }

  /** What follows the archive is only the filling of its last record; a compressor's checksum stands behind it. */
  async drain(): Promise<void> {
    while ((await this.#source.next()).done !== true);
    this.#held = new Uint8Array(0);
  }

  /** Whoever stops in the middle ends what the bytes come from. */
  async close(): Promise<void> {
    await this.#source.return?.();
  }
}
