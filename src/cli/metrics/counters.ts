import { join } from 'node:path';
import { z } from 'zod';
import type { Disk } from '../../host/disk.ts';
import { readFileBounded, writeFileAtomic } from '../../store/atomic-file.ts';
import type { StorySummary } from '../story/story.ts';
import { observed } from './exposition.ts';

/**
 * What has been counted on this device: `metrics.json` in the state directory. Beside the counts it names the kept
 * executions that are in them already, so that each is counted once, wherever a crash fell.
 */
const histogram = z.object({ counts: z.array(z.number()), sum: z.number() });
const countersSchema = z.object({
  format: z.literal(1),
  /** By outcome. */
  jobs: z.record(z.string(), z.number()),
  /** By grade and result, as `full rolledBack`. */
  rollbacks: z.record(z.string(), z.number()),
  cancelSeconds: histogram,
  undoSeconds: histogram,
  reconnects: z.number(),
  counted: z.array(z.string()),
});
export type Counters = z.infer<typeof countersSchema>;

export const SECONDS = [0.1, 0.5, 1, 5, 10, 30, 60, 300, 1800];

const FILE = 'metrics.json';
const BYTES_MAX = 4 * 1024 * 1024;

export const NO_COUNTERS: Counters = {
  format: 1,
  jobs: {},
  rollbacks: {},
  cancelSeconds: { counts: [], sum: 0 },
  undoSeconds: { counts: [], sum: 0 },
  reconnects: 0,
  counted: [],
};

/** None where there is no file, or none that can be read: counters of Prometheus may begin anew. */
export async function readCounters(disk: Disk, state: string): Promise<Counters> {
  try {
    const bytes = await readFileBounded(disk, join(state, FILE), BYTES_MAX);
    return bytes ? countersSchema.parse(JSON.parse(Buffer.from(bytes).toString())) : NO_COUNTERS;
  } catch {
    return NO_COUNTERS;
  }
}

export async function writeCounters(disk: Disk, state: string, counters: Counters): Promise<void> {
  await writeFileAtomic(disk, join(state, FILE), Buffer.from(JSON.stringify(counters)));
}

/** With every closed execution that is not in them yet; those that are no longer kept are forgotten by name. */
export function withClosed(counters: Counters, kept: readonly StorySummary[]): Counters {
  const closed = kept.filter(({ state }) => state === 'closed');
  const added = closed.filter(({ key }) => !counters.counted.includes(key)).reduce(withOne, counters);
  return { ...added, counted: closed.map(({ key }) => key) };
}

function withOne(counters: Counters, { outcome, grade, undoMs }: StorySummary): Counters {
  const jobs = { ...counters.jobs, [outcome]: (counters.jobs[outcome] ?? 0) + 1 };
  if (outcome === 'committed') return { ...counters, jobs };
  const result = `${grade} ${outcome}`;
  const undoSeconds =
    undoMs === undefined ? counters.undoSeconds : observed(counters.undoSeconds, SECONDS, undoMs / 1000);
  return {
    ...counters,
    jobs,
    undoSeconds,
    rollbacks: { ...counters.rollbacks, [result]: (counters.rollbacks[result] ?? 0) + 1 },
  };
}
