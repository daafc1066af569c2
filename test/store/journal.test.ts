import { constants } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { nodeDisk } from '../../src/host/node-disk.ts';
import { BLOCK_BYTES, decodeBlock, encodeBlock } from '../../src/store/block.ts';
import { createJournal, openJournal, readJournal } from '../../src/store/journal.ts';
import { bytesAsDisk } from '../support/bytes-disk.ts';

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp('/var/tmp/evenkeel-journal-');
});
afterAll(() => rm(directory, { recursive: true }));

const RECORDS = Array.from({ length: 6 }, (_, index) => ({
  type: 'record',
  number: index,
  text: 'x'.repeat(index * 7),
}));

async function written(name: string, capacity = 10): Promise<string> {
  const path = join(directory, name);
  await createJournal(nodeDisk, path, capacity, [RECORDS[0] as object]);
  const opened = await openJournal(nodeDisk, path);
  if (opened.kind !== 'ok') throw new Error(opened.kind);
  for (const record of RECORDS.slice(1)) await opened.journal.append([record]);
  await opened.journal.close();
  return path;
}

async function bytesOf(path: string): Promise<Buffer> {
  const file = await nodeDisk.openFile(path, constants.O_RDONLY);
  const { sizeBytes } = await file.stat();
  const bytes = Buffer.alloc(sizeBytes);
  await file.read(bytes, 0);
  await file.close();
  return bytes;
}

/** What was read is a beginning of what was written, and what is missing is said. */
async function expectPrefix(bytes: Buffer, damagedBlock: number): Promise<void> {
  const read = await readJournal(bytesAsDisk(bytes), '/journal');
  if (read.kind === 'newerFormat') throw new Error('newerFormat');
  const prefix = RECORDS.slice(0, read.records.length);
  if (JSON.stringify(read.records) !== JSON.stringify(prefix)) throw new Error('not a prefix');
  const lost = RECORDS.length - read.records.length;
  if (lost === 0) return;
  const whole =
    damagedBlock === RECORDS.length - 1 && read.kind === 'ok' && read.tail === 'cut' && lost === 1;
  if (!whole && read.kind !== 'corrupt')
    throw new Error(`${lost} records lost without a word at block ${damagedBlock}`);
}

describe('a journal', () => {
  test('gives back what was appended, also beyond its capacity', async () => {
    const path = await written('beyond', 3);
    const read = await readJournal(nodeDisk, path);
    expect(read).toEqual({ kind: 'ok', records: RECORDS, tail: 'clean' });
  });

  test('goes on behind a torn tail, which it overwrites', async () => {
    const path = await written('torn');
    const file = await nodeDisk.openFile(path, constants.O_RDWR);
    await file.write(Buffer.from('torn'), RECORDS.length * BLOCK_BYTES);
    await file.close();
    const opened = await openJournal(nodeDisk, path);
    expect(opened).toMatchObject({ kind: 'ok', tail: 'cut', records: RECORDS });
    if (opened.kind !== 'ok') return;
    await opened.journal.append([{ type: 'next' }]);
    await opened.journal.close();
    expect(await readJournal(nodeDisk, path)).toMatchObject({
      tail: 'clean',
      records: [...RECORDS, { type: 'next' }],
    });
  });

  test('of a newer format is left alone', async () => {
    const block = Buffer.from(encodeBlock(0, [{ a: 1 }]));
    expect(decodeBlock(block).kind).toBe('good');
    const { crc32 } = await import('node:zlib');
    block.writeUInt32LE(99, 4);
    const length = block.readUInt32LE(12);
    block.writeUInt32LE(crc32(block.subarray(20, 20 + length), crc32(block.subarray(0, 16))), 16);
    expect(await readJournal(bytesAsDisk(block), '/journal')).toEqual({ kind: 'newerFormat', format: 99 });
  });

  test('truncated at every byte: a bad tail is cut, anything else is corrupt, nothing is invented', {
    timeout: 120_000,
  }, async () => {
    const bytes = (await bytesOf(await written('truncated'))).subarray(0, RECORDS.length * BLOCK_BYTES);
    for (let length = 0; length < bytes.length; length += 1) {
      const read = await readJournal(bytesAsDisk(bytes.subarray(0, length)), '/journal');
      if (read.kind === 'newerFormat') throw new Error('newerFormat');
      const whole = Math.floor(length / BLOCK_BYTES);
      if (read.records.length !== whole) throw new Error(`${length} bytes: ${read.records.length} records`);
      if (whole > 0 && length % BLOCK_BYTES > 0 && read.kind === 'ok' && read.tail !== 'cut') {
        // A tail of zeros alone is a block that was never written.
        const tail = bytes.subarray(whole * BLOCK_BYTES, length);
        if (!tail.every((byte) => byte === 0)) throw new Error(`${length} bytes: a torn tail is not noticed`);
      }
    }
  });

  test('with one bit flipped at every byte: never a wrong record', { timeout: 120_000 }, async () => {
    const bytes = (await bytesOf(await written('flipped'))).subarray(0, RECORDS.length * BLOCK_BYTES);
    for (let at = 0; at < bytes.length; at += 1) {
      const damaged = Buffer.from(bytes);
      damaged[at] = (damaged[at] ?? 0) ^ (1 << (at % 8));
      await expectPrefix(damaged, Math.floor(at / BLOCK_BYTES));
    }
  });
});
