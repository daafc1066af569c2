import { constants } from 'node:fs';
import { join } from 'node:path';
import type { Disk } from '../host/disk.ts';
import { readFileBounded } from './atomic-file.ts';

/**
 * What the programs of an execution said: the bounded tails of each run, in `output/`. For people; no decision reads
 * them, so they are not synced, and one that a power cut tore is left out.
 */
export interface OutputName {
  /** From 0. */
  step: number;
  direction: 'do' | 'undo';
  attempt: number;
}

export interface KeptOutput {
  /** Wall clock of the end of the run. */
  at: number;
  stdout: string;
  stderr: string;
}

const OVER = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;
const NAME = /^(\d+)-(do|undo)-(\d+)\.json$/;
const BYTES_MAX = 64 * 1024 * 1024;

export async function writeOutput(
  disk: Disk,
  directory: string,
  { step, direction, attempt }: OutputName,
  output: KeptOutput,
): Promise<void> {
  const file = await disk.openFile(
    join(directory, 'output', `${step}-${direction}-${attempt}.json`),
    OVER,
    0o600,
  );
  try {
    await file.write(Buffer.from(JSON.stringify(output)), 0);
  } finally {
    await file.close();
  }
}

/** All that can be read, in the order in which the runs ended. */
export async function readOutputs(disk: Disk, directory: string): Promise<(OutputName & KeptOutput)[]> {
  const found: (OutputName & KeptOutput)[] = [];
  const place = join(directory, 'output');
  if (!(await disk.lstat(place))) return found;
  for (const name of await disk.readDirectory(place)) {
    const [, step, direction, attempt] = NAME.exec(name) ?? [];
    if (direction !== 'do' && direction !== 'undo') continue;
    const kept = await readOne(disk, join(place, name));
    if (kept) found.push({ step: Number(step), direction, attempt: Number(attempt), ...kept });
  }
  return found.sort((a, b) => a.at - b.at);
}

async function readOne(disk: Disk, path: string): Promise<KeptOutput | undefined> {
  try {
    const bytes = await readFileBounded(disk, path, BYTES_MAX);
    const value = JSON.parse(Buffer.from(bytes ?? []).toString()) as Partial<KeptOutput> | null;
    const { at, stdout, stderr } = value ?? {};
    if (typeof at !== 'number' || typeof stdout !== 'string' || typeof stderr !== 'string') return undefined;
    return { at, stdout, stderr };
  } catch {
    return undefined;
  }
}
