import { createHash } from 'node:crypto';
import { dirname, join } from 'node:path';
import type { Disk } from '../host/disk.ts';
import {
  ensureDirectory,
  LEFTOVER_SUFFIX,
  readFileBounded,
  removeTree,
  syncDirectory,
  writeFileAtomic,
} from './atomic-file.ts';
import { createJournal } from './journal.ts';

const PLAN_BYTES_MAX = 16 * 1024 * 1024;

export interface ExecutionName {
  thing: string;
  jobId: string;
  executionNumber: number;
  queuedAt: number;
}

/** Names an execution on this device: a re-created job or a retry is another one (S15, A21). */
export function executionKey({ thing, jobId, executionNumber, queuedAt }: ExecutionName): string {
  const name = JSON.stringify([thing, jobId, executionNumber, queuedAt]);
  return createHash('sha256').update(name).digest('hex').slice(0, 32);
}

export function executionsDirectory(state: string): string {
  return join(state, 'executions');
}

/** Keys of all executions that have a directory, sorted. */
export async function listExecutions(disk: Disk, state: string): Promise<string[]> {
  if (!(await disk.lstat(executionsDirectory(state)))) return [];
  const names = await disk.readDirectory(executionsDirectory(state));
  return names.filter((name) => /^[0-9a-f]{32}$/.test(name));
}

/** Removes directories that were never finished: nothing had been promised yet. */
export async function cleanLeftovers(disk: Disk, state: string): Promise<void> {
  await ensureDirectory(disk, executionsDirectory(state));
  for (const name of await disk.readDirectory(executionsDirectory(state))) {
    if (name.endsWith(LEFTOVER_SUFFIX)) await removeTree(disk, join(executionsDirectory(state), name));
  }
}

/** Forgets an execution: its directory goes at once, whatever comes between the removal of what is in it. */
export async function removeExecution(disk: Disk, directory: string): Promise<void> {
  await disk.rename(directory, `${directory}${LEFTOVER_SUFFIX}`);
  await syncDirectory(disk, dirname(directory));
  await removeTree(disk, `${directory}${LEFTOVER_SUFFIX}`);
}

/** The stored plan, or `undefined` when it is missing or not the one with this hash. */
export async function readPlan(disk: Disk, directory: string, sha256: string): Promise<unknown> {
  const bytes = await readFileBounded(disk, join(directory, 'plan.json'), PLAN_BYTES_MAX);
  if (!bytes || createHash('sha256').update(bytes).digest('hex') !== sha256) return undefined;
  return JSON.parse(Buffer.from(bytes).toString()) as unknown;
}

export interface NewExecution {
  /** Any JSON; hashed as it is written. */
  plan: unknown;
  /** Room of the journal, for the whole plan, forward and back. */
  capacityBlocks: number;
  /** The first record, which names the plan by its hash. */
  head(planSha256: string): object;
}

/** Makes the directory of an execution, with plan and first record, appear at once and durably. */
export async function createExecutionDirectory(
  disk: Disk,
  state: string,
  name: ExecutionName,
  execution: NewExecution,
): Promise<{ directory: string; planSha256: string }> {
  const directory = join(executionsDirectory(state), executionKey(name));
  const staged = `${directory}${LEFTOVER_SUFFIX}`;
  await ensureDirectory(disk, executionsDirectory(state));
  await removeTree(disk, staged);
  await disk.mkdir(staged, 0o700);
  for (const inner of ['output', 'kept']) await disk.mkdir(join(staged, inner), 0o700);
  const plan = Buffer.from(JSON.stringify(execution.plan));
  const planSha256 = createHash('sha256').update(plan).digest('hex');
  await writeFileAtomic(disk, join(staged, 'plan.json'), plan);
  await createJournal(disk, join(staged, 'journal'), execution.capacityBlocks, [execution.head(planSha256)]);
  await syncDirectory(disk, staged);
  await disk.rename(staged, directory);
  await syncDirectory(disk, executionsDirectory(state));
  return { directory, planSha256 };
}
