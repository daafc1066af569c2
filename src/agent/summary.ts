import type { Plan } from '../document/plan.ts';
import { causeText, type DeviceState, deviceState, planGrade } from '../execution/details.ts';
import type { Phase, Progress, StepPhase } from '../execution/progress.ts';
import type { Verdict } from '../execution/records.ts';
import type { Disk } from '../host/disk.ts';
import { readPlan } from '../store/execution-directory.ts';
import type { Book, StoredPlan } from './book.ts';
import type { Current } from './execute.ts';

/** An execution for whoever watches it, under way or closed. */
export interface Summary {
  key: string;
  jobId: string;
  executionNumber: number;
  phase: Phase;
  direction: Progress['direction'];
  grade: string;
  /** What it does at this moment; absent when it is not under way. */
  move?: string;
  steps: readonly { name: string; type: string; phase: StepPhase; attempts: number; reason?: string }[];
  /** It turns back, or will as soon as the cloud lets it: durable. */
  turned: boolean;
  cause?: string;
  /** Once it has ended. */
  outcome?: 'committed' | Verdict['outcome'];
  deviceState?: DeviceState;
  verified?: boolean;
  items?: readonly string[];
  notUndone?: readonly string[];
  cloudStatus?: string;
}

/** `undefined` for a key that is not known (any more). */
export async function summaryOf(
  key: string,
  book: Book,
  current: Current | undefined,
  disk: Disk,
): Promise<Summary | undefined> {
  if (current?.key === key) {
    return { ...summarized(key, current.plan, current.written()), move: current.execution.move };
  }
  const open = book.open.get(key);
  if (open) return summarized(key, open.stored.plan, open.progress);
  const closed = book.closed.get(key);
  if (!closed) return undefined;
  const stored = await readPlan(disk, closed.directory, closed.progress.planSha256);
  return summarized(key, (stored as StoredPlan | undefined)?.plan, closed.progress);
}

function summarized(key: string, plan: Plan | undefined, progress: Progress): Summary {
  const { identity, phase, direction, steps, cause, verdict, commit, cloudStatus } = progress;
  const nameOf = (index: number): string => plan?.steps[index]?.name ?? `step ${index + 1}`;
  return {
    key,
    jobId: identity.jobId,
    executionNumber: identity.executionNumber,
    phase,
    direction,
    grade: planGrade(progress),
    steps: steps.map(({ phase: at, attempts, reason }, index) => ({
      name: nameOf(index),
      type: plan?.steps[index]?.type ?? 'unknown',
      phase: at,
      attempts,
      ...(reason !== undefined && { reason }),
    })),
    turned: direction === 'back' || progress.cancel !== undefined,
    ...(cause && { cause: plan ? causeText(cause, plan) : cause.by }),
    ...((verdict ?? commit) && {
      outcome: verdict?.outcome ?? 'committed',
      deviceState: deviceState(progress),
      verified: verdict?.verified ?? true,
      items: (verdict?.items ?? []).map(({ id }) => id),
      notUndone: (verdict?.notUndone ?? []).map(nameOf),
    }),
    ...(cloudStatus !== undefined && { cloudStatus }),
  };
}
