import { constants } from 'node:fs';
import type { Disk, DiskDirectory, DiskFile } from '../../src/host/disk.ts';
import { diskError, Files } from './forgetful-files.ts';
import type { Inode } from './forgetful-inode.ts';
import type { Random } from './random.ts';

/**
 * A disk in memory that forgets what was not synced. Its faults, and so what the agent must survive:
 *
 * - Power cut, before or after any operation. Of what was not synced, any part may be there afterwards: an entry that
 *   was created, renamed or removed; a file's mode and owner; any of its sectors (512 bytes), old or new or, where the
 *   content was being changed, neither; any size that it had. A rename happens as a whole. Changes of one entry keep
 *   their order; changes of different entries, and of entries and contents, do not.
 * - Only fsync makes durable: of a file its content and metadata (fdatasync: content alone) but not its entry, of a
 *   directory its entries but not what they lead to, of a file system all of that on it.
 * - Death of a process, at any operation: the page cache stays as it is.
 * - An operation may fail (ENOSPC, EIO, EROFS). After a failed fsync the page cache goes on to show what no later fsync of
 *   the same pages will write.
 *
 * Not modelled: what was durable and is not being changed does not rot; what is written over with the same bytes
 * stays those bytes.
 */
export interface ForgetfulDisk {
  /** The tree as it is now, for a test's own eyes and hands: these are no operations. */
  readonly files: Files;
  /** One process's view; what it begins after its end never settles. */
  begin(onOperation?: (operation: Operation) => Fault | undefined): Life;
  /** Every life ends, and what was not synced is kept or not by chance. */
  cut(random: Random): void;
}

export interface Life {
  readonly disk: Disk;
  readonly ended: boolean;
  end(): void;
}

export interface Operation {
  name: keyof Disk | `file.${keyof DiskFile}` | `directory.${keyof DiskDirectory}`;
  /** As it was called. */
  path: string;
}

export type Fault =
  | { kind: 'error'; code: 'ENOSPC' | 'EIO' | 'EROFS' }
  /** The operation never settles; `finish` ends the life, with or without a power cut. */
  | { kind: 'end'; when: 'before' | 'after'; finish: () => void };

export interface ForgetfulDiskOptions {
  /** Directories on which another file system is mounted, outermost first. */
  mounts?: readonly string[];
  owner?: { uid: number; gid: number };
  umask?: number;
  roomBytes?: number;
}

const EXT4_TYPE = 0xef53;
const ACCESS_MODE = constants.O_RDONLY | constants.O_WRONLY | constants.O_RDWR;

export function createForgetfulDisk(options: ForgetfulDiskOptions = {}): ForgetfulDisk {
  const files = new Files(options.owner ?? { uid: 0, gid: 0 }, options.umask ?? 0o022);
  for (const [index, path] of (options.mounts ?? []).entries()) files.mkdir(path, 0o755, index + 2);
  files.syncAll();
  const lives = new Set<Life>();
  return {
    files,
    begin(onOperation = () => undefined) {
      const state = { ended: false };
      const perform: Perform = (name, path, act, failed) => {
        if (state.ended) return never();
        const fault = onOperation({ name, path });
        if (state.ended) return never();
        if (fault?.kind === 'end') {
          if (fault.when === 'after') attempt(act);
          fault.finish();
          return never();
        }
        if (fault?.kind === 'error') {
          failed?.();
          return Promise.reject(diskError(fault.code, `${name} ${path}`));
        }
        try {
          return Promise.resolve(act());
        } catch (error) {
          return Promise.reject(error as Error);
        }
      };
      const life: Life = {
        disk: diskOf(files, perform, options.roomBytes ?? 2 ** 40),
        get ended() {
          return state.ended;
        },
        end() {
          state.ended = true;
          lives.delete(life);
        },
      };
      lives.add(life);
      return life;
    },
    cut(random) {
      for (const life of [...lives]) life.end();
      files.cut(random);
    },
  };
}

/** Does one operation, or what befalls it. `failed`: what a failure of it leaves behind. */
type Perform = <T>(name: Operation['name'], path: string, act: () => T, failed?: () => void) => Promise<T>;

function never<T>(): Promise<T> {
  return new Promise(() => undefined);
}

function attempt(act: () => unknown): void {
  try {
    act();
  } catch {
    // Nobody is left to be told.
  }
}

function diskOf(files: Files, perform: Perform, freeBytes: number): Disk {
  return {
    openFile: (path, flags, mode) =>
      perform('openFile', path, () => fileOf(files, files.open(path, flags, mode), flags, path, perform)),
    openDirectory: (path) =>
      perform('openDirectory', path, () => directoryOf(files, files.openDirectory(path), path, perform)),
    lstat: (path) => perform('lstat', path, () => files.lstat(path)),
    readlink: (path) => perform('readlink', path, () => files.readlink(path)),
    readDirectory: (path) => perform('readDirectory', path, () => files.readDirectory(path)),
    mkdir: (path, mode) => perform('mkdir', path, () => files.mkdir(path, mode)),
    rmdir: (path) => perform('rmdir', path, () => files.rmdir(path)),
    unlink: (path) => perform('unlink', path, () => files.unlink(path)),
    rename: (from, to) => perform('rename', `${from} -> ${to}`, () => files.rename(from, to)),
    link: (existing, path) => perform('link', `${existing} -> ${path}`, () => files.link(existing, path)),
    symlink: (target, path) => perform('symlink', path, () => files.symlink(target, path)),
    chmod: (path, mode) => perform('chmod', path, () => files.chmod(path, mode)),
    lchown: (path, uid, gid) => perform('lchown', path, () => files.lchown(path, uid, gid)),
    lutimes: (path, atimeMs, mtimeMs) =>
      perform('lutimes', path, () => files.lutimes(path, atimeMs, mtimeMs)),
    room: (path) =>
      perform('room', path, () => {
        files.device(path);
        return { freeBytes, type: EXT4_TYPE };
      }),
    // A disk that fails says nothing about how it is mounted.
    isReadOnly: (path) => perform('isReadOnly', path, () => false).catch(() => false),
    readAttributes: (paths) =>
      perform(
        'readAttributes',
        paths.join(' '),
        () => new Map(paths.map((path) => [path, { ...files.attributes(path) }])),
      ),
    copyAttributes: (from, to) =>
      perform('copyAttributes', `${from} -> ${to}`, () => files.copyAttributes(from, to)),
    // Shares no blocks, like ext4.
    reflink: (from, to) => perform('reflink', `${from} -> ${to}`, () => false),
    clearAttributes: (path) => perform('clearAttributes', path, () => files.setAttributes(path, {})),
    syncFileSystem: (path) =>
      perform(
        'syncFileSystem',
        path,
        () => files.syncAll(files.device(path)),
        () => files.loseUnsynced(files.device(path)),
      ),
    syncAll: () =>
      perform(
        'syncAll',
        '',
        () => files.syncAll(),
        () => files.loseUnsynced(),
      ),
  };
}

function fileOf(files: Files, inode: Inode, flags: number, path: string, perform: Perform): DiskFile {
  const lose = (): void => inode.loseUnsynced();
  const checkMode = (refused: number): void => {
    if ((flags & ACCESS_MODE) === refused) throw diskError('EBADF', path);
  };
  return {
    read: (buffer, position) =>
      perform('file.read', path, () => {
        checkMode(constants.O_WRONLY);
        if (inode.kind === 'directory') throw diskError('EISDIR', path);
        return inode.read(buffer, position);
      }),
    write: (buffer, position) =>
      perform('file.write', path, () => {
        checkMode(constants.O_RDONLY);
        inode.write(buffer, position);
      }),
    truncate: (sizeBytes) =>
      perform('file.truncate', path, () => {
        checkMode(constants.O_RDONLY);
        inode.truncate(sizeBytes);
      }),
    stat: () => perform('file.stat', path, () => files.stat(inode)),
    chmod: (mode) => perform('file.chmod', path, () => inode.change({ mode: mode & 0o7777 })),
    chown: (uid, gid) => perform('file.chown', path, () => files.chown(inode, uid, gid)),
    datasync: () => perform('file.datasync', path, () => inode.datasync(), lose),
    sync: () => perform('file.sync', path, () => files.sync(inode), lose),
    close: () => perform('file.close', path, () => undefined),
  };
}

function directoryOf(
  files: Files,
  { fd, inode }: { fd: number; inode: Inode },
  path: string,
  perform: Perform,
): DiskDirectory {
  return {
    path: `/proc/self/fd/${fd}`,
    stat: () => perform('directory.stat', path, () => files.stat(inode)),
    sync: () => perform('directory.sync', path, () => files.syncDirectory(inode)),
    close: () => perform('directory.close', path, () => files.closeDirectory(fd)),
  };
}
