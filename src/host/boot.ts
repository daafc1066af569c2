import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';

const BOOT_ID_PATH = '/proc/sys/kernel/random/boot_id';
const UPTIME_PATH = '/proc/uptime';
const KERNEL_STATISTICS_PATH = '/proc/stat';
/** systemd's, D-Bus's, and the serial number that a board's firmware tells. */
const MACHINE_ID_PATHS = [
  '/etc/machine-id',
  '/var/lib/dbus/machine-id',
  '/sys/firmware/devicetree/base/serial-number',
];

/** Reads a text file; `undefined` where it cannot be read. */
export type ReadText = (path: string) => Promise<string | undefined>;

/**
 * Names this boot of the kernel: another value means that every process of before is gone. The kernel's boot id;
 * where that is hidden, the second of the boot. Throws when neither can be read.
 */
export async function bootId(read: ReadText = readText): Promise<string> {
  const id = (await read(BOOT_ID_PATH))?.trim();
  if (id) return id;
  const bootSecond = /^btime (\d+)$/m.exec((await read(KERNEL_STATISTICS_PATH)) ?? '')?.[1];
  if (bootSecond !== undefined) return `btime-${bootSecond}`;
  throw new Error(`cannot read the boot id: neither ${BOOT_ID_PATH} nor ${KERNEL_STATISTICS_PATH} tells it`);
}

/** How long this boot has lasted; `undefined` where the kernel hides it. */
export async function uptimeMs(read: ReadText = readText): Promise<number | undefined> {
  const seconds = Number.parseFloat((await read(UPTIME_PATH)) ?? '');
  return Number.isNaN(seconds) ? undefined : seconds * 1000;
}

/**
 * Names this machine across boots, so that a journal of another one (a copied disk image) is recognised. The host
 * name is the last resort.
 */
export async function machineId(read: ReadText = readText): Promise<string> {
  for (const path of MACHINE_ID_PATHS) {
    // A device tree ends its strings with NUL; systemd writes `uninitialized` into an image before its first boot.
    const id = (await read(path))?.replaceAll('\0', '').trim();
    if (id && id !== 'uninitialized') return id;
  }
  return `host-${hostname()}`;
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    return undefined;
  }
}
