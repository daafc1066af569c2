import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Disk, DiskFile } from '../host/disk.ts';
import { withPlace } from '../host/safe-paths.ts';
import { syncDirectory } from '../store/atomic-file.ts';
import type { Fingerprint } from './step.ts';

export const ABSENT: Fingerprint = 'absent';

const CHUNK_BYTES = 256 * 1024;
const DEPTH_MAX = 64;
const DEFAULT_ACL = 'system.posix_acl_default';

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

/**
 * Kind, mode, owner, content, extended attributes and ACLs of an entry; of a directory, of all that is in it. Never
 * opens a FIFO or a device.
 */
export async function fingerprint(disk: Disk, path: string): Promise<Fingerprint> {
  return fingerprintOf(disk, path, await disk.readAttributes(await entriesBelow(disk, path)));
}

type AttributesByPath = Awaited<ReturnType<Disk['readAttributes']>>;

async function fingerprintOf(disk: Disk, path: string, attributes: AttributesByPath): Promise<Fingerprint> {
  const stat = await disk.lstat(path);
  if (!stat) return ABSENT;
  const owner = `${stat.uid}:${stat.gid}${attributeMark(attributes.get(path))}`;
  switch (stat.kind) {
    case 'file':
      return `file ${stat.mode.toString(8)} ${owner} ${await contentHash(disk, path)}`;
    case 'link':
      // The mode of a link means nothing.
      return `link ${owner} ${sha256(await disk.readlink(path))}`;
    case 'directory': {
      const hash = createHash('sha256');
      for (const name of await disk.readDirectory(path)) {
        if (isOwnDirectory(name)) continue;
        hash.update(`${name}\0${await fingerprintOf(disk, join(path, name), attributes)}\0`);
      }
      return `directory ${stat.mode.toString(8)} ${owner} ${hash.digest('hex')}`;
    }
    default:
      return `${stat.kind} ${stat.mode.toString(8)} ${owner}`;
  }
}

function attributeMark(attributes: Readonly<Record<string, string>> = {}): string {
  const sorted = Object.entries(attributes).sort(([a], [b]) => (a < b ? -1 : 1));
  return sorted.length === 0 ? '' : ` ${sha256(JSON.stringify(sorted))}`;
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** The entry and all below it that is not ours; throws `NotCopyable` where it is too deep. */
async function entriesBelow(disk: Disk, path: string, depth = 0): Promise<string[]> {
  const stat = await disk.lstat(path);
  if (!stat) return [];
  if (stat.kind !== 'directory') return [path];
  if (depth > DEPTH_MAX) throw new NotCopyable(`deeper than ${DEPTH_MAX} directories`);
  const found = [path];
  for (const name of await disk.readDirectory(path)) {
    if (!isOwnDirectory(name)) found.push(...(await entriesBelow(disk, join(path, name), depth + 1)));
  }
  return found;
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
    await readAll(file, async (chunk) => void hash.update(chunk));
    return hash.digest('hex');
  } finally {
    await file.close();
  }
}

async function readAll(
  file: DiskFile,
  each: (chunk: Uint8Array, position: number) => Promise<void>,
): Promise<void> {
  const buffer = new Uint8Array(CHUNK_BYTES);
  for (let position = 0; ; ) {
    const count = await file.read(buffer, position);
    if (count === 0) return;
    await each(buffer.subarray(0, count), position);
    position += count;
  }
}

/** Copies an entry with all below it: content, mode, owner, times, attributes and ACLs; durable. Links stay links. */
export async function copyEntry(disk: Disk, from: string, to: string): Promise<void> {
  const parent = dirname(to);
  const attributes = await disk.readAttributes([parent, ...(await entriesBelow(disk, from))]);
  // What is made in a directory with a default ACL begins with that ACL (man 5 acl).
  const inherits = attributes.get(parent)?.[DEFAULT_ACL] !== undefined;
  await copyKnown(disk, from, to, { attributes, inherits });
}

interface CopyFacts {
  attributes: AttributesByPath;
  inherits: boolean;
}

async function copyKnown(disk: Disk, from: string, to: string, facts: CopyFacts): Promise<void> {
  const stat = await disk.lstat(from);
  if (!stat) throw new Error(`cannot copy ${from}: it is gone`);
  const begin = async (): Promise<void> => {
    if (facts.inherits) await disk.clearAttributes(to);
  };
  const copyRest = async (): Promise<void> => {
    await disk.copyAttributes(from, to, facts.attributes.get(from));
    await disk.lutimes(to, stat.atimeMs, stat.mtimeMs);
  };
  switch (stat.kind) {
    case 'file':
      await copyFile(disk, from, to, async () => {
        await begin();
        await copyRest();
      });
      break;
    case 'link':
      await disk.symlink(await disk.readlink(from), to);
      await copyRest();
      break;
    case 'directory':
      await disk.mkdir(to, 0o700);
      await begin();
      for (const name of await disk.readDirectory(from)) {
        if (isOwnDirectory(name)) continue;
        await copyKnown(disk, join(from, name), join(to, name), { ...facts, inherits: false });
      }
      await copyRest();
      await syncDirectory(disk, to);
      break;
    default:
      throw new NotCopyable(`${from} is a ${stat.kind}`);
  }
}

/** Bytes first, then the rest of it, and one sync for both. */
async function copyFile(disk: Disk, from: string, to: string, copyRest: () => Promise<void>): Promise<void> {
  const source = await disk.openFile(from, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const target = await disk.openFile(to, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
    try {
      await readAll(source, (chunk, position) => target.write(chunk, position));
      await copyRest();
      await target.sync();
    } finally {
      await target.close();
    }
  } finally {
    await source.close();
  }
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
