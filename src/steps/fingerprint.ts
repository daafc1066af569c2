import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { dirname, join } from 'node:path';
import { OWN_PREFIX } from '../document/fields.ts';
import type { Disk, DiskFile, DiskStat } from '../host/disk.ts';
import { type Place, withPlace } from '../host/safe-paths.ts';
import { syncDirectory } from '../store/atomic-file.ts';
import type { Fingerprint } from './step.ts';

export const ABSENT: Fingerprint = 'absent';

const CHUNK_BYTES = 256 * 1024;
const DEPTH_MAX = 64;
/** `statfs` magic number. */
const OVERLAYFS = 0x794c7630;
/** Below this a copy costs as little as asking. */
const REFLINK_BYTES_MIN = 64 * 1024;
const KIND_WORDS = {
  fifo: 'FIFO',
  socket: 'socket',
  blockDevice: 'block device',
  characterDevice: 'character device',
};
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
  return fingerprintOf(disk, path, path, await disk.readAttributes(await entriesBelow(disk, path)));
}

type AttributesByPath = Awaited<ReturnType<Disk['readAttributes']>>;

/** `at` reaches the entry through the opened directory that it is in, `path` is how its attributes were asked for. */
async function fingerprintOf(
  disk: Disk,
  at: string,
  path: string,
  attributes: AttributesByPath,
): Promise<Fingerprint> {
  const stat = await disk.lstat(at);
  if (!stat) return ABSENT;
  const owner = `${stat.uid}:${stat.gid}${attributeMark(attributes.get(path))}`;
  switch (stat.kind) {
    case 'file':
      return `file ${stat.mode.toString(8)} ${owner} ${await contentHash(disk, at)}`;
    case 'link':
      // The mode of a link means nothing.
      return `link ${owner} ${sha256(await disk.readlink(at))}`;
    case 'directory': {
      const hash = createHash('sha256');
      await eachEntry(disk, at, async (name, inner) => {
        hash.update(`${name}\0${await fingerprintOf(disk, inner, join(path, name), attributes)}\0`);
      });
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

/**
 * Visits what is in a directory and is not ours, by way of the opened directory: whoever puts a link in the place of a
 * part of a tree while we walk it leads us nowhere.
 */
async function eachEntry(
  disk: Disk,
  path: string,
  visit: (name: string, at: string) => Promise<void>,
): Promise<void> {
  const directory = await disk.openDirectory(path);
  try {
    for (const name of await disk.readDirectory(directory.path)) {
      if (!isOwnDirectory(name)) await visit(name, join(directory.path, name));
    }
  } finally {
    await directory.close();
  }
}

/** Where images and staged files are, beside what they belong to. */
export { OWN_PREFIX };

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

/**
 * Copies an entry with all below it: content, mode, owner, times, attributes and ACLs; durable. Links stay links, and
 * names of one file within the tree stay names of one file.
 */
export async function copyEntry(disk: Disk, from: string, to: string): Promise<void> {
  // `/.`: the directory itself, where it is reached through a descriptor, which looks like a link.
  const parent = `${dirname(to)}/.`;
  const attributes = await disk.readAttributes([parent, ...(await entriesBelow(disk, from))]);
  // What is made in a directory with a default ACL begins with that ACL (man 5 acl).
  const inherits = attributes.get(parent)?.[DEFAULT_ACL] !== undefined;
  await copyKnown(disk, { from, at: from, to }, { attributes, inherits, copied: new Map() });
}

interface CopyFacts {
  attributes: AttributesByPath;
  inherits: boolean;
  /** By inode, the copy of a file that has several names. */
  copied: Map<string, string>;
}

/** `at` reaches `from` through the opened directory that it is in; `to` lies in a directory of ours. */
interface CopyEnds {
  from: string;
  at: string;
  to: string;
}

async function copyKnown(disk: Disk, ends: CopyEnds, facts: CopyFacts): Promise<void> {
  const { from, at, to } = ends;
  const stat = await disk.lstat(at);
  if (!stat) throw new Error(`cannot copy ${from}: it is gone`);
  const begin = async (): Promise<void> => {
    if (facts.inherits) await disk.clearAttributes(to);
  };
  const copyRest = async (): Promise<void> => {
    await disk.copyAttributes(at, to, facts.attributes.get(from));
    await disk.lutimes(to, stat.atimeMs, stat.mtimeMs);
  };
  switch (stat.kind) {
    case 'file': {
      const inode = `${stat.dev}:${stat.ino}`;
      const twin = facts.copied.get(inode);
      if (twin !== undefined) {
        await disk.link(twin, to);
        break;
      }
      if (stat.linkCount > 1) facts.copied.set(inode, to);
      await copyFile(disk, at, to, stat.sizeBytes, async () => {
        await begin();
        await copyRest();
      });
      break;
    }
    case 'link':
      await disk.symlink(await disk.readlink(at), to);
      await copyRest();
      break;
    case 'directory':
      await disk.mkdir(to, 0o700);
      await begin();
      await eachEntry(disk, at, (name, inner) =>
        copyKnown(
          disk,
          { from: join(from, name), at: inner, to: join(to, name) },
          { ...facts, inherits: false },
        ),
      );
      await copyRest();
      await syncDirectory(disk, to);
      break;
    default:
      throw new NotCopyable(`${from} is a ${stat.kind}`);
  }
}

/** Bytes first, then the rest of it, and one sync for both. */
async function copyFile(
  disk: Disk,
  from: string,
  to: string,
  sizeBytes: number,
  copyRest: () => Promise<void>,
): Promise<void> {
  const source = await disk.openFile(from, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const target = await disk.openFile(to, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
    try {
      const shared = sizeBytes >= REFLINK_BYTES_MIN && (await disk.reflink(from, to));
      if (!shared) await readAll(source, (chunk, position) => target.write(chunk, position));
      await copyRest();
      await target.sync();
    } finally {
      await target.close();
    }
  } finally {
    await source.close();
  }
}

export interface Measured {
  bytes: number;
  /** Of a file: how many it has. */
  names: number;
  /** Files in a tree that have names outside of it too, relative to it. */
  split: string[];
}

/**
 * What an image of the entry with all below it would hold. Throws `NotCopyable` beyond the limits, at what cannot be
 * put back, and at a mount: an image cannot leave its file system by a rename.
 */
export async function measure(disk: Disk, place: Place, limits: TreeLimits): Promise<Measured> {
  const root = await disk.lstat(place.path);
  if (!root) return { bytes: 0, names: 0, split: [] };
  const parent = await place.directory.stat();
  const isMount = async (at: string, { kind, dev }: DiskStat): Promise<boolean> => {
    if (dev === parent.dev || kind === 'link') return false;
    // An overlay tells, of what is no directory, the device of the layer that it lies in.
    const types = await Promise.all([place.directory.path, at].map((path) => disk.room(path)));
    return kind === 'directory' || types.some(({ type }) => type !== OVERLAYFS);
  };
  if (await isMount(place.path, root)) throw new NotCopyable('another file system is mounted on it');
  const found = { entries: 0, bytes: 0 };
  const linked = new Map<number, { name: string; missing: number }>();
  const visit = async (at: string, name: string, depth: number): Promise<void> => {
    const stat = await disk.lstat(at);
    if (!stat) return;
    if (depth > DEPTH_MAX) throw new NotCopyable(`deeper than ${DEPTH_MAX} directories`);
    if (await isMount(at, stat)) throw new NotCopyable(`another file system is mounted on ${name} in it`);
    const twin = stat.kind === 'file' && stat.linkCount > 1 ? linked.get(stat.ino) : undefined;
    if (twin) twin.missing -= 1;
    else if (stat.kind === 'file') linked.set(stat.ino, { name, missing: stat.linkCount - 1 });
    found.entries += 1;
    found.bytes += stat.kind === 'file' && !twin ? stat.sizeBytes : 0;
    checkLimits(found, limits);
    if (stat.kind === 'directory') {
      await eachEntry(disk, at, (inner, reached) => visit(reached, join(name, inner), depth + 1));
    } else if (stat.kind !== 'file' && stat.kind !== 'link') {
      const which = name === '' ? 'it' : `${name} in it`;
      throw new NotCopyable(`${which} is a ${KIND_WORDS[stat.kind]}, which cannot be put back`);
    }
  };
  await visit(place.path, '', 0);
  const split = [...linked.values()].filter(({ name, missing }) => name !== '' && missing > 0);
  return {
    bytes: found.bytes,
    names: root.kind === 'file' ? root.linkCount : 1,
    split: split.map(({ name }) => name),
  };
}

function checkLimits({ entries, bytes }: { entries: number; bytes: number }, limits: TreeLimits): void {
  if (entries > limits.treeEntriesMax)
    throw new NotCopyable(`more than ${limits.treeEntriesMax} entries (steps.treeEntriesMax)`);
  if (bytes > limits.treeBytesMax)
    throw new NotCopyable(`more than ${limits.treeBytesMax} bytes (steps.treeMegabytesMax)`);
}
