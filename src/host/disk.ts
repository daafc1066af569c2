/**
 * The file system as injected functions. Only what the journal, the undo data and the steps need; a simulated disk
 * that forgets what was not synced implements the same interface, so nothing is durable here until `sync` says so.
 * Failures are Node's own errors with `code` (`ENOENT`, `ENOSPC`, `EIO`, …).
 */
export interface Disk {
  /** Opens a file; `flags` are those of `node:fs` `constants` (never follows a link at the last component). */
  openFile(path: string, flags: number, mode?: number): Promise<DiskFile>;
  /** Opens a directory with O_DIRECTORY|O_NOFOLLOW. */
  openDirectory(path: string): Promise<DiskDirectory>;
  /** `undefined` where nothing is there. */
  lstat(path: string): Promise<DiskStat | undefined>;
  readlink(path: string): Promise<string>;
  /** Names in a directory, sorted by code point. */
  readDirectory(path: string): Promise<string[]>;
  mkdir(path: string, mode: number): Promise<void>;
  rmdir(path: string): Promise<void>;
  unlink(path: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  link(existing: string, path: string): Promise<void>;
  symlink(target: string, path: string): Promise<void>;
  chmod(path: string, mode: number): Promise<void>;
  /** Changes the owner of the entry itself, not of what a link points to. */
  lchown(path: string, uid: number, gid: number): Promise<void>;
  /** Sets access and modification time of the entry itself. */
  lutimes(path: string, atimeMs: number, mtimeMs: number): Promise<void>;
  /** Room on the file system that holds `path`. */
  room(path: string): Promise<DiskRoom>;
  /** True where what is mounted there takes no writes, of this process at least (EROFS); false for what is not there. */
  isReadOnly(path: string): Promise<boolean>;
  /**
   * Extended attributes and ACLs of each path, name to base64 value; a path without any has an empty record. Of a path
   * that is not in the map nothing can be said here.
   */
  readAttributes(paths: readonly string[]): Promise<Map<string, Record<string, string>>>;
  /**
   * Copies mode, owner, extended attributes and ACLs from one entry to another of the same kind. `known`: what
   * `readAttributes` has just said of `from`, to spare a look.
   */
  copyAttributes(from: string, to: string, known?: Readonly<Record<string, string>>): Promise<void>;
  /**
   * Makes the content of the file `to` the one of the file `from` without copying it, where the file system can share
   * blocks (btrfs, XFS); false where it cannot, and `to` is as it was. Neither is followed when it is a link.
   */
  reflink(from: string, to: string): Promise<boolean>;
  /** Removes the extended attributes and ACLs of an entry, also those that it inherited. */
  clearAttributes(path: string): Promise<void>;
  /** Writes out the whole file system that holds `path` (`sync -f`). */
  syncFileSystem(path: string): Promise<void>;
  /** Writes out every file system (`sync`). */
  syncAll(): Promise<void>;
}

export interface DiskFile {
  read(buffer: Uint8Array, position: number): Promise<number>;
  /** Writes all of `buffer` at `position`. */
  write(buffer: Uint8Array, position: number): Promise<void>;
  truncate(sizeBytes: number): Promise<void>;
  stat(): Promise<DiskStat>;
  chmod(mode: number): Promise<void>;
  chown(uid: number, gid: number): Promise<void>;
  /** fdatasync: the content and what is needed to read it back. */
  datasync(): Promise<void>;
  /** fsync: content and metadata. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

export interface DiskDirectory {
  /** A prefix under which the entries of exactly this directory are reached, however its own name changes. */
  readonly path: string;
  stat(): Promise<DiskStat>;
  /** fsync of the directory: entries created, renamed and removed in it are durable. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

export type EntryKind = 'file' | 'directory' | 'link' | 'fifo' | 'socket' | 'blockDevice' | 'characterDevice';

export interface DiskStat {
  kind: EntryKind;
  dev: number;
  ino: number;
  /** Permission bits including setuid, setgid and sticky: `mode & 0o7777`. */
  mode: number;
  uid: number;
  gid: number;
  linkCount: number;
  sizeBytes: number;
  atimeMs: number;
  mtimeMs: number;
  ctimeMs: number;
}

export interface DiskRoom {
  freeBytes: number;
  /** `statfs` magic number; 0x01021994 is tmpfs. */
  type: number;
}
