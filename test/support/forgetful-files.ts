import { constants } from 'node:fs';
import type { DiskStat, EntryKind } from '../../src/host/disk.ts';
import { Inode, type Meta, type Survival } from './forgetful-inode.ts';
import type { Random } from './random.ts';

/** A change of directory entries, atomic as a whole: a rename has two parts and happens in both or in none. */
interface EntryChange {
  parts: readonly { directory: Inode; name: string; inode: Inode | undefined }[];
  /** A directory that goes with it: it was empty, so every earlier change in it happened before. */
  emptied: Inode | undefined;
}

interface Slot {
  directory: Inode;
  name: string;
  inode: Inode | undefined;
}

const LINKS_MAX = 40;

/** Node's own error, as the file system would give it. */
export function diskError(code: string, what: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: ${what}`), { code });
}

/**
 * The tree of the forgetful disk, synchronously: entries, links, and which of their changes are durable. Directories
 * that were opened are reached under `/proc/self/fd/N`.
 */
export class Files {
  readonly root: Inode;
  #inodes = new Set<Inode>();
  #changes: EntryChange[] = [];
  #opened = new Map<number, Inode>();
  #parents = new WeakMap<Inode, Inode>();
  #inoNext = 2;
  #fdNext = 100;
  #nowMs = 1_000_000;
  readonly #owner: { uid: number; gid: number };
  readonly #umask: number;

  constructor(owner: { uid: number; gid: number }, umask: number) {
    this.#owner = owner;
    this.#umask = umask;
    this.root = this.#make('directory', 0o755, '', 1);
    this.root.linkCount = 1;
  }

  // Inodes and paths

  #make(kind: EntryKind, mode: number, target: string, dev: number): Inode {
    this.#nowMs += 1;
    const times = { atimeMs: this.#nowMs, mtimeMs: this.#nowMs };
    const meta: Meta = { mode: mode & ~this.#umask & 0o7777, ...this.#owner, ...times, attributes: {} };
    const inode = new Inode(this.#inoNext, dev, kind, meta, target);
    this.#inoNext += 1;
    this.#inodes.add(inode);
    return inode;
  }

  #walk(path: string, last: 'follow' | 'keep', links = 0): Slot {
    if (links > LINKS_MAX) throw diskError('ELOOP', path);
    if (!path.startsWith('/')) throw new Error(`the forgetful disk knows absolute paths only: ${path}`);
    const opened = /^\/proc\/self\/fd\/(\d+)(?:\/(.*))?$/.exec(path);
    let at = opened ? this.#opened.get(Number(opened[1])) : this.root;
    if (!at) throw diskError('ENOENT', path);
    const names = (opened ? (opened[2] ?? '') : path)
      .split('/')
      .filter((name) => name !== '' && name !== '.');
    if (names.includes('..')) throw new Error(`the forgetful disk knows no "..": ${path}`);
    const keep = path.endsWith('/.') ? 'follow' : last;
    if (names.length === 0) return { directory: at, name: '', inode: at };
    for (const [index, name] of names.entries()) {
      if (at.kind !== 'directory') throw diskError('ENOTDIR', path);
      const inode: Inode | undefined = at.entries.get(name);
      const isLast = index === names.length - 1;
      if (inode?.kind === 'link' && (!isLast || keep === 'follow')) {
        const rest = names.slice(index + 1).join('/');
        const base = inode.target.startsWith('/') ? inode.target : `${this.#pathOf(at)}/${inode.target}`;
        return this.#walk(rest === '' ? base : `${base}/${rest}`, keep, links + 1);
      }
      if (isLast) return { directory: at, name, inode };
      if (!inode) throw diskError('ENOENT', path);
      at = inode;
    }
    throw new Error('internal error: a path without an end');
  }

  #pathOf(directory: Inode): string {
    const parent = this.#parents.get(directory);
    if (!parent) return '';
    const name = [...parent.entries].find(([, inode]) => inode === directory)?.[0] ?? '(gone)';
    return `${this.#pathOf(parent)}/${name}`;
  }

  #existing(path: string, last: 'follow' | 'keep'): Inode {
    const { inode } = this.#walk(path, last);
    if (!inode) throw diskError('ENOENT', path);
    return inode;
  }

  #change(parts: EntryChange['parts'], emptied?: Inode): void {
    for (const { directory, name, inode } of parts) {
      const old = directory.entries.get(name);
      if (old) old.linkCount -= 1;
      if (inode) inode.linkCount += 1;
      if (inode) directory.entries.set(name, inode);
      else directory.entries.delete(name);
      if (inode?.kind === 'directory') this.#parents.set(inode, directory);
      this.#nowMs += 1;
      directory.meta = { ...directory.meta, mtimeMs: this.#nowMs };
    }
    this.#changes.push({ parts, emptied });
  }

  /** The place of an entry that is not there yet. */
  #free(path: string): Slot {
    const slot = this.#walk(path, 'keep');
    if (slot.inode) throw diskError('EEXIST', path);
    if (slot.directory.linkCount === 0) throw diskError('ENOENT', path);
    return slot;
  }

  // What a process does

  open(path: string, flags: number, mode = 0o666): Inode {
    const slot = this.#walk(path, 'keep');
    const { inode } = slot;
    const creates = (flags & constants.O_CREAT) !== 0;
    const writes = (flags & (constants.O_WRONLY | constants.O_RDWR)) !== 0;
    if (inode) {
      if (creates && (flags & constants.O_EXCL) !== 0) throw diskError('EEXIST', path);
      if (inode.kind === 'link') throw diskError('ELOOP', path);
      if (inode.kind === 'directory' && (writes || creates)) throw diskError('EISDIR', path);
      if ((flags & constants.O_TRUNC) !== 0) inode.truncate(0);
      return inode;
    }
    if (!creates) throw diskError('ENOENT', path);
    if (slot.directory.linkCount === 0) throw diskError('ENOENT', path);
    const made = this.#make('file', mode, '', slot.directory.dev);
    this.#change([{ ...slot, inode: made }]);
    return made;
  }

  openDirectory(path: string): { fd: number; inode: Inode } {
    const inode = this.#existing(path, 'keep');
    if (inode.kind !== 'directory') throw diskError('ENOTDIR', path);
    this.#fdNext += 1;
    this.#opened.set(this.#fdNext, inode);
    return { fd: this.#fdNext, inode };
  }

  closeDirectory(fd: number): void {
    this.#opened.delete(fd);
  }

  lstat(path: string): DiskStat | undefined {
    try {
      const { inode } = this.#walk(path, 'keep');
      return inode && this.stat(inode);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
      throw error;
    }
  }

  stat(inode: Inode): DiskStat {
    const { mode, uid, gid, atimeMs, mtimeMs } = inode.meta;
    const { dev, ino, kind, size, ctimeMs } = inode;
    const linkCount = kind === 'directory' ? 2 : inode.linkCount;
    return { kind, dev, ino, mode, uid, gid, linkCount, sizeBytes: size, atimeMs, mtimeMs, ctimeMs };
  }

  readlink(path: string): string {
    const inode = this.#existing(path, 'keep');
    if (inode.kind !== 'link') throw diskError('EINVAL', path);
    return inode.target;
  }

  readDirectory(path: string): string[] {
    const inode = this.#existing(path, 'follow');
    if (inode.kind !== 'directory') throw diskError('ENOTDIR', path);
    return [...inode.entries.keys()].sort();
  }

  /** `dev`: where another file system is mounted on the new directory. */
  mkdir(path: string, mode: number, dev?: number): void {
    const slot = this.#free(path);
    this.#change([{ ...slot, inode: this.#make('directory', mode, '', dev ?? slot.directory.dev) }]);
  }

  rmdir(path: string): void {
    const slot = this.#walk(path, 'keep');
    if (!slot.inode) throw diskError('ENOENT', path);
    if (slot.inode.kind !== 'directory') throw diskError('ENOTDIR', path);
    if (slot.inode.entries.size > 0) throw diskError('ENOTEMPTY', path);
    this.#change([{ ...slot, inode: undefined }], slot.inode);
  }

  unlink(path: string): void {
    const slot = this.#walk(path, 'keep');
    if (!slot.inode) throw diskError('ENOENT', path);
    if (slot.inode.kind === 'directory') throw diskError('EISDIR', path);
    this.#change([{ ...slot, inode: undefined }]);
  }

  rename(from: string, to: string): void {
    const source = this.#walk(from, 'keep');
    const target = this.#walk(to, 'keep');
    const { inode } = source;
    if (!inode) throw diskError('ENOENT', from);
    if (source.directory.dev !== target.directory.dev) throw diskError('EXDEV', `${from} -> ${to}`);
    if (inode === target.inode) return;
    for (let at: Inode | undefined = target.directory; at; at = this.#parents.get(at))
      if (at === inode) throw diskError('EINVAL', `${from} -> ${to}`);
    if (target.inode) {
      if (target.inode.kind === 'directory' && inode.kind !== 'directory') throw diskError('EISDIR', to);
      if (target.inode.kind !== 'directory' && inode.kind === 'directory') throw diskError('ENOTDIR', to);
      if (target.inode.kind === 'directory' && target.inode.entries.size > 0)
        throw diskError('ENOTEMPTY', to);
    }
    const emptied = target.inode?.kind === 'directory' ? target.inode : undefined;
    this.#change(
      [
        { ...source, inode: undefined },
        { ...target, inode },
      ],
      emptied,
    );
  }

  link(existing: string, path: string): void {
    const inode = this.#existing(existing, 'keep');
    const slot = this.#free(path);
    if (inode.kind === 'directory') throw diskError('EPERM', path);
    if (inode.dev !== slot.directory.dev) throw diskError('EXDEV', path);
    this.#change([{ ...slot, inode }]);
  }

  symlink(target: string, path: string): void {
    const slot = this.#free(path);
    const made = this.#make('link', 0o777 | this.#umask, target, slot.directory.dev);
    made.meta = { ...made.meta, mode: 0o777 };
    this.#change([{ ...slot, inode: made }]);
  }

  chmod(path: string, mode: number): void {
    this.#existing(path, 'follow').change({ mode: mode & 0o7777 });
  }

  lchown(path: string, uid: number, gid: number): void {
    this.chown(this.#existing(path, 'keep'), uid, gid);
  }

  /** man 2 chown: a change of owner takes setuid and setgid from a program. */
  chown(inode: Inode, uid: number, gid: number): void {
    const { mode } = inode.meta;
    const kept = (mode & 0o010) !== 0 ? mode & ~0o6000 : mode & ~0o4000;
    inode.change({ uid, gid, ...(inode.kind === 'file' && { mode: kept }) });
  }

  lutimes(path: string, atimeMs: number, mtimeMs: number): void {
    this.#existing(path, 'keep').change({ atimeMs, mtimeMs });
  }

  attributes(path: string): Readonly<Record<string, string>> {
    return this.#existing(path, 'keep').meta.attributes;
  }

  setAttributes(path: string, attributes: Readonly<Record<string, string>>): void {
    this.#existing(path, 'keep').change({ attributes });
  }

  copyAttributes(from: string, to: string): void {
    const { mode, uid, gid, attributes } = this.#existing(from, 'keep').meta;
    this.#existing(to, 'keep').change({ mode, uid, gid, attributes });
  }

  device(path: string): number {
    return this.#existing(path, 'follow').dev;
  }

  // What is durable

  /** fsync of a file. A new file's entry in its directory is not part of it. */
  sync(inode: Inode): void {
    inode.datasync();
    inode.syncMeta();
  }

  /**
   * fsync of a directory: every change of its entries, and what had to happen before. A link, a FIFO or a device has
   * no fsync of its own, so its owner and mode go with its entry.
   */
  syncDirectory(directory: Inode): void {
    directory.syncMeta();
    const wanted = new Set<EntryChange>();
    const later = [...this.#changes].reverse();
    for (const change of later) {
      const touches = change.parts.some((part) => part.directory === directory);
      if (touches || [...wanted].some((other) => mustFollow(other, change))) wanted.add(change);
    }
    this.#settle((change) => wanted.has(change));
    for (const inode of directory.entries.values()) {
      if (inode.kind !== 'file' && inode.kind !== 'directory') inode.syncMeta();
    }
  }

  /** `dev` alone, or every file system. */
  syncAll(dev?: number): void {
    this.#settle(({ parts }) => dev === undefined || parts.some(({ directory }) => directory.dev === dev));
    for (const inode of this.#inodes) if (dev === undefined || inode.dev === dev) this.sync(inode);
  }

  /** A sync of a whole file system failed. */
  loseUnsynced(dev?: number): void {
    for (const inode of this.#inodes) if (dev === undefined || inode.dev === dev) inode.loseUnsynced();
  }

  #settle(isDurable: (change: EntryChange) => boolean): void {
    const left: EntryChange[] = [];
    for (const change of this.#changes) {
      if (!isDurable(change)) left.push(change);
      else {
        for (const { directory, name, inode } of change.parts) {
          if (inode) directory.durableEntries.set(name, inode);
          else directory.durableEntries.delete(name);
        }
      }
    }
    this.#changes = left;
  }

  /** A power cut: each thing that was not synced is kept or not by chance, within what file systems do. */
  cut(random: Random): void {
    const survival = random.pick<Survival>(['all', 'none', 'none', 'some', 'some', 'some']);
    const kept = new Set<EntryChange>();
    for (const [index, change] of this.#changes.entries()) {
      const before = this.#changes.slice(0, index).filter((earlier) => mustFollow(change, earlier));
      const lucky = survival === 'all' || (survival === 'some' && random.chance(0.5));
      if (lucky && before.every((earlier) => kept.has(earlier))) kept.add(change);
    }
    this.#settle((change) => kept.has(change));
    this.#changes = [];
    this.#opened.clear();
    for (const inode of this.#inodes) {
      inode.cut(random, survival === 'some' ? random.pick<Survival>(['all', 'none', 'some']) : survival);
      inode.linkCount = 0;
    }
    this.root.linkCount = 1;
    const reached = new Set<Inode>([this.root]);
    for (const directory of reached) {
      for (const inode of directory.entries.values()) {
        inode.linkCount += 1;
        reached.add(inode);
        if (inode.kind === 'directory') this.#parents.set(inode, directory);
      }
    }
    this.#inodes = reached;
  }
}

/** `later` cannot be on the disk without `earlier`: same entry, or a directory that had to be emptied first. */
function mustFollow(later: EntryChange, earlier: EntryChange): boolean {
  return earlier.parts.some(
    ({ directory, name }) =>
      directory === later.emptied ||
      later.parts.some((part) => part.directory === directory && part.name === name),
  );
}
