import { constants } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import type { ExtractArchiveStep } from '../document/plan.ts';
import { CannotDecompress, decompressed, findDecompressor } from '../host/decompressor.ts';
import type { Disk, DiskFile } from '../host/disk.ts';
import { CannotRunError } from '../host/processes.ts';
import { withPlace } from '../host/safe-paths.ts';
import { findUser, type User } from '../host/users.ts';
import { within } from '../host/within.ts';
import { removeTree, syncDirectory } from '../store/atomic-file.ts';
import { ArchiveJudge, type Judged } from './archive-judge.ts';
import { DownloadFailed, fetchAll } from './fetch-file.ts';
import type { Own } from './own-directory.ts';
import { existingParent, renameInto } from './paths.ts';
import { afterOf, filePaths, openStaged, withStaging } from './place-file.ts';
import type { StepContext, StepType } from './step.ts';
import { placeLink } from './switch-link.ts';
import { BadArchive, readTar, type TarEntry } from './tar.ts';

const CHUNK_BYTES = 256 * 1024;
const DIRECTORY_MODE = 0o755;
const PERMISSIONS = 0o777;
/** Small archives of very even files may expand more than the ratio. */
const RATIO_FREE_BYTES = 4 * 1024 * 1024;

/**
 * Fetches an archive, judges every entry of it, and only then extracts it into a directory of ours beside the target,
 * for the step's user; one rename brings it to its place, and one more switches the link. The undo switches back.
 */
export const extractArchive: StepType<ExtractArchiveStep> = {
  ...filePaths,
  async survey(step, context) {
    const survey = await filePaths.survey(step, context);
    const problems = [...survey.problems];
    const never = (reason: string): void => void problems.push({ kind: 'never', path: step.path, reason });
    if (step.compression !== undefined && (await findDecompressor(step.compression)) === undefined)
      never(`${step.compression} is not installed`);
    for (const [path, wanted] of [
      [step.target, 'directory'],
      [step.link, 'link'],
    ] as const) {
      const found = path === undefined ? undefined : await context.disk.lstat(path);
      if (found && found.kind !== wanted) never(`${path} is a ${found.kind}, not a ${wanted}`);
    }
    const room = { path: await existingParent(context.disk, step.target), bytes: step.sizeBytes ?? 0 };
    return { ...survey, problems, diskNeed: [...survey.diskNeed, room] };
  },
  async do(step, before, _attempt, context, signal) {
    try {
      const limitMs = step.timeoutSeconds * 1000;
      await withStaging(step.target, context, async (own) => {
        const tree = await within(limitMs, context.clock, signal, (both) => stage(step, own, context, both));
        await withPlace(context.disk, step.target, async (place) => {
          await renameInto(context.disk, place, await context.disk.lstat(place.path), tree);
        });
        await own.sync();
      });
      if (step.link !== undefined)
        await placeLink(step.index, step.link, relative(dirname(step.link), step.target), context);
      return { result: 'ok', after: await afterOf(before, context) };
    } catch (error) {
      if (signal.aborted) return { result: 'interrupted', reason: (signal.reason as Error).message };
      if (error instanceof DownloadFailed) return { result: 'failed', reason: error.message };
      if (error instanceof CannotRunError) return { result: 'failed', reason: error.message };
      if (error instanceof BadArchive || error instanceof CannotDecompress)
        return { result: 'failed', reason: `the archive is refused: ${error.message}` };
      throw error;
    }
  },
};

/** Fetches, judges and extracts beside the target; the tree is whole and durable when this resolves. */
async function stage(
  step: ExtractArchiveStep,
  own: Own,
  context: StepContext,
  signal: AbortSignal,
): Promise<string> {
  const { disk, settings } = context;
  const tree = join(own.path, `${step.index}-tree`);
  const user = step.runAsUser === undefined ? undefined : await findUser(step.runAsUser);
  if (step.runAsUser !== undefined && !user) throw new BadArchive(`there is no user ${step.runAsUser}`);
  const archive = await openStaged(disk, own, `${step.index}-staged`);
  try {
    await fetchAll(step, archive.file, context, signal, settings.treeBytesMax);
    const read: Reading = { step, file: archive.file, context, signal };
    await eachEntry(read, () => Promise.resolve());
    await removeTree(disk, tree);
    await disk.mkdir(tree, 0o700);
    const extraction = new Extraction(disk, tree, user);
    await eachEntry(read, (entry, judged) => extraction.add(entry, judged));
    await extraction.finish();
  } finally {
    await archive.file.close();
  }
  await removeTree(disk, archive.path);
  return tree;
}

interface Reading {
  step: ExtractArchiveStep;
  file: DiskFile;
  context: StepContext;
  signal: AbortSignal;
}

/** Reads the archive from its beginning to its end, and judges each entry before `use` gets it. */
async function eachEntry(
  { step, file, context, signal }: Reading,
  use: (entry: TarEntry, judged: Judged) => Promise<void>,
): Promise<void> {
  const { treeEntriesMax, treeBytesMax, archiveRatioMax } = context.settings;
  const judge = new ArchiveJudge(step.stripComponents, {
    entriesMax: treeEntriesMax,
    bytesMax: treeBytesMax,
  });
  const { sizeBytes } = await file.stat();
  const packed = chunksOf(file, signal);
  const plain =
    step.compression === undefined ? packed : decompressed(step.compression, packed, step.runAsUser);
  // Headers and padding count too: a bomb may be made of nothing else.
  const ratioBytes = sizeBytes * archiveRatioMax + RATIO_FREE_BYTES;
  const limited = bounded(plain, [
    [ratioBytes, `more than ${archiveRatioMax} times its own size (steps.archiveRatioMax)`],
    [
      treeBytesMax + treeEntriesMax * 4096,
      `more than ${treeBytesMax} bytes with its headers (steps.treeMegabytesMax)`,
    ],
  ]);
  for await (const entry of readTar(limited)) {
    const judged = judge.judge(entry);
    if (judged) await use(entry, judged);
    signal.throwIfAborted();
  }
}

async function* chunksOf(file: DiskFile, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  for (let position = 0; ; ) {
    signal.throwIfAborted();
    const buffer = new Uint8Array(CHUNK_BYTES);
    const count = await file.read(buffer, position);
    if (count === 0) return;
    position += count;
    yield buffer.subarray(0, count);
  }
}

async function* bounded(
  source: AsyncIterable<Uint8Array>,
  limits: readonly (readonly [number, string])[],
): AsyncGenerator<Uint8Array> {
  let sum = 0;
  for await (const chunk of source) {
    sum += chunk.length;
    for (const [bytesMax, words] of limits)
      if (sum > bytesMax) throw new BadArchive(`it unpacks to ${words}`);
    yield chunk;
  }
}

/** Writes judged entries below a new directory of ours, where nobody else can put a link in their way. */
class Extraction {
  readonly #disk: Disk;
  readonly #root: string;
  readonly #owner: Pick<User, 'uid' | 'gid'> | undefined;
  /** Their modes and times come last: what is written into a directory changes it, and may not be allowed any more. */
  readonly #directories = new Map<string, { mode: number; mtimeMs?: number }>();

  constructor(disk: Disk, root: string, owner: Pick<User, 'uid' | 'gid'> | undefined) {
    this.#disk = disk;
    this.#root = root;
    this.#owner = owner;
    this.#directories.set('', { mode: DIRECTORY_MODE });
  }

  async add(entry: TarEntry, { path, kind, target }: Judged): Promise<void> {
    const at = join(this.#root, path);
    await this.#makeDirectory(dirname(path));
    switch (kind) {
      case 'directory':
        await this.#makeDirectory(path);
        this.#directories.set(path, { mode: entry.mode & PERMISSIONS, mtimeMs: entry.mtimeMs });
        return;
      case 'link':
        await this.#disk.symlink(target, at);
        await this.#own(at, entry);
        return;
      case 'hardLink':
        await this.#disk.link(join(this.#root, target), at);
        return;
      case 'file':
        await this.#write(at, entry);
    }
  }

  /** Durable when it resolves. */
  async finish(): Promise<void> {
    const depth = (path: string): number => (path === '' ? 0 : path.split('/').length);
    const deepestFirst = [...this.#directories].sort(([a], [b]) => depth(b) - depth(a));
    for (const [path, { mode, mtimeMs }] of deepestFirst) {
      const at = join(this.#root, path);
      await syncDirectory(this.#disk, at);
      if (this.#owner) await this.#disk.lchown(at, this.#owner.uid, this.#owner.gid);
      await this.#disk.chmod(at, mode);
      if (mtimeMs !== undefined) await this.#disk.lutimes(at, mtimeMs, mtimeMs);
      await syncDirectory(this.#disk, at);
    }
  }

  async #makeDirectory(path: string): Promise<void> {
    if (path === '.' || this.#directories.has(path)) return;
    await this.#makeDirectory(dirname(path));
    await this.#disk.mkdir(join(this.#root, path), 0o700);
    this.#directories.set(path, { mode: DIRECTORY_MODE });
  }

  async #write(at: string, entry: TarEntry): Promise<void> {
    const file = await this.#disk.openFile(
      at,
      constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL,
      0o600,
    );
    try {
      let position = 0;
      for await (const chunk of entry.content()) {
        await file.write(chunk, position);
        position += chunk.length;
      }
      if (this.#owner) await file.chown(this.#owner.uid, this.#owner.gid);
      await file.chmod(entry.mode & PERMISSIONS);
      await this.#disk.lutimes(at, entry.mtimeMs, entry.mtimeMs);
      await file.sync();
    } finally {
      await file.close();
    }
  }

  async #own(at: string, { mtimeMs }: TarEntry): Promise<void> {
    if (this.#owner) await this.#disk.lchown(at, this.#owner.uid, this.#owner.gid);
    await this.#disk.lutimes(at, mtimeMs, mtimeMs);
  }
}
