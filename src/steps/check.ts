import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import type { CheckStep } from '../document/plan.ts';
import type { Disk } from '../host/disk.ts';
import { CannotRunError } from '../host/processes.ts';
import { UnsafePath, withPlace } from '../host/safe-paths.ts';
import { within } from '../host/within.ts';
import { commandSpec } from './command.ts';
import { isPresent, readDatabase } from './packages/database.ts';
import type { Attempt, Output, StepContext, StepType } from './step.ts';

const HTTP_TIMEOUT_MS = 10_000;
/** Every try of a command is a journal record, and the journal's room is bounded. */
const COMMAND_TRIES_MAX = 60;
const READ_BYTES = 256 * 1024;

/** Looks until what it looks for holds, or its time is over. Touches nothing, so there is nothing to undo. */
export const check: StepType<CheckStep> = {
  survey: (step) => Promise.resolve({ grade: step.grade, diskNeed: [], problems: [] }),
  prepare: () => Promise.resolve({ ok: true, before: { resources: [] } }),
  async do(step, _before, attempt, context, signal) {
    const { clock } = context;
    const endMs = clock.monotonicMs() + step.timeoutSeconds * 1000;
    const pauseMs = pauseOf(step);
    for (let tried = 1; ; tried += 1) {
      const leftMs = Math.max(1, endMs - clock.monotonicMs());
      const reason = await holds(step, { attempt, tried, leftMs }, context, signal);
      if (reason === undefined) return { result: 'ok', after: { resources: [] }, ...saidBy(step, context) };
      if (!signal.aborted && clock.monotonicMs() + pauseMs >= endMs) return { result: 'failed', reason };
      await clock.sleep(pauseMs, signal).catch(() => undefined);
      if (signal.aborted) return { result: 'interrupted', reason: abortReason(signal) };
    }
  },
  undo: () => Promise.resolve({ result: 'ok', kept: [] }),
  discard: () => Promise.resolve(),
};

function saidBy({ check: what }: CheckStep, { settings }: StepContext): { output?: Output } {
  if (what.kind !== 'says') return {};
  return { output: { stdout: what.text.slice(-settings.outputBytesMax), stderr: '' } };
}

interface Try {
  attempt: Attempt;
  /** From 1. */
  tried: number;
  /** Of the step's time. */
  leftMs: number;
}

function pauseOf({ check: what, intervalSeconds, timeoutSeconds }: CheckStep): number {
  const wantedMs = intervalSeconds * 1000;
  return what.kind === 'command' ? Math.max(wantedMs, (timeoutSeconds * 1000) / COMMAND_TRIES_MAX) : wantedMs;
}

function abortReason(signal: AbortSignal): string {
  return signal.reason instanceof Error ? signal.reason.message : 'stopped';
}

/** `undefined` when it holds, else why it does not. */
async function holds(
  step: CheckStep,
  one: Try,
  context: StepContext,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { check: what } = step;
  switch (what.kind) {
    case 'command':
      return await succeeds(step, what.argv, one, context, signal);
    case 'file':
      return await hasContent(what.target, what.sha256, context.disk, signal);
    case 'http':
      return await answers(what, Math.min(one.leftMs, HTTP_TIMEOUT_MS), context, signal);
    case 'packages':
      return await arePackages(what, context);
    case 'says':
      return undefined;
  }
}

async function succeeds(
  step: CheckStep,
  argv: readonly string[],
  { attempt, tried, leftMs }: Try,
  context: StepContext,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    const spec = await commandSpec(step, { argv, user: step.runAsUser }, 'do', attempt, context, tried);
    const limited = { ...spec, timeoutMs: leftMs };
    const result = await context.processes.run(limited, (identity) => attempt.record(identity), signal);
    if (result.ended === 'timeout') return `the command did not end within ${step.timeoutSeconds} s`;
    if (result.exitCode === 0) return undefined;
    return `the command ended with ${result.signal ?? `exit status ${result.exitCode}`}`;
  } catch (error) {
    if (error instanceof CannotRunError) return error.message;
    throw error;
  }
}

async function hasContent(
  path: string,
  sha256: string,
  disk: Disk,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    const found = await withPlace(disk, path, (place) => contentHash(disk, place.path, signal));
    if (found === undefined) return `there is no file ${path}`;
    return found === sha256 ? undefined : `${path} has another content: sha256 ${found}`;
  } catch (error) {
    if (error instanceof UnsafePath) return error.message;
    return `cannot read ${path}: ${(error as Error).message}`;
  }
}

/** Only of a regular file: opening a FIFO or a device would wait. */
async function contentHash(disk: Disk, path: string, signal: AbortSignal): Promise<string | undefined> {
  const stat = await disk.lstat(path);
  if (!stat) return undefined;
  if (stat.kind !== 'file') throw new Error(`it is a ${stat.kind}`);
  const file = await disk.openFile(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const hash = createHash('sha256');
    const buffer = new Uint8Array(READ_BYTES);
    for (let position = 0; ; ) {
      signal.throwIfAborted();
      const count = await file.read(buffer, position);
      if (count === 0) return hash.digest('hex');
      hash.update(buffer.subarray(0, count));
      position += count;
    }
  } finally {
    await file.close();
  }
}

async function answers(
  { url, status }: { url: string; status: number },
  limitMs: number,
  { clock }: StepContext,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    const found = await within(limitMs, clock, signal, async (both) => {
      const response = await fetch(url, { signal: both, redirect: 'manual' });
      await response.body?.cancel();
      return response.status;
    });
    return found === status ? undefined : `${url} answers ${found}, not ${status}`;
  } catch (error) {
    const { message, cause } = error as Error;
    return `${url} does not answer: ${cause instanceof Error ? cause.message : message}`;
  }
}

/** What is only left as configuration is not installed: its purge waits for the commit of the job that removed it. */
async function arePackages(
  { packages, installed }: { packages: readonly string[]; installed: boolean },
  context: StepContext,
): Promise<string | undefined> {
  try {
    const there = [...(await readDatabase(context)).values()].filter((state) =>
      installed ? state.status === 'installed' : isPresent(state),
    );
    const wrong = packages.find((word) => {
      const [name, architecture] = word.split(':');
      const found = there.some(
        (one) =>
          one.name === name &&
          (architecture === undefined || ['all', architecture].includes(one.architecture)),
      );
      return found !== installed;
    });
    if (wrong === undefined) return undefined;
    return installed ? `${wrong} is not installed` : `${wrong} is installed`;
  } catch (error) {
    return (error as Error).message;
  }
}
