import { join } from 'node:path';
import type { Disk } from '../host/disk.ts';
import { ensureDirectory, readFileBounded, syncDirectory, writeFileAtomic } from '../store/atomic-file.ts';
import { fitReceipt, type Receipt, receiptSchema } from './receipt.ts';

/** Receipts that the cloud has not yet accepted: one file each, so they outlive every restart (I8). */
export interface Outbox {
  /** Durable when it resolves; the same id again replaces what waits under it. */
  add(id: string, receipt: Receipt): Promise<void>;
  /** Ids that wait, oldest first. */
  pending(): Promise<string[]>;
  /** Offers one after another, oldest first; a receipt goes only when `deliver` says that it has arrived. */
  drain(deliver: (id: string, receipt: Receipt) => Promise<boolean>, signal: AbortSignal): Promise<void>;
}

const RECEIPT_FILE_BYTES_MAX = 16 * 1024;
const SUFFIX = '.json';

export async function openOutbox(
  disk: Disk,
  directory: string,
  log: { error(fields: object, message: string): void },
): Promise<Outbox> {
  await ensureDirectory(disk, directory);

  const names = async (): Promise<string[]> => {
    const all = await disk.readDirectory(directory);
    return all.filter((name) => name.endsWith(SUFFIX));
  };

  const read = async (name: string): Promise<Receipt | undefined> => {
    try {
      const bytes = await readFileBounded(disk, join(directory, name), RECEIPT_FILE_BYTES_MAX);
      return bytes && receiptSchema.parse(JSON.parse(Buffer.from(bytes).toString()));
    } catch (error) {
      log.error({ name, error: String(error) }, 'a receipt cannot be read; set aside');
      await disk.rename(join(directory, name), join(directory, `${name}.bad`));
      return undefined;
    }
  };

  const inOrder = async (): Promise<{ name: string; receipt: Receipt }[]> => {
    const found: { name: string; receipt: Receipt }[] = [];
    for (const name of await names()) {
      const receipt = await read(name);
      if (receipt) found.push({ name, receipt });
    }
    return found.sort((a, b) => a.receipt.endedAt - b.receipt.endedAt);
  };

  return {
    add: (id, receipt) =>
      writeFileAtomic(
        disk,
        join(directory, `${id}${SUFFIX}`),
        Buffer.from(JSON.stringify(fitReceipt(receipt))),
      ),
    pending: async () => (await inOrder()).map(({ name }) => idOf(name)),
    async drain(deliver, signal) {
      for (const { name, receipt } of await inOrder()) {
        if (signal.aborted) return;
        if (!(await deliver(idOf(name), receipt))) continue;
        await disk.unlink(join(directory, name));
        await syncDirectory(disk, directory);
      }
    },
  };
}

function idOf(name: string): string {
  return name.slice(0, -SUFFIX.length);
}
