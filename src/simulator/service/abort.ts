import type { AbortConfig, Status } from './types.ts';

const ENDED: readonly Status[] = ['SUCCEEDED', 'FAILED', 'REJECTED', 'TIMED_OUT'];

/** Whether a criterion for giving up the job is met: enough things have executed it, and too many of them failed. */
export function isAborted(
  config: AbortConfig | undefined,
  counts: Readonly<Record<Status, number>>,
): boolean {
  const sum = (statuses: readonly Status[]): number =>
    statuses.reduce((total, status) => total + counts[status], 0);
  const executed = sum(ENDED);
  return (config?.criteriaList ?? []).some((criterion) => {
    const { failureType, thresholdPercentage, minNumberOfExecutedThings } = criterion;
    const failed = sum(failureType === 'ALL' ? ['FAILED', 'REJECTED', 'TIMED_OUT'] : [failureType]);
    const isEnough = executed >= minNumberOfExecutedThings && executed > 0;
    return isEnough && failed > 0 && (100 * failed) / executed >= thresholdPercentage;
  });
}
