import { execFile } from 'node:child_process';
import { constants, type Stats } from 'node:fs';
import * as fs from 'node:fs/promises';
import { promisify } from 'node:util';
import { type Attributes, readAttributesOf, removeAttributesOf, writeAttributesTo } from './attributes.ts';
import type { Disk, DiskDirectory, DiskFile, DiskStat, EntryKind } from './disk.ts';

const run = promisify(execFile);

/** The file system of this machine. */
export const nodeDisk: Disk = {
  async openFile(path, flags, mode) {
    return fileOf(await fs.open(path, flags | constants.O_NOFOLLOW, mode));
  },
  async openDirectory(path) {
    const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
    return directoryOf(await fs.open(path, flags));
  },
  async lstat(path) {
    try {
      return statOf(await fs.lstat(path));
    } catch (error) {
      if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
      throw error;
    }
  },
  readlink: (path) => fs.readlink(path),
  readDirectory: async (path) => (await fs.readdir(path)).sort(),
  mkdir: async (path, mode) => {
    await fs.mkdir(path, { mode });
  },
  rmdir: (path) => fs.rmdir(path),
  unlink: (path) => fs.unlink(path),
  rename: (from, to) => fs.rename(from, to),
  link: (existing, path) => fs.link(existing, path),
  symlink: (target, path) => fs.symlink(target, path),
  chmod: (path, mode) => fs.chmod(path, mode),
  lchown: (path, uid, gid) => fs.lchown(path, uid, gid),
  lutimes: (path, atimeMs, mtimeMs) => fs.lutimes(path, atimeMs / 1000, mtimeMs / 1000),
  async room(path) {
    const { bavail, bsize, type } = await fs.statfs(path);
    return { freeBytes: bavail * bsize, type };
  },
  async isReadOnly(path) {
    const refused: unknown = await fs.access(path, constants.W_OK).catch((error: unknown) => error);
    return (refused as NodeJS.ErrnoException | undefined)?.code === 'EROFS';
  },
  readAttributes: readAttributesOf,
  copyAttributes,
  reflink,
  clearAttributes: removeAttributesOf,
  async syncFileSystem(path) {
    await run('sync', ['-f', '--', path]);
  },
  async syncAll() {
    await run('sync');
  },
};

function fileOf(handle: fs.FileHandle): DiskFile {
  return {
    read: async (buffer, position) => (await handle.read(buffer, 0, buffer.length, position)).bytesRead,
    async write(buffer, position) {
      for (let written = 0; written < buffer.length; ) {
        const { bytesWritten } = await handle.write(
          buffer,
          written,
          buffer.length - written,
          position + written,
        );
        written += bytesWritten;
      }
    },
    truncate: (sizeBytes) => handle.truncate(sizeBytes),
    stat: async () => statOf(await handle.stat()),
    chmod: (mode) => handle.chmod(mode),
    chown: (uid, gid) => handle.chown(uid, gid),
    datasync: () => handle.datasync(),
    sync: () => handle.sync(),
    close: () => handle.close(),
  };
}

/** `copyFile` alone would follow links; what it is given here are files that are already open. */
async function reflink(from: string, to: string): Promise<boolean> {
  const source = await fs.open(from, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const target = await fs.open(to, constants.O_WRONLY | constants.O_NOFOLLOW);
    try {
      const [a, b] = [source, target].map(({ fd }) => `/proc/self/fd/${fd}`) as [string, string];
      await fs.copyFile(a, b, constants.COPYFILE_FICLONE_FORCE);
      return true;
    } catch {
      return false;
    } finally {
      await target.close();
    }
  } finally {
    await source.close();
  }
}

function directoryOf(handle: fs.FileHandle): DiskDirectory {
  return {
    // By number, not `self`: a child process (cp, sync) must reach it too.
    path: `/proc/${process.pid}/fd/${handle.fd}`,
    stat: async () => statOf(await handle.stat()),
    sync: () => handle.sync(),
    close: () => handle.close(),
  };
}

/** Where attributes cannot be read, `cp` still carries those of a file over. */
async function copyAttributes(from: string, to: string, known?: Attributes): Promise<void> {
  const attributes = known ?? (await readAttributesOf([from])).get(from);
  const { uid, gid, mode, isLink, isFile } = await ownerOf(from);
  await fs.lchown(to, uid, gid);
  if (!isLink) await fs.chmod(to, mode);
  if (attributes) await writeAttributesTo(to, attributes);
  else if (isFile)
    await run('cp', ['--attributes-only', '--preserve=mode,ownership,xattr', '-P', '--', from, to]);
}

async function ownerOf(path: string) {
  const stats = await fs.lstat(path);
  const { uid, gid, mode } = stats;
  return { uid, gid, mode: mode & 0o7777, isLink: stats.isSymbolicLink(), isFile: stats.isFile() };
}

function statOf(stats: Stats): DiskStat {
  return {
    kind: kindOf(stats),
    dev: stats.dev,
    ino: stats.ino,
    mode: stats.mode & 0o7777,
    uid: stats.uid,
    gid: stats.gid,
    linkCount: stats.nlink,
    sizeBytes: stats.size,
    atimeMs: stats.atimeMs,
    mtimeMs: stats.mtimeMs,
    ctimeMs: stats.ctimeMs,
  };
}

function kindOf(stats: Stats): EntryKind {
  if (stats.isFile()) return 'file';
  if (stats.isDirectory()) return 'directory';
  if (stats.isSymbolicLink()) return 'link';
  if (stats.isFIFO()) return 'fifo';
  if (stats.isSocket()) return 'socket';
  return stats.isBlockDevice() ? 'blockDevice' : 'characterDevice';
}
