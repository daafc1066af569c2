import { crc32 } from 'node:zlib';

/**
 * One decision is one block: magic, format, sequence, length and CRC of the payload, then JSON (an array of the
 * records that were appended together). Aligned to 4 KiB, so that no write ever touches a committed block.
 */
export const BLOCK_BYTES = 4096;
export const FORMAT = 1;

const MAGIC = 0x45564b4c;
const HEADER_BYTES = 20;
export const PAYLOAD_BYTES_MAX = BLOCK_BYTES - HEADER_BYTES;

export type Block =
  | { kind: 'good'; sequence: number; records: readonly object[] }
  /** Never written: all zero. */
  | { kind: 'empty' }
  | { kind: 'newerFormat'; format: number }
  | { kind: 'bad' };

/** Throws when the records do not fit: bigger things are files that a record names. */
export function encodeBlock(sequence: number, records: readonly object[]): Uint8Array {
  const payload = Buffer.from(JSON.stringify(records));
  if (payload.length > PAYLOAD_BYTES_MAX) {
    throw new Error(
      `internal error: a journal block of ${payload.length} bytes, more than ${PAYLOAD_BYTES_MAX}`,
    );
  }
  const block = Buffer.alloc(BLOCK_BYTES);
  block.writeUInt32LE(MAGIC, 0);
  block.writeUInt32LE(FORMAT, 4);
  block.writeUInt32LE(sequence, 8);
  block.writeUInt32LE(payload.length, 12);
  payload.copy(block, HEADER_BYTES);
  block.writeUInt32LE(checksum(block, payload.length), 16);
  return block;
}

/** Reads what `encodeBlock` wrote; anything else is `bad`, whatever its bytes. */
export function decodeBlock(bytes: Uint8Array): Block {
  const block = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (isZero(block)) return { kind: 'empty' };
  if (block.length < BLOCK_BYTES || block.readUInt32LE(0) !== MAGIC) return { kind: 'bad' };
  const length = block.readUInt32LE(12);
  if (length > PAYLOAD_BYTES_MAX || block.readUInt32LE(16) !== checksum(block, length))
    return { kind: 'bad' };
  // What follows the payload was written as zeros; anything else there is rot.
  if (!isZero(block.subarray(HEADER_BYTES + length))) return { kind: 'bad' };
  const format = block.readUInt32LE(4);
  if (format > FORMAT) return { kind: 'newerFormat', format };
  const records = JSON.parse(
    block.toString('utf8', HEADER_BYTES, HEADER_BYTES + length),
  ) as readonly object[];
  return { kind: 'good', sequence: block.readUInt32LE(8), records };
}

const ZEROS = Buffer.alloc(BLOCK_BYTES);

function isZero(bytes: Buffer): boolean {
  return bytes.equals(ZEROS.subarray(0, bytes.length));
}

function checksum(block: Buffer, length: number): number {
  const head = crc32(block.subarray(0, 16));
  return crc32(block.subarray(HEADER_BYTES, HEADER_BYTES + length), head);
}
