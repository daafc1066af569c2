import { join } from 'node:path';
import { z } from 'zod';
import type { Disk } from '../host/disk.ts';
import { readFileBounded, writeFileAtomic } from '../store/atomic-file.ts';

/**
 * Channels that refuse receipts (a missing permission ends the link on MQTT 3.1.1: T7). On disk, so that a restart does
 * not begin a loop of disconnects that stops jobs too.
 */

const refusalSchema = z.object({
  /** The shadow's update topic, or the topic: another one is another channel. */
  topic: z.string(),
  /** Milliseconds since the epoch, for people. */
  since: z.number(),
  reason: z.string(),
});
const fileSchema = z.object({
  format: z.literal(1),
  refused: z.object({ shadow: refusalSchema.optional(), topic: refusalSchema.optional() }),
});

export type ChannelName = 'shadow' | 'topic';
export type Refusal = z.infer<typeof refusalSchema>;
export type Refusals = Readonly<Partial<Record<ChannelName, Refusal>>>;

const FILE = 'refused-channels.json';
const BYTES_MAX = 16 * 1024;

/** What stands in the state directory; none where there is no file, or none that can be read. */
export async function readRefusals(disk: Disk, stateDirectory: string): Promise<Refusals> {
  try {
    const bytes = await readFileBounded(disk, join(stateDirectory, FILE), BYTES_MAX);
    if (!bytes) return {};
    const { refused } = fileSchema.parse(JSON.parse(Buffer.from(bytes).toString()));
    return {
      ...(refused.shadow && { shadow: refused.shadow }),
      ...(refused.topic && { topic: refused.topic }),
    };
  } catch {
    return {};
  }
}

/** Durable when it resolves. */
export async function writeRefusals(disk: Disk, stateDirectory: string, refused: Refusals): Promise<void> {
  const bytes = Buffer.from(JSON.stringify({ format: 1, refused }));
  await writeFileAtomic(disk, join(stateDirectory, FILE), bytes);
}
