import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { Disk } from '../host/disk.ts';
import { readFileBounded, writeFileAtomic } from './atomic-file.ts';

/** A value that a journal record names: inside the record while it is small, else a file known by its hash. */
export type Attachment = { inline: Json } | { file: string; sha256: string; bytes: number };

export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

const INLINE_BYTES_MAX = 1024;
const FILE_BYTES_MAX = 64 * 1024 * 1024;

/** Makes `value` durable where it needs a file of its own; the record that names it comes after. */
export async function attach(disk: Disk, directory: string, name: string, value: Json): Promise<Attachment> {
  const bytes = Buffer.from(JSON.stringify(value));
  if (bytes.length <= INLINE_BYTES_MAX) return { inline: value };
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const file = `${name}.json`;
  await writeFileAtomic(disk, join(directory, file), bytes);
  return { file, sha256, bytes: bytes.length };
}

/** The value again; a file that is gone or not the one that was named is a reason, not a value. */
export async function resolveAttachment(
  disk: Disk,
  directory: string,
  attachment: Attachment,
): Promise<{ ok: true; value: Json } | { ok: false; reason: string }> {
  if ('inline' in attachment) return { ok: true, value: attachment.inline };
  const bytes = await readFileBounded(disk, join(directory, attachment.file), FILE_BYTES_MAX);
  if (!bytes) return { ok: false, reason: `${attachment.file} is gone` };
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  if (sha256 !== attachment.sha256)
    return { ok: false, reason: `${attachment.file} is not what was written` };
  return { ok: true, value: JSON.parse(Buffer.from(bytes).toString()) as Json };
}
