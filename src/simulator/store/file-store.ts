import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { own } from './owner.ts';
import type { Collection, Store } from './port.ts';
import { type Change, decodeRecords, encodeRecord } from './record.ts';

const LOG = 'simulator.log';
const SOCKET = 'owner';
const FORMAT: Change = ['format', 'version', 2];
/** A log that is smaller is not worth a rewrite. */
const REWRITE_BYTES_MIN = 4 * 1024 * 1024;
/** Entries in a record of a rewritten log: no line becomes too long for a string. */
const ENTRIES_PER_RECORD = 1000;

/** A map that remembers what of it has changed. */
class FileCollection<T> implements Collection<T> {
  readonly #entries = new Map<string, T>();
  readonly #onChange: (key: string) => void;

  constructor(onChange: (key: string) => void) {
    this.#onChange = onChange;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: string): T | undefined {
    return this.#entries.get(key);
  }

  has(key: string): boolean {
    return this.#entries.has(key);
  }

  values(): IterableIterator<T> {
    return this.#entries.values();
  }

  entries(): IterableIterator<[string, T]> {
    return this.#entries.entries();
  }

  set(key: string, value: T): void {
    this.#entries.set(key, value);
    this.#onChange(key);
  }

  delete(key: string): boolean {
    const deleted = this.#entries.delete(key);
    if (deleted) this.#onChange(key);
    return deleted;
  }

  /** As it was saved: no change. */
  load(key: string, value: T | undefined): void {
    if (value === undefined) this.#entries.delete(key);
    else this.#entries.set(key, value);
  }
}

/**
 * Keeps everything in one log below a directory: a line for each lot of changes, written and `fdatasync`ed together
 * (whoever waits at the same time waits for the same write), rewritten when most of it is out of date. A last line
 * that is torn was never acknowledged, and is cut.
 */
export async function openFileStore(directory: string): Promise<Store> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const owner = await own(join(directory, SOCKET));
  try {
    return await openLog(join(directory, LOG), owner.release);
  } catch (error) {
    await owner.release();
    throw error;
  }
}

async function openLog(path: string, release: () => Promise<void>): Promise<Store> {
  await rm(`${path}.new`, { force: true });
  const file = await open(path, 'a+', 0o600);
  const log = await file.readFile();
  const { records, length } = decodeRecords(log);
  const [[format] = []] = records;
  // The first line is one of the first write, or nothing is.
  if (format && JSON.stringify(format) !== JSON.stringify(FORMAT)) {
    await file.close();
    throw new Error(`cannot read ${path}: written by another version`);
  }
  if (length < log.length) await file.truncate(length);
  const store = new FileStore({ path, file, records, length, release });
  await store.start(records.length === 0);
  return store;
}

interface OpenedLog {
  path: string;
  file: FileHandle;
  records: readonly Change[][];
  /** As far as it is whole, in bytes. */
  length: number;
  release(): Promise<void>;
}

class FileStore implements Store {
  readonly #path: string;
  readonly #collections = new Map<string, FileCollection<unknown>>();
  readonly #release: () => Promise<void>;
  #file: FileHandle;
  #bytes: number;
  /** What the log would have after a rewrite, as it was then. */
  #rewrittenBytes: number;
  #dirty = new Map<string, Set<string>>();
  #writing: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor({ path, file, records, length, release }: OpenedLog) {
    this.#path = path;
    this.#file = file;
    this.#release = release;
    this.#bytes = length;
    this.#rewrittenBytes = length;
    for (const [collection, key, value] of records.flat()) {
      if (collection !== FORMAT[0]) this.#of(collection).load(key, value);
    }
  }

  /** Makes what was read durable before anybody believes it. */
  async start(isNew: boolean): Promise<void> {
    if (isNew) await this.#append(encodeRecord([FORMAT]));
    else await this.#rewrite();
    await syncDirectory(dirname(this.#path));
  }

  collection<T>(name: string): Collection<T> {
    return this.#of(name) as FileCollection<unknown> as Collection<T>;
  }

  saved(): Promise<void> {
    if (this.#dirty.size === 0) return this.#writing ?? Promise.resolve();
    // Those who come while a write is under way share the one after it.
    this.#next ??= this.#writeAfter(this.#writing);
    return this.#next;
  }

  async close(): Promise<void> {
    try {
      await this.saved();
    } finally {
      await this.#file.close();
      await this.#release();
    }
  }

  #of(name: string): FileCollection<unknown> {
    let found = this.#collections.get(name);
    if (!found) {
      found = new FileCollection((key) => {
        this.#dirty.set(name, (this.#dirty.get(name) ?? new Set<string>()).add(key));
      });
      this.#collections.set(name, found);
    }
    return found;
  }

  /** A write that failed fails all that come after it: what the disk has is no longer known. */
  async #writeAfter(earlier: Promise<void> | undefined): Promise<void> {
    await earlier;
    this.#writing = this.#next;
    this.#next = undefined;
    const changes = this.#taken();
    if (this.#bytes > Math.max(REWRITE_BYTES_MIN, 4 * this.#rewrittenBytes)) await this.#rewrite();
    else await this.#append(encodeRecord(changes));
    if (this.#next === undefined) this.#writing = undefined;
  }

  #taken(): Change[] {
    const dirty = this.#dirty;
    this.#dirty = new Map();
    return [...dirty].flatMap(([name, keys]) => {
      const collection = this.#of(name);
      return [...keys].map((key): Change => {
        const value = collection.get(key);
        return value === undefined ? [name, key] : [name, key, value];
      });
    });
  }

  async #append(record: string): Promise<void> {
    await this.#file.appendFile(record);
    await this.#file.datasync();
    this.#bytes += Buffer.byteLength(record);
  }

  /** Only what is there now, in a new file that takes the place of the old one at once. */
  async #rewrite(): Promise<void> {
    const records = [encodeRecord([FORMAT])];
    for (const [name, collection] of this.#collections) {
      const changes = [...collection.entries()].map(([key, value]): Change => [name, key, value]);
      for (let at = 0; at < changes.length; at += ENTRIES_PER_RECORD)
        records.push(encodeRecord(changes.slice(at, at + ENTRIES_PER_RECORD)));
    }
    const text = records.join('');
    const file = await open(`${this.#path}.new`, 'a', 0o600);
    await file.appendFile(text);
    await file.sync();
    await rename(`${this.#path}.new`, this.#path);
    await syncDirectory(dirname(this.#path));
    await this.#file.close();
    this.#file = file;
    this.#bytes = Buffer.byteLength(text);
    this.#rewrittenBytes = this.#bytes;
  }
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
