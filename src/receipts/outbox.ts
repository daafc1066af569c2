import { join } from 'node:path';
import type { Disk } from '../host/disk.ts';
import type { Log } from '../host/log.ts';
import { ensureDirectory, readFileBounded, syncDirectory, writeFileAtomic } from '../store/atomic-file.ts';
import { fitReceipt, type Receipt, receiptSchema } from './receipt.ts';

/** Receipts that the cloud has not yet accepted: one file each, so they outlive every restart (I8). */
export interface Outbox {
  /** Durable when it resolves; the same id again replaces what waits under it. */
  add(id: string, receipt: Receipt): Promise<void>;
  /** Ids that wait, oldest first; those that cannot be read now behind all others. */
  pending(): Promise<string[]>;
  /** Offers one after another, oldest first; a receipt goes only when `deliver` says that it has arrived. */
  drain(deliver: (id: string, receipt: Receipt) => Promise<boolean>, signal: AbortSignal): Promise<void>;
}

/**
 * A channel may be refused for years: the device keeps the receipts that matter most, in at most 2 MiB (4 KiB each).
 */
export const RECEIPTS_MAX = 512;
const RECEIPT_FILE_BYTES_MAX = 16 * 1024;
const SUFFIX = '.json';

export async function openOutbox(
  disk: Disk,
  directory: string,
  log: Pick<Log, 'warn' | 'error'>,
): Promise<Outbox> {
  await ensureDirectory(disk, directory);
  /** Since the process began. */
  let dropped = 0;

  const names = async (): Promise<string[]> => {
    const all = await disk.readDirectory(directory);
    return all.filter((name) => name.endsWith(SUFFIX));
  };

  const read = async (name: string): Promise<Receipt | undefined> => {
    try {
      const bytes = await readFileBounded(disk, join(directory, name), RECEIPT_FILE_BYTES_MAX);
      return bytes && receiptSchema.parse(JSON.parse(Buffer.from(bytes).toString()));
    } catch (error) {
      // I8: a disk that fails says nothing about the receipt, which waits until it can be read.
      if (error instanceof Error && 'code' in error) {
        log.warn({ name, error: error.message }, 'a receipt cannot be read now');
        return undefined;
      }
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

  /** Makes room for one more: what matters least goes first, and of that the oldest. */
  const makeRoom = async (newcomer: string): Promise<void> => {
    if ((await names()).length < RECEIPTS_MAX) return;
    const waiting = (await inOrder()).filter(({ name }) => name !== newcomer);
    const removable = waiting
      .filter(({ receipt }) => weightOf(receipt) < MUST_STAY)
      .sort((a, b) => weightOf(a.receipt) - weightOf(b.receipt));
    const surplus = removable.slice(0, Math.max(0, waiting.length + 1 - RECEIPTS_MAX));
    for (const { name, receipt } of surplus) {
      await disk.unlink(join(directory, name));
      dropped += 1;
      const { jobId, executionNumber, outcome } = receipt;
      log.warn(
        { jobId, executionNumber, outcome, dropped, receiptsMax: RECEIPTS_MAX },
        'too many receipts wait; one was dropped',
      );
    }
  };

  return {
    async add(id, receipt) {
      const name = `${id}${SUFFIX}`;
      await makeRoom(name);
      await writeFileAtomic(disk, join(directory, name), Buffer.from(JSON.stringify(fitReceipt(receipt))));
    },
    async pending() {
      const readable = (await inOrder()).map(({ name }) => name);
      const waiting = new Set([...readable, ...(await names())]);
      return [...waiting].map(idOf);
    },
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

/** How many wait, of whoever's; the state directory may have none yet. */
export async function countReceipts(disk: Disk, stateDirectory: string): Promise<number> {
  const directory = join(stateDirectory, 'outbox');
  if (!(await disk.lstat(directory))) return 0;
  return (await disk.readDirectory(directory)).filter((name) => name.endsWith(SUFFIX)).length;
}

/** Never dropped: the device is neither old nor new, or nobody can prove that it is. */
const MUST_STAY = 3;

/** How much is lost with a receipt: nothing that has happened, what is as it was, what differs from the cloud's word. */
function weightOf({ outcome, deviceState, exception }: Receipt): number {
  if (outcome === 'inconsistent' || outcome === 'notReversed') return MUST_STAY;
  if (deviceState === 'unknown' || deviceState === 'inconsistent' || exception !== undefined) return 2;
  return outcome === 'observed' ? 0 : 1;
}

function idOf(name: string): string {
  return name.slice(0, -SUFFIX.length);
}
