import type { Plan } from '../document/plan.ts';
import { causeText, deviceState, planGrade } from '../execution/details.ts';
import type { Progress } from '../execution/progress.ts';
import { isLocal } from '../execution/records.ts';
import type { Receipt } from '../receipts/receipt.ts';

export interface ReceiptFacts {
  agentVersion: string;
  bootId: string;
  startedAt?: number;
  endedAt: number;
}

/**
 * The receipt of a closed execution, or `undefined` where the execution itself has carried the outcome to the cloud:
 * an accepted SUCCEEDED, or our own FAILED after a rollback that left nothing behind (I8).
 */
export function closingReceipt(
  plan: Plan,
  progress: Progress,
  cloudStatus: string,
  facts: ReceiptFacts,
): Receipt | undefined {
  const exception = exceptionOf(progress, cloudStatus);
  const ownWord = progress.commit === undefined ? ['FAILED', 'REJECTED'] : ['SUCCEEDED'];
  // Of a local job the cloud knows nothing but what its receipt says, however it ended.
  const endedByCloud = progress.cause?.by === 'cloud' || !ownWord.includes(cloudStatus);
  if (!endedByCloud && exception === undefined) return undefined;
  const { verdict } = progress;
  const nameOf = (index: number): string => plan.steps[index]?.name ?? `step ${index + 1}`;
  const undone = progress.steps.flatMap(({ phase, grade }, index) =>
    phase === 'undone' && grade !== 'none' ? [nameOf(index)] : [],
  );
  return {
    format: 1,
    ...progress.identity,
    cloudStatus,
    outcome: verdict?.outcome ?? 'committed',
    deviceState: deviceState(progress),
    verified: verdict?.verified ?? true,
    ...(exception !== undefined && { exception }),
    grade: planGrade(progress) as NonNullable<Receipt['grade']>,
    cause: progress.cause
      ? { kind: progress.cause.by, reason: causeText(progress.cause, plan) }
      : isLocal(progress.origin)
        ? { kind: 'local', reason: 'run-local' }
        : { kind: 'cloud', reason: `the cloud ended the execution: ${cloudStatus}` },
    undone,
    notUndone: (verdict?.notUndone ?? []).map(nameOf),
    items: (verdict?.items ?? []).map(({ id }) => id),
    kept: progress.steps.flatMap(({ kept }) => kept),
    ...(facts.startedAt !== undefined && {
      startedAt: facts.startedAt,
      durationMs: Math.max(0, facts.endedAt - facts.startedAt),
    }),
    endedAt: facts.endedAt,
    bootId: facts.bootId,
    agentVersion: facts.agentVersion,
  };
}

/** The exceptions of I2: the only ways in which device and cloud may differ, each with its name. */
function exceptionOf(progress: Progress, cloudStatus: string): Receipt['exception'] {
  if (progress.finishIncomplete.length > 0) return 'finishIncomplete';
  switch (progress.commit) {
    case 'pivotPassed':
    case 'endedInDoubt':
    case 'keptAfterVote':
      return progress.commit;
    case 'accepted':
    case 'ownSuccess':
      return undefined;
    case undefined:
      break;
  }
  if (progress.verdict?.outcome === 'inconsistent') return 'inconsistent';
  if (progress.verdict?.outcome === 'notReversed') return 'notReversed';
  if (isDoubtful(progress)) return 'endedInDoubt';
  return cloudStatus === 'SUCCEEDED' ? 'foreignSuccess' : undefined;
}

/** Turned back by policy (`commit.inDoubt: rollBack`), although the cloud may have accepted the vote. */
function isDoubtful({ voted, cause }: Progress): boolean {
  if (!voted || cause === undefined) return false;
  return cause.by === 'foreign' || (cause.by === 'cloud' && ['unknown', 'deleted'].includes(cause.status));
}
