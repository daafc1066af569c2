import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { userSwitch } from './process-shim.ts';
import { findUser } from './users.ts';

/**
 * Debian's own decompressors as filters: they read a pipe and write a pipe, open no file, and end when the agent does,
 * for both pipes close then. So they need no record in a journal, and can run with the rights of the step's user.
 */

export type Compression = 'gzip' | 'xz' | 'zstd';

/** What a decompressor said against its input; also that it could not be started. */
export class CannotDecompress extends Error {}

const DIRECTORIES = ['/usr/local/bin', '/usr/bin', '/bin'];
const MEMORY_MEGABYTES_MAX = 128;
const STDERR_CHARS_MAX = 300;

/** A dictionary of the sender's choice may want gigabytes. */
const ARGUMENTS: Record<Compression, readonly string[]> = {
  gzip: ['-dc'],
  xz: ['-dc', `--memlimit-decompress=${MEMORY_MEGABYTES_MAX}MiB`],
  zstd: ['-dcq', `--memory=${MEMORY_MEGABYTES_MAX}MB`],
};

/** Absolute path of the program; `undefined` where it is not installed. */
export async function findDecompressor(compression: Compression): Promise<string | undefined> {
  for (const directory of DIRECTORIES) {
    const path = `${directory}/${compression}`;
    const executable = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (executable) return path;
  }
  return undefined;
}

/**
 * The decompressed bytes of `source`. Throws `CannotDecompress` at their end when the input was bad. Whoever stops
 * reading ends the process, which is gone when the iteration has returned.
 */
export async function* decompressed(
  compression: Compression,
  source: AsyncIterable<Uint8Array>,
  user: string | undefined,
): AsyncGenerator<Uint8Array> {
  const program = await findDecompressor(compression);
  if (program === undefined) throw new CannotDecompress(`${compression} is not installed`);
  const asUser = await userSwitch(compression, user === undefined ? {} : { user }, findUser);
  const [file = program, ...args] = [...asUser, program, ...ARGUMENTS[compression]];
  const child = spawn(file, args, { cwd: '/', env: { LANG: 'C.UTF-8' }, stdio: ['pipe', 'pipe', 'pipe'] });
  const exited = once(child, 'exit') as Promise<[number | null, string | null]>;
  exited.catch(() => undefined);
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-STDERR_CHARS_MAX);
  });
  const fed = pipeline(Readable.from(source, { objectMode: false }), child.stdin).catch((error: unknown) => {
    // It has read enough, or has ended: what it says itself is what counts.
    if (!['EPIPE', 'ERR_STREAM_PREMATURE_CLOSE'].includes((error as NodeJS.ErrnoException).code ?? ''))
      throw error;
  });
  fed.catch(() => undefined);
  try {
    for await (const chunk of child.stdout as AsyncIterable<Uint8Array>) yield chunk;
    const [code, signal] = await exited;
    if (code !== 0) {
      throw new CannotDecompress(
        `${compression} ended with ${signal ?? `exit status ${code}`}: ${said.trim()}`,
      );
    }
    await fed;
  } finally {
    child.kill('SIGKILL');
    await exited.catch(() => undefined);
    child.stdin.destroy();
    await fed.catch(() => undefined);
  }
}
