import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import type { Clock } from './clock.ts';
import { createOutputTail, type OutputTail } from './output-tail.ts';
import type { ProcessResult, ProcessSpec } from './processes.ts';

/** What every adapter of `Processes` does alike: waiting for the end of a program, and draining what it says. */

/** How long the pipes may stay open after the program's end: what it left running may hold them for ever. */
const DRAIN_MS_MAX = 300;

export function neverBegun(): ProcessResult {
  return {
    exitCode: null,
    signal: null,
    ended: 'abort',
    stdoutTail: '',
    stderrTail: '',
    stderrLines: 0,
    survivors: 0,
  };
}

/** Why the program must be ended by us; `null` once it has ended by itself. */
export async function firstEnd(
  { timeoutMs, unbroken }: Pick<ProcessSpec, 'timeoutMs' | 'unbroken'>,
  exited: Promise<unknown>,
  signal: AbortSignal,
  clock: Clock,
): Promise<ProcessResult['ended']> {
  const over = new AbortController();
  const timeout = clock.sleep(timeoutMs, over.signal).then(
    () => 'timeout' as const,
    () => null,
  );
  let abort = (): void => undefined;
  const aborted = new Promise<'abort'>((resolve) => {
    abort = () => resolve('abort');
  });
  if (!unbroken) signal.addEventListener('abort', abort, { once: true });
  if (signal.aborted && !unbroken) abort();
  try {
    return await Promise.race([exited.then(() => null), aborted, timeout]);
  } finally {
    signal.removeEventListener('abort', abort);
    over.abort();
    await timeout;
  }
}

export interface Drain {
  tail: OutputTail;
  closed: Promise<unknown>;
}

/** Reads at the program's own speed and keeps only the tail, so that it is never blocked and we never grow. */
export function drain(stream: Readable, bytesMax: number): Drain {
  const tail = createOutputTail(bytesMax);
  stream.on('data', (chunk: Buffer) => tail.push(chunk));
  return { tail, closed: new Promise((resolve) => stream.once('close', resolve)) };
}

/** The last of what an unbroken program said, of both its outputs. */
export async function tailOf(path: string, { outputBytesMax }: ProcessSpec): Promise<string> {
  const tail = createOutputTail(outputBytesMax);
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) tail.push(chunk);
  return tail.text();
}

/** What survives may go on writing: its pipe stays open and is read to nowhere, and holds nothing of ours up. */
export function letFlow(stream: Readable): void {
  stream.removeAllListeners('data');
  stream.resume();
  (stream as Readable & { unref?: () => void }).unref?.();
}

/** Waits until both have been read to their end, but not for what holds them open for ever. */
export async function drained(drains: readonly Drain[], clock: Clock): Promise<void> {
  await within(DRAIN_MS_MAX, clock, Promise.all(drains.map(({ closed }) => closed)));
}

/** Waits for `settled`, but no longer than `limitMs`. */
async function within(limitMs: number, clock: Clock, settled: Promise<unknown>): Promise<void> {
  const over = new AbortController();
  const limit = clock.sleep(limitMs, over.signal).catch(() => undefined);
  await Promise.race([settled, limit]);
  over.abort();
  await limit;
}
