import { crc32 } from 'node:zlib';

/** One entry that has changed: its collection, its key, and what it is now; without a value it is gone. */
export type Change = [collection: string, key: string, value?: unknown];

/** Changes that are one: a line of the log, `crc32 JSON`. A reader has all of them or none. */
export function encodeRecord(changes: readonly Change[]): string {
  const json = JSON.stringify(changes);
  return `${crc32(json).toString(16).padStart(8, '0')} ${json}\n`;
}

/** The records of a log, as far as they are whole, and how many bytes that is: what follows is torn or rotten. */
export function decodeRecords(log: Buffer): { records: Change[][]; length: number } {
  const records: Change[][] = [];
  let at = 0;
  for (;;) {
    const end = log.indexOf(0x0a, at);
    if (end < 0) break;
    const line = log.toString('utf8', at, end);
    const json = line.slice(9);
    if (line[8] !== ' ' || Number.parseInt(line.slice(0, 8), 16) !== crc32(json)) break;
    records.push(JSON.parse(json) as Change[]);
    at = end + 1;
  }
  return { records, length: at };
}
