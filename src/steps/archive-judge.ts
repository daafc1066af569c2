import { posix } from 'node:path';
import { OWN_PREFIX } from './fingerprint.ts';
import { BadArchive, quoted, type TarEntry } from './tar.ts';

/**
 * Judges the entries of an archive in their order, before anything is extracted: where each would go, and whether it
 * may. The same judge reads the archive again while it is extracted.
 */

export interface ArchiveLimits {
  entriesMax: number;
  bytesMax: number;
}

/** An entry that may be extracted, by its path within the target; `undefined` for what is stripped. */
export interface Judged {
  path: string;
  kind: 'file' | 'directory' | 'link' | 'hardLink';
  /** Of a link as it stands; of a hard link the path of the file within the target. */
  target: string;
}

/** A fingerprint's walk ends at 64. */
const DEPTH_MAX = 60;
const COMPONENT_BYTES_MAX = 255;
const SETUID_OR_SETGID = 0o6000;

export class ArchiveJudge {
  readonly #strip: number;
  readonly #limits: ArchiveLimits;
  readonly #kinds = new Map<string, Judged['kind']>();
  #entries = 0;
  #bytes = 0;

  constructor(strip: number, limits: ArchiveLimits) {
    this.#strip = strip;
    this.#limits = limits;
  }

  /** Throws `BadArchive` where the entry must not be extracted; `undefined` where there is nothing of it to extract. */
  judge(entry: TarEntry): Judged | undefined {
    this.#count(entry);
    const { kind } = entry;
    if (kind === 'fifo' || kind === 'blockDevice' || kind === 'characterDevice')
      throw new BadArchive(`${quoted(entry.name)} is a ${kind}`);
    if ((entry.mode & SETUID_OR_SETGID) !== 0 && kind !== 'link')
      throw new BadArchive(`${quoted(entry.name)} is setuid or setgid`);
    const path = within(entry.name, 'is', this.#strip);
    if (path === '') {
      if (kind === 'directory') return undefined;
      throw new BadArchive(`${quoted(entry.name)} is a ${kind} and stands for the whole archive`);
    }
    if (path === undefined) return undefined;
    this.#place(entry, path);
    return { path, kind, target: this.#targetOf(entry, path) };
  }

  #count({ name, sizeBytes }: TarEntry): void {
    this.#entries += 1;
    this.#bytes += sizeBytes;
    if (this.#entries > this.#limits.entriesMax)
      throw new BadArchive(`more than ${this.#limits.entriesMax} entries (steps.treeEntriesMax)`);
    if (this.#bytes > this.#limits.bytesMax)
      throw new BadArchive(
        `more than ${this.#limits.bytesMax} bytes with ${quoted(name)} (steps.treeMegabytesMax)`,
      );
  }

  /** What an entry stands in is a directory, and each place is taken once: tar would write through a link. */
  #place({ name, kind }: TarEntry, path: string): void {
    for (let above = posix.dirname(path); above !== '.'; above = posix.dirname(above)) {
      const there = this.#kinds.get(above);
      if (there !== undefined && there !== 'directory')
        throw new BadArchive(`${quoted(name)} goes through a ${there} of the archive`);
      if (there === undefined) this.#addDirectory(above);
    }
    const there = this.#kinds.get(path);
    if (there !== undefined && !(there === 'directory' && kind === 'directory'))
      throw new BadArchive(`${quoted(name)} is in it twice`);
    this.#kinds.set(path, kind as Judged['kind']);
  }

  /** A directory that no entry names is one all the same. */
  #addDirectory(path: string): void {
    this.#kinds.set(path, 'directory');
    this.#entries += 1;
  }

  #targetOf({ name, kind, target }: TarEntry, path: string): string {
    if (kind === 'hardLink') {
      const linked = within(target, 'is linked to', this.#strip);
      if (linked === undefined || this.#kinds.get(linked) !== 'file')
        throw new BadArchive(`${quoted(name)} is linked to ${quoted(target)}, which is no file before it`);
      return linked;
    }
    if (kind === 'link') checkLink(name, path, target);
    return target;
  }
}

/** The path within the target, `''` for the target itself; `undefined` for what stripping leaves nothing of. */
function within(name: string, verb: string, strip: number): string | undefined {
  const wrong = (reason: string): never => {
    throw new BadArchive(`${quoted(name)} ${verb} ${reason}`);
  };
  if (name.startsWith('/')) wrong('an absolute path');
  if (hasControl(name)) wrong('a path with a control character');
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) wrong('a path with ..');
  if (parts.length > DEPTH_MAX) wrong(`deeper than ${DEPTH_MAX} directories`);
  if (parts.some((part) => Buffer.byteLength(part) > COMPONENT_BYTES_MAX))
    wrong('a path with too long a name');
  if (parts.some((part) => part.startsWith(OWN_PREFIX)))
    wrong(`a path with a name that begins ${OWN_PREFIX}`);
  if (parts.length === 0) return '';
  return parts.length <= strip ? undefined : parts.slice(strip).join('/');
}

function hasControl(text: string): boolean {
  return /\p{Cc}/u.test(text);
}

/**
 * `..` may only lead from the directory of the link itself, which is a real one: behind a name that is a link too, it
 * would lead from somewhere else. So every link stays inside, whatever others it goes through.
 */
function checkLink(name: string, path: string, target: string): void {
  const wrong = (reason: string): never => {
    throw new BadArchive(`${quoted(name)} links to ${quoted(target)}, ${reason}`);
  };
  if (target === '') wrong('which is nothing');
  if (target.startsWith('/')) wrong('an absolute path');
  if (hasControl(target)) wrong('a path with a control character');
  const parts = target.split('/').filter((part) => part !== '' && part !== '.');
  const ups = parts.findIndex((part) => part !== '..');
  const leading = ups < 0 ? parts.length : ups;
  if (parts.slice(leading).includes('..')) wrong('a path with .. behind a name');
  if (leading > path.split('/').length - 1) wrong('which is outside of the archive');
}
