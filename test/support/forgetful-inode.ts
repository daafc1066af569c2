import type { EntryKind } from '../../src/host/disk.ts';
import type { Random } from './random.ts';

/**
 * One inode of the forgetful disk: what a reader sees now, what would be there after a power cut, and what stands
 * between the two. A write is torn at sectors; the kernel writes the sectors of a file in any order.
 */

export const SECTOR_BYTES = 512;

export interface Meta {
  mode: number;
  uid: number;
  gid: number;
  atimeMs: number;
  mtimeMs: number;
  attributes: Readonly<Record<string, string>>;
}

/** Something not synced. `lost`: a sync of it failed, so it stands in the page cache and no later sync writes it. */
interface Unsynced<T> {
  value: T;
  lost: boolean;
}

/** How much of what was not synced a power cut leaves. */
export type Survival = 'all' | 'none' | 'some';

export class Inode {
  readonly ino: number;
  readonly dev: number;
  readonly kind: EntryKind;
  /** Of a link. */
  readonly target: string;
  meta: Meta;
  /** Of a directory. */
  entries = new Map<string, Inode>();
  linkCount = 0;
  ctimeMs: number;
  #bytes = new Uint8Array(0);
  #size = 0;

  #durableMeta: Meta;
  readonly durableEntries = new Map<string, Inode>();
  #durableBytes = new Uint8Array(0);
  #durableSize = 0;

  #metas: Meta[] = [];
  #sizes: Unsynced<number>[] = [];
  #sectors = new Map<number, Unsynced<Uint8Array>[]>();

  constructor(ino: number, dev: number, kind: EntryKind, meta: Meta, target = '') {
    this.ino = ino;
    this.dev = dev;
    this.kind = kind;
    this.meta = meta;
    this.#durableMeta = meta;
    this.target = target;
    this.ctimeMs = meta.mtimeMs;
  }

  get size(): number {
    return this.kind === 'link' ? Buffer.byteLength(this.target) : this.#size;
  }

  /** Something of it would not outlive a power cut. */
  get unsynced(): boolean {
    return this.#metas.length > 0 || this.#sizes.length > 0 || this.#sectors.size > 0;
  }

  change(change: Partial<Meta>): void {
    this.meta = { ...this.meta, ...change };
    this.#metas.push(this.meta);
  }

  read(buffer: Uint8Array, position: number): number {
    const end = Math.min(this.#size, position + buffer.length);
    if (end <= position) return 0;
    buffer.set(this.#bytes.subarray(position, end));
    return end - position;
  }

  content(): Uint8Array {
    return this.#bytes.slice(0, this.#size);
  }

  write(bytes: Uint8Array, position: number): void {
    const end = position + bytes.length;
    this.#bytes = withRoom(this.#bytes, end);
    this.#bytes.set(bytes, position);
    this.#dirty(position, end);
    if (end > this.#size) this.#resize(end);
  }

  truncate(size: number): void {
    const old = this.#size;
    this.#bytes = withRoom(this.#bytes, size);
    if (size < old) {
      this.#bytes.fill(0, size, old);
      this.#dirty(size, old);
    }
    if (size !== old) this.#resize(size);
  }

  #resize(size: number): void {
    this.#size = size;
    this.#sizes.push({ value: size, lost: false });
  }

  /** Notes what the sectors from `start` to `end` hold now. */
  #dirty(start: number, end: number): void {
    const first = Math.floor(start / SECTOR_BYTES);
    const last = Math.ceil(end / SECTOR_BYTES);
    const copy = withRoom(this.#bytes, last * SECTOR_BYTES).slice(first * SECTOR_BYTES, last * SECTOR_BYTES);
    for (let sector = first; sector < last; sector += 1) {
      const at = (sector - first) * SECTOR_BYTES;
      const versions = this.#sectors.get(sector) ?? [];
      versions.push({ value: copy.subarray(at, at + SECTOR_BYTES), lost: false });
      this.#sectors.set(sector, versions);
    }
  }

  /** fdatasync: content and size, not mode or owner. */
  datasync(): void {
    for (const [sector, versions] of this.#sectors) {
      const written = versions.findLastIndex(({ lost }) => !lost);
      if (written < 0) continue;
      this.#writeOut(sector, versions[written]!.value);
      if (written === versions.length - 1) this.#sectors.delete(sector);
      else this.#sectors.set(sector, versions.slice(written + 1));
    }
    const sized = this.#sizes.findLastIndex(({ lost }) => !lost);
    if (sized < 0) return;
    this.#durableSize = this.#sizes[sized]!.value;
    this.#sizes = this.#sizes.slice(sized + 1);
  }

  syncMeta(): void {
    this.#durableMeta = this.meta;
    this.#metas = [];
  }

  /** A sync of the content failed: the kernel calls these pages clean now, and no later sync writes them. */
  loseUnsynced(): void {
    for (const versions of this.#sectors.values()) for (const version of versions) version.lost = true;
  }

  #writeOut(sector: number, bytes: Uint8Array): void {
    const at = sector * SECTOR_BYTES;
    this.#durableBytes = withRoom(this.#durableBytes, at + SECTOR_BYTES);
    this.#durableBytes.set(bytes, at);
  }

  /** Power cut: what was not synced is kept, lost, torn or out of order; what is left is all that there is. */
  cut(random: Random, survival: Survival): void {
    if (this.unsynced) {
      this.#cutContent(random, survival);
      const changes = [this.#durableMeta, ...this.#metas];
      this.#durableMeta = changes[chosen(changes.length, random, survival)]!;
    }
    this.#metas = [];
    this.#sizes = [];
    this.#sectors.clear();
    this.meta = this.#durableMeta;
    this.entries = new Map(this.durableEntries);
    this.#size = this.#durableSize;
    this.#durableBytes = withRoom(this.#durableBytes, this.#size);
    // Beyond the end nothing stands, whatever was written there.
    this.#durableBytes.fill(0, this.#size);
    this.#bytes = this.#durableBytes.slice();
  }

  #cutContent(random: Random, survival: Survival): void {
    for (const [sector, versions] of this.#sectors) {
      const at = sector * SECTOR_BYTES;
      this.#durableBytes = withRoom(this.#durableBytes, at + SECTOR_BYTES);
      const old = this.#durableBytes.slice(at, at + SECTOR_BYTES);
      const all = [old, ...versions.map(({ value }) => value)];
      const kept = all[chosen(all.length, random, survival)]!;
      this.#writeOut(sector, kept);
      // A sector that the power cut hit while it got another content may hold neither.
      const changed = all.some((other) => Buffer.compare(old, other) !== 0);
      if (survival === 'some' && changed && random.chance(ROT_CHANCE)) {
        this.#writeOut(
          sector,
          Uint8Array.from({ length: SECTOR_BYTES }, () => random.below(256)),
        );
      }
    }
    const sizes = [this.#durableSize, ...this.#sizes.map(({ value }) => value)];
    this.#durableSize = sizes[chosen(sizes.length, random, survival)]!;
  }
}

const ROT_CHANCE = 0.03;

/** Which of the versions, oldest first, the cut leaves. */
function chosen(count: number, random: Random, survival: Survival): number {
  if (survival === 'all') return count - 1;
  return survival === 'none' ? 0 : random.below(count);
}

function withRoom(bytes: Uint8Array<ArrayBuffer>, size: number): Uint8Array<ArrayBuffer> {
  if (bytes.length >= size) return bytes;
  const grown = new Uint8Array(Math.max(size, bytes.length * 2, SECTOR_BYTES));
  grown.set(bytes);
  return grown;
}
