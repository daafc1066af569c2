import { createHash, type Hash } from 'node:crypto';
import { constants } from 'node:fs';
import { join } from 'node:path';
import type { Disk, DiskFile, DiskStat } from '../host/disk.ts';
import { withPlace } from '../host/safe-paths.ts';
import type { Fingerprint } from './step.ts';

export const ABSENT: Fingerprint = 'absent';

const CHUNK_BYTES = 256 * 1024;
const DEPTH_MAX = 64;

export interface TreeLimits {
  treeEntriesMax: number;
  treeBytesMax: number;
}

/** More than a before-image may hold, or something that cannot be copied. */
export class NotCopyable extends Error {}

/** The fingerprint of what stands at an absolute path now. */
export async function fingerprintAt(disk: Disk, path: string): Promise<Fingerprint> {
  const found = await withPlace(disk, path, (place) => fingerprint(disk, place.path));
  return found ?? ABSENT;
}

/** Kind, mode, owner and content of an entry; of a directory, of all that is in it. Never opens a FIFO or a device. */
export async function fingerprint(disk: Disk, path: string, depth = 0): Promise<Fingerprint> {
  const stat = await disk.lstat(path);
  if (!stat) return ABSENT;
  const owner = `${stat.uid}:${stat.gid}`;
  switch (stat.kind) {
    case 'file':
      return `file ${stat.mode.toString(8)} ${owner} ${await contentHash(disk, path)}`;
    case 'link':
      // The mode of a link means nothing.
      return `link ${owner} ${createHash('sha256')
        .update(await disk.readlink(path))
        .digest('hex')}`;
    case 'directory': {
      if (depth > DEPTH_MAX) throw new NotCopyable(`deeper than ${DEPTH_MAX} directories`);
      const hash = createHash('sha256');
      for (const name of await disk.readDirectory(path)) {
        if (isOwnDirectory(name)) continue;
        hash.update(`${name}\0${await fingerprint(disk, join(path, name), depth + 1)}\0`);
      }
      return `directory ${stat.mode.toString(8)} ${owner} ${hash.digest('hex')}`;
    }
    default:
      return `${stat.kind} ${stat.mode.toString(8)} ${owner}`;
  }
}

/** Where images and staged files are, beside what they belong to. */
export const OWN_PREFIX = '.evenkeel-';

function isOwnDirectory(name: string): boolean {
  return name.startsWith(OWN_PREFIX);
}

async function contentHash(disk: Disk, path: string): Promise<string> {
  const file = await disk.openFile(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const hash = createHash('sha256');
    await readAll(file, hash, async () => undefined);
    return hash.digest('hex');
  } finally {
    await file.close();
  }
}

async function readAll(
  file: DiskFile,
  hash: Hash,
  each: (chunk: Uint8Array, position: number) => Promise<void>,
): Promise<void> {
  const buffer = new Uint8Array(CHUNK_BYTES);
  for (let position = 0; ; ) {
    const count = await file.read(buffer, position);
    if (count === 0) return;
    const chunk = buffer.subarray(0, count);
    hash.update(chunk);
    await each(chunk, position);
    position += count;
  }
}

/** Copies a file's bytes into a new file, durable; returns their SHA-256. */
export async function copyContent(disk: Disk, from: string, to: string): Promise<string> {
  const source = await disk.openFile(from, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const target = await disk.openFile(to, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
    try {
      const hash = createHash('sha256');
      await readAll(source, hash, (chunk, position) => target.write(chunk, position));
      await target.sync();
      return hash.digest('hex');
    } finally {
      await target.close();
    }
  } finally {
    await source.close();
  }
}

/** Copies an entry with all below it: content, mode, owner, times and attributes; durable. Links stay links. */
export async function copyEntry(disk: Disk, from: string, to: string): Promise<void> {
  const stat = await disk.lstat(from);
  if (!stat) throw new Error(`cannot copy ${from}: it is gone`);
  switch (stat.kind) {
    case 'file':
      await copyContent(disk, from, to);
      await disk.copyAttributes(from, to);
      break;
    case 'link':
      await disk.symlink(await disk.readlink(from), to);
      await disk.lchown(to, stat.uid, stat.gid);
      break;
    case 'directory':
      await copyDirectory(disk, from, to, stat);
      break;
    default:
      throw new NotCopyable(`${from} is a ${stat.kind}`);
  }
  await disk.lutimes(to, stat.atimeMs, stat.mtimeMs);
}

async function copyDirectory(disk: Disk, from: string, to: string, stat: DiskStat): Promise<void> {
  await disk.mkdir(to, 0o700);
  for (const name of await disk.readDirectory(from)) {
    if (!isOwnDirectory(name)) await copyEntry(disk, join(from, name), join(to, name));
  }
  await disk.lchown(to, stat.uid, stat.gid);
  await disk.chmod(to, stat.mode);
  const directory = await disk.openDirectory(to);
  await directory.sync();
  await directory.close();
}

/** Bytes of an entry with all below it. Throws `NotCopyable` beyond the limits, and at what cannot be copied. */
export async function measure(disk: Disk, path: string, limits: TreeLimits): Promise<number> {
  let entries = 0;
  let bytes = 0;
  const visit = async (at: string, dev: number, depth: number): Promise<void> => {
    const stat = await disk.lstat(at);
    if (!stat) return;
    entries += 1;
    bytes += stat.kind === 'file' ? stat.sizeBytes : 0;
    if (depth > DEPTH_MAX) throw new NotCopyable(`deeper than ${DEPTH_MAX} directories`);
    if (stat.dev !== dev) throw new NotCopyable('another file system is mounted in it');
    if (entries > limits.treeEntriesMax) throw new NotCopyable(`more than ${limits.treeEntriesMax} entries`);
    if (bytes > limits.treeBytesMax) throw new NotCopyable(`more than ${limits.treeBytesMax} bytes`);
    if (stat.kind === 'directory') {
      for (const name of await disk.readDirectory(at)) await visit(join(at, name), dev, depth + 1);
    } else if (stat.kind !== 'file' && stat.kind !== 'link') {
      throw new NotCopyable(`a ${stat.kind}, which cannot be put back`);
    }
  };
  const root = await disk.lstat(path);
  if (root) await visit(path, root.dev, 0);
  return bytes;
}
