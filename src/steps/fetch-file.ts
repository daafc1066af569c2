import { createHash, type Hash } from 'node:crypto';
import type { FetchingStep } from '../document/plan.ts';
import { hostAllowed } from '../document/policy.ts';
import type { DiskFile } from '../host/disk.ts';
import type { StepContext } from './step.ts';

/** Fetches what a step names into a file: resumes by Range, checks size and SHA-256. */

const TRIES_MAX = 5;
const RETRY_MS = 1000;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
const REDIRECTS_MAX = 10;
const CHUNK_BYTES = 256 * 1024;

/** Why a download failed; `final` when another try would not help. */
export class DownloadFailed extends Error {
  readonly final: boolean;
  constructor(message: string, final: boolean) {
    super(message);
    this.final = final;
  }
}

/**
 * The whole of it is in the file, checked, when this resolves. What the file holds already is gone on with. `bytesMax`
 * bounds what nobody announced.
 */
export async function fetchAll(
  step: FetchingStep,
  file: DiskFile,
  context: StepContext,
  signal: AbortSignal,
  bytesMax = Number.POSITIVE_INFINITY,
): Promise<void> {
  for (let tried = 1; ; tried += 1) {
    try {
      const { hash, position } = await hashSoFar(file);
      const sizeBytes = await fetchRest(step, { file, hash, position, bytesMax }, context, signal);
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

interface Rest {
  file: DiskFile;
  hash: Hash;
  /** Of what is there already. */
  position: number;
  bytesMax: number;
}

async function fetchRest(
  step: FetchingStep,
  { file, hash, position: from, bytesMax }: Rest,
  context: StepContext,
  signal: AbortSignal,
): Promise<number> {
  const url = await context.freshUrl(step, signal);
  const headers = { 'accept-encoding': 'identity', ...(from > 0 && { range: `bytes=${from}-` }) };
  const response = await followed(url, headers, context, signal);
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
  const limit = Math.min(step.sizeBytes ?? bytesMax, bytesMax);
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    if (position + chunk.length > limit)
      throw new DownloadFailed(`cannot download: longer than ${limit} bytes`, true);
    await file.write(chunk, position);
    hash.update(chunk);
    position += chunk.length;
  }
  return position;
}

/** Goes where it is redirected to, and judges each place before anything is asked of it. */
async function followed(
  first: string,
  headers: Record<string, string>,
  { settings }: StepContext,
  signal: AbortSignal,
): Promise<Response> {
  let url = first;
  for (let hop = 0; hop <= REDIRECTS_MAX; hop += 1) {
    const from = hop === 0 ? '' : 'redirected to ';
    if (!/^https?:/.test(url) || (!settings.allowHttp && !url.startsWith('https:')))
      throw new DownloadFailed(`cannot download: ${from}a url that is not https`, true);
    if (!hostAllowed(url, settings.allowedHosts ?? []))
      throw new DownloadFailed(
        `cannot download: ${from}${new URL(url).hostname}, which policy.allowedHosts does not allow`,
        true,
      );
    const response = await fetch(url, { signal, headers, redirect: 'manual' });
    const location = REDIRECTS.has(response.status) ? response.headers.get('location') : null;
    if (location === null) return response;
    await response.body?.cancel();
    if (!URL.canParse(location, url))
      throw new DownloadFailed('cannot download: redirected to what is no url', true);
    url = new URL(location, url).href;
  }
  throw new DownloadFailed(`cannot download: redirected more than ${REDIRECTS_MAX} times`, true);
}

async function checkWhole(step: FetchingStep, hash: Hash, sizeBytes: number, file: DiskFile): Promise<void> {
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
