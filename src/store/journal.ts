import { constants } from 'node:fs';
import { dirname } from 'node:path';
import type { Disk, DiskFile } from '../host/disk.ts';
import { syncDirectory } from './atomic-file.ts';
import { BLOCK_BYTES, type Block, decodeBlock, encodeBlock } from './block.ts';

/** A preallocated file of 4 KiB blocks; appended to by one writer, believed only after it was made durable. */
export interface Journal {
  /** Makes the records durable, together, in one block. After a failure every later append fails too. */
  append(records: readonly object[]): Promise<void>;
  close(): Promise<void>;
}

export type ReadJournal =
  /** `cut`: the last block was torn or rotten, and what it said is lost. */
  | { kind: 'ok'; records: readonly object[]; tail: 'clean' | 'cut' }
  /** A bad block with a good one behind it: nothing in it is certain any more. */
  | { kind: 'corrupt'; reason: string; records: readonly object[] }
  /** Written by a newer version: nothing may be touched. */
  | { kind: 'newerFormat'; format: number };

export type OpenedJournal =
  | { kind: 'ok'; journal: Journal; records: readonly object[]; tail: 'clean' | 'cut' }
  | Exclude<ReadJournal, { kind: 'ok' }>;

/** A write or a sync failed: what is on disk is not known, and this process must not go on. */
export class JournalFailed extends Error {}

const BLOCKS_MAX = 65_536;

/** Writes a new journal with room for `capacityBlocks`, and its first records. The directory is the caller's to sync. */
export async function createJournal(
  disk: Disk,
  path: string,
  capacityBlocks: number,
  first: readonly object[],
): Promise<void> {
  const file = await disk.openFile(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
  try {
    // Written out, not only reserved: a full disk must show before the job starts (design section 6).
    await file.write(new Uint8Array(capacityBlocks * BLOCK_BYTES), 0);
    await file.write(encodeBlock(0, first), 0);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Reads a journal and changes nothing. */
export async function readJournal(disk: Disk, path: string): Promise<ReadJournal> {
  const file = await disk.openFile(path, constants.O_RDONLY);
  try {
    return judge((await readBlocks(file)).blocks);
  } finally {
    await file.close();
  }
}

/** Opens a journal to go on with it: made durable first, then believed (design section 6). */
export async function openJournal(disk: Disk, path: string): Promise<OpenedJournal> {
  const file = await disk.openFile(path, constants.O_RDWR);
  try {
    const { blocks, bytes } = await readBlocks(file);
    const read = judge(blocks);
    if (read.kind !== 'ok') {
      await file.close();
      return read;
    }
    const used = blocks.findIndex((block, index) => !isNumber(block, index));
    const end = used < 0 ? blocks.length : used;
    // What was read may stand only in the page cache of a kernel that failed to write it.
    await file.write(bytes.subarray(0, end * BLOCK_BYTES), 0);
    await file.datasync();
    await syncDirectory(disk, dirname(path));
    // The rename that gave the execution's directory its name may be no more durable than that.
    await syncDirectory(disk, dirname(dirname(path)));
    return { ...read, journal: journalOf(file, end) };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function readBlocks(file: DiskFile): Promise<{ blocks: Block[]; bytes: Uint8Array }> {
  const { sizeBytes } = await file.stat();
  if (sizeBytes > BLOCKS_MAX * BLOCK_BYTES) throw new Error(`cannot read a journal of ${sizeBytes} bytes`);
  const bytes = new Uint8Array(sizeBytes);
  for (let at = 0; at < sizeBytes; ) {
    const count = await file.read(bytes.subarray(at), at);
    if (count === 0) break;
    at += count;
  }
  const blocks: Block[] = [];
  for (let at = 0; at < sizeBytes; at += BLOCK_BYTES)
    blocks.push(decodeBlock(bytes.subarray(at, at + BLOCK_BYTES)));
  return { blocks, bytes };
}

/** The block is good, and the one that belongs here. */
function isNumber(block: Block, index: number): boolean {
  return block.kind === 'good' && block.sequence === index;
}

function judge(blocks: readonly Block[]): ReadJournal {
  const newer = blocks[0]?.kind === 'newerFormat' ? blocks[0] : undefined;
  if (newer) return newer;
  const wrong = blocks.findIndex((block, index) => !isNumber(block, index));
  const end = wrong < 0 ? blocks.length : wrong;
  const records = blocks.slice(0, end).flatMap((block) => (block.kind === 'good' ? block.records : []));
  if (blocks.slice(end + 1).some(({ kind }) => kind !== 'empty')) {
    return { kind: 'corrupt', reason: `block ${end} is bad, and more stands behind it`, records };
  }
  if (end === 0) return { kind: 'corrupt', reason: 'its first block is bad', records };
  const cut = wrong >= 0 && blocks[wrong]?.kind !== 'empty';
  return { kind: 'ok', records, tail: cut ? 'cut' : 'clean' };
}

function journalOf(file: DiskFile, used: number): Journal {
  let next = used;
  let failed: JournalFailed | undefined;
  let last: Promise<unknown> = Promise.resolve();

  const write = async (records: readonly object[]): Promise<void> => {
    if (failed) throw failed;
    const block = encodeBlock(next, records);
    try {
      await file.write(block, next * BLOCK_BYTES);
      await file.datasync();
    } catch (error) {
      // After a failed fsync the page cache may say what the disk does not: no second try (design section 6).
      failed = new JournalFailed(`cannot write the journal: ${(error as Error).message}`, { cause: error });
      throw failed;
    }
    next += 1;
  };

  return {
    append(records) {
      const appended = last.then(() => write(records));
      last = appended.catch(() => undefined);
      return appended;
    },
    async close() {
      await last;
      await file.close();
    },
  };
}
