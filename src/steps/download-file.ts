import { createHash, type Hash } from 'node:crypto';
import type { DownloadFileStep } from '../document/plan.ts';
import type { DiskFile } from '../host/disk.ts';
import { within } from '../host/within.ts';
import type { Own } from './own-directory.ts';
import { existingParent } from './paths.ts';
import { afterOf, filePaths, openStaged, putInPlace, withStaging } from './place-file.ts';
import type { StepContext, StepType } from './step.ts';

const TRIES_MAX = 5;
const RETRY_MS = 1000;
const CHUNK_BYTES = 256 * 1024;

/** Why a download failed; `final` when another try would not help. */
class DownloadFailed extends Error {
  readonly final: boolean;
  constructor(message: string, final: boolean) {
    super(message);
    this.final = final;
  }
}

/** Fetches a file beside its target, resumes by Range, checks size and SHA-256, and only then renames. */
export const downloadFile: StepType<DownloadFileStep> = {
  ...filePaths,
  async survey(step, context) {
    const survey = await filePaths.survey(step, context);
    const room = { path: await existingParent(context.disk, step.target), bytes: step.sizeBytes ?? 0 };
    return { ...survey, diskNeed: [...survey.diskNeed, room] };
  },
  async do(step, before, _attempt, context, signal) {
    try {
      const limitMs = step.timeoutSeconds * 1000;
      await withStaging(step.target, context, async (own) => {
        const staged = await within(limitMs, context.clock, signal, (both) =>
          stage(step, own, context, both),
        );
        await putInPlace(context.disk, own, staged, step);
      });
      return { result: 'ok', after: await afterOf(before, context) };
    } catch (error) {
      if (signal.aborted) return { result: 'interrupted', reason: (signal.reason as Error).message };
      if (error instanceof DownloadFailed) return { result: 'failed', reason: error.message };
      throw error;
    }
  },
};

/** Fetches into a file beside the target; its bytes are whole, checked and durable when this resolves. */
async function stage(
  step: DownloadFileStep,
  own: Own,
  context: StepContext,
  signal: AbortSignal,
): Promise<string> {
  const staged = await openStaged(context.disk, own, `${step.index}-staged`);
  try {
    await fetchAll(step, staged.file, context, signal);
    await staged.file.sync();
    return staged.path;
  } finally {
    await staged.file.close();
  }
}

async function fetchAll(
  step: DownloadFileStep,
  file: DiskFile,
  context: StepContext,
  signal: AbortSignal,
): Promise<void> {
  for (let tried = 1; ; tried += 1) {
    try {
      const { hash, position } = await hashSoFar(file);
      const sizeBytes = await fetchRest(step, file, hash, position, context, signal);
      await checkWhole(step, hash, sizeBytes, file);
      return;
    } catch (error) {
      if (signal.aborted) throw new DownloadFailed((signal.reason as Error).message, true);
      if (error instanceof DownloadFailed && error.final) throw error;
      if (tried >= TRIES_MAX) throw new DownloadFailed(`cannot download: ${(error as Error).message}`, true);
      await context.clock.sleep(RETRY_MS * tried, signal).catch(() => undefined);
    }
  }
}

/** What an interrupted download has left is gone on with; only its hash has to be made again. */
async function hashSoFar(file: DiskFile): Promise<{ hash: Hash; position: number }> {
  const hash = createHash('sha256');
  const buffer = new Uint8Array(CHUNK_BYTES);
  for (let position = 0; ; ) {
    const count = await file.read(buffer, position);
    if (count === 0) return { hash, position };
    hash.update(buffer.subarray(0, count));
    position += count;
  }
}

async function fetchRest(
  step: DownloadFileStep,
  file: DiskFile,
  hash: Hash,
  from: number,
  context: StepContext,
  signal: AbortSignal,
): Promise<number> {
  const url = await context.freshUrl(step, signal);
  const response = await fetch(url, {
    signal,
    headers: { 'accept-encoding': 'identity', ...(from > 0 && { range: `bytes=${from}-` }) },
  });
  if (!context.settings.allowHttp && !response.url.startsWith('https:')) {
    throw new DownloadFailed('cannot download: redirected to a url that is not https', true);
  }
  if (from > 0 && response.status !== 206) {
    await response.body?.cancel();
    // The server does not resume, or has another file now: from the start.
    await file.truncate(0);
    throw new DownloadFailed(`cannot resume: HTTP status ${response.status}`, false);
  }
  if (!response.ok || !response.body) {
    await response.body?.cancel();
    const temporary = response.status >= 500 || response.status === 429;
    throw new DownloadFailed(`cannot download: HTTP status ${response.status}`, !temporary);
  }
  let position = from;
  const limit = step.sizeBytes ?? Number.POSITIVE_INFINITY;
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    if (position + chunk.length > limit)
      throw new DownloadFailed(`cannot download: longer than ${limit} bytes`, true);
    await file.write(chunk, position);
    hash.update(chunk);
    position += chunk.length;
  }
  return position;
}

async function checkWhole(
  step: DownloadFileStep,
  hash: Hash,
  sizeBytes: number,
  file: DiskFile,
): Promise<void> {
  if (step.sizeBytes !== undefined && sizeBytes !== step.sizeBytes) {
    throw new DownloadFailed(
      `cannot download: ${sizeBytes} bytes came, ${step.sizeBytes} were announced`,
      false,
    );
  }
  const found = hash.digest('hex');
  if (step.sha256 === undefined || found === step.sha256) return;
  await file.truncate(0);
  throw new DownloadFailed(`cannot download: sha256 is ${found}, not ${step.sha256}`, true);
}
