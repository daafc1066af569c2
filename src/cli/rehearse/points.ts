import type { Stop } from './life.ts';
import type { RunOutcome, RunRecord } from './one-run.ts';

/** Which interruptions a job is rehearsed with, from the records of a run that was not interrupted. */
export interface Point {
  kind: 'cancelled' | 'killed' | 'killedOnTheWayBack';
  /** Such as `after step 2: done`. */
  title: string;
  stops: readonly Stop[];
}

export interface PointOptions {
  /** Only in the middle and at the end of each step, instead of at each record. */
  quick: boolean;
}

/** A step that is over sooner has no middle to be met. */
const MIDDLE_MS_MIN = 10;

/** Cancels and kills on the way forward. After the vote is accepted nobody can cancel (S9). */
export function forwardPoints({ records }: RunOutcome, { quick }: PointOptions): Point[] {
  const committed = records.findIndex(({ record }) => record.type === 'committed');
  const at = records.flatMap(({ record }, index) => {
    if (record.type === 'closed' || (quick && record.type !== 'done' && record.type !== 'prepared'))
      return [];
    return [{ title: `after ${titleOf(record)}`, stop: { record: index + 1, afterMs: 0 }, index }];
  });
  const middles = middlesOf(records);
  return [...at, ...middles]
    .sort((a, b) => a.index - b.index)
    .flatMap(({ title, stop, index }) => [
      ...(committed < 0 || index < committed
        ? [{ kind: 'cancelled' as const, title, stops: [{ ...stop, act: 'cancel' as const }] }]
        : []),
      { kind: 'killed' as const, title, stops: [{ ...stop, act: 'kill' as const }] },
    ]);
}

/** Kills while everything is undone; `back` is a run with this one cancel. */
export function backwardPoints(back: RunOutcome, cancel: Stop, { quick }: PointOptions): Point[] {
  const turned = back.records.findIndex(({ record }) => record.type === 'aborted');
  return back.records.flatMap(({ record }, index) => {
    if (turned < 0 || index < turned || record.type === 'closed') return [];
    if (quick && record.type !== 'undo' && record.type !== 'undone') return [];
    const kill: Stop = { record: index + 1, afterMs: 0, act: 'kill' };
    return [
      { kind: 'killedOnTheWayBack' as const, title: `after ${titleOf(record)}`, stops: [cancel, kill] },
    ];
  });
}

/** The cancel that finds most to undo. */
export function latestCancel({ records }: RunOutcome): Stop | undefined {
  const index = records.findLastIndex(({ record }) => record.type === 'prepared' || record.type === 'done');
  return index < 0 ? undefined : { record: index + 1, afterMs: 0, act: 'cancel' };
}

function middlesOf(records: readonly RunRecord[]) {
  return records.flatMap(({ record, atMs }, index) => {
    if (record.type !== 'attempt') return [];
    const done = records.find(({ record: other }) => other.type === 'done' && other.step === record.step);
    const lastedMs = (done?.atMs ?? 0) - atMs;
    if (lastedMs < MIDDLE_MS_MIN) return [];
    const stop = { record: index + 1, afterMs: Math.round(lastedMs / 2) };
    return [{ title: `in the middle of step ${record.step + 1}`, stop, index }];
  });
}

function titleOf(record: RunRecord['record']): string {
  if (!('step' in record)) return record.type;
  return `step ${record.step + 1}: ${record.type}`;
}
