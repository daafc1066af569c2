import type { Grade, ResourceId } from '../document/plan.ts';
import type { ProcessIdentity } from '../host/processes.ts';
import type { Attachment } from '../store/attachment.ts';
import type { Cause, Commit, ExecutionIdentity, ExecutionRecord, Origin, Verdict } from './records.ts';

/**
 * The one reducer: live state and restarted state are both `fold(journal)`. A record that cannot follow what stands
 * before it is an impossible story, and ends the process (`ImpossibleStory`); it is never repaired by guessing.
 */
export interface Progress {
  identity: ExecutionIdentity;
  origin: Origin;
  planSha256: string;
  agentVersion: string;
  phase: Phase;
  /** `back` behind the one-way door. */
  direction: 'forward' | 'back';
  versionNumber: number;
  /** Of the last process life that wrote here. */
  bootId: string;
  steps: readonly StepProgress[];
  /** Why it turned back; or, past a pivot, what the cloud had said meanwhile. */
  cause?: Cause;
  /** A person wants the vote taken back. */
  cancel?: Cause;
  /** A vote is out that is not known to be stale. */
  voted?: true;
  /** The rollback's own restart of the device: how often it was asked for, and in which boot the last time. */
  rollbackReboot?: BootEnding;
  verdict?: Verdict;
  commit?: Commit;
  finishIncomplete: readonly string[];
  cloudStatus?: string;
  resolved: boolean;
  /** The worst was assumed, and no record of this life says so yet. */
  tailLost?: true;
}

/** Something that ends the boot was asked for. */
export interface BootEnding {
  attempts: number;
  bootId: string;
}

export type Phase =
  | 'received'
  | 'started'
  | 'prepared'
  | 'proposed'
  | 'aborted'
  | 'settled'
  | 'judged'
  | 'committed'
  | 'finished'
  | 'reported'
  | 'closed';

export type StepPhase =
  | 'pending'
  | 'ready'
  | 'attempting'
  | 'interrupted'
  | 'failed'
  | 'done'
  | 'undoing'
  | 'undone'
  | 'notUndone';

export interface StepProgress {
  phase: StepPhase;
  grade: Grade;
  attempts: number;
  undoAttempts: number;
  undoFailures: number;
  /** A fence was accepted for it, and it has not been begun since. */
  fenced: boolean;
  /** Boot in which it was last attempted. */
  bootId?: string;
  before?: Attachment;
  after?: Attachment;
  /** The last process that worked forward; what its undo must end first (I5). */
  process?: ProcessIdentity;
  undoProcess?: ProcessIdentity;
  /** Its deferred work that ends the boot. */
  finishing?: BootEnding;
  /** Why it failed, was interrupted, or could not be undone. */
  reason?: string;
  kept: readonly { id: ResourceId; keptAs: string }[];
}

/** The journal tells a story that the agent cannot have written. */
export class ImpossibleStory extends Error {
  constructor(record: ExecutionRecord, progress: Progress | undefined) {
    super(`internal error: journal record ${record.type} cannot follow phase ${progress?.phase ?? 'none'}`);
    this.name = 'ImpossibleStory';
  }
}

/** Folds all records of a journal; throws `ImpossibleStory`. */
export function fold(records: readonly ExecutionRecord[]): Progress {
  const [first, ...rest] = records;
  if (first?.type !== 'received')
    throw new Error('internal error: a journal begins with its received record');
  return rest.reduce(advance, begin(first));
}

function begin(record: ExecutionRecord & { type: 'received' }): Progress {
  return {
    identity: record.identity,
    origin: record.origin,
    planSha256: record.planSha256,
    agentVersion: record.agentVersion,
    phase: 'received',
    direction: 'forward',
    versionNumber: record.versionNumber,
    bootId: record.bootId,
    steps: record.grades.map((grade) => ({
      phase: 'pending',
      grade,
      attempts: 0,
      undoAttempts: 0,
      undoFailures: 0,
      fenced: false,
      kept: [],
    })),
    finishIncomplete: [],
    resolved: false,
  };
}

const OPEN: readonly Phase[] = ['received', 'started', 'prepared', 'proposed'];
const RUNNING: readonly Phase[] = ['started'];
const UNDOABLE: readonly StepPhase[] = ['attempting', 'interrupted', 'failed', 'done', 'undoing'];

/** The progress after one more record; throws `ImpossibleStory`. */
export function advance(progress: Progress, record: ExecutionRecord): Progress {
  const impossible = (): never => {
    throw new ImpossibleStory(record, progress);
  };
  const from = (...phases: readonly Phase[]): void => {
    if (!phases.includes(progress.phase)) impossible();
  };
  const step = (index: number, phases: readonly StepPhase[], change: Partial<StepProgress>): Progress => {
    const old = progress.steps[index];
    if (!old || !phases.includes(old.phase)) return impossible();
    return { ...progress, steps: progress.steps.with(index, { ...old, ...change }) };
  };

  switch (record.type) {
    case 'received':
      return impossible();
    case 'resumed':
      return { ...withoutDoubt(record.tailLost ? assumeLost(progress) : progress), bootId: record.bootId };
    case 'started':
      from('received');
      return { ...progress, phase: 'started', versionNumber: record.versionNumber };
    case 'ready':
      from(...RUNNING);
      return step(record.step, ['pending'], { phase: 'ready', before: record.before });
    case 'fenced':
      from(...RUNNING);
      return { ...step(record.step, ['ready'], { fenced: true }), versionNumber: record.versionNumber };
    case 'attempt':
      from(...RUNNING);
      return step(record.step, ['ready', 'interrupted'], {
        phase: 'attempting',
        attempts: record.attempt,
        bootId: record.bootId,
        fenced: false,
      });
    case 'process':
      return record.direction === 'do'
        ? step(record.step, ['attempting'], { process: record.identity })
        : step(record.step, ['undoing'], { undoProcess: record.identity });
    case 'done':
      from(...RUNNING);
      // A restart of the device is seen to be done only by the next life, whatever this one wrote on its way down.
      return step(record.step, ['attempting', 'interrupted'], { phase: 'done', after: record.after });
    case 'failed':
    case 'interrupted':
      from(...RUNNING);
      return step(record.step, ['attempting'], { phase: record.type, reason: record.reason });
    case 'undo':
      from('started', 'aborted', ...afterTheEnd(progress));
      return step(record.step, undoableIn(progress), { phase: 'undoing', undoAttempts: record.attempt });
    case 'undone': {
      // On the way forward an undone step is as it was before its first try: ready for the next.
      const undone = step(record.step, ['undoing'], {
        phase: progress.direction === 'back' ? 'undone' : 'ready',
      });
      return keep(undone, record.step, record.kept);
    }
    case 'undoFailed': {
      const failures = (progress.steps[record.step]?.undoFailures ?? 0) + 1;
      return step(record.step, ['undoing'], {
        phase: record.final ? 'notUndone' : 'undoing',
        undoFailures: failures,
        reason: record.reason,
      });
    }
    case 'finishing':
      from('committed');
      return step(record.step, ['done'], {
        finishing: { attempts: record.attempt, bootId: record.bootId },
      });
    case 'prepared':
      from('started');
      return { ...progress, phase: 'prepared', versionNumber: record.versionNumber };
    case 'proposed':
      from('prepared', 'proposed');
      return { ...progress, phase: 'proposed', voted: true, versionNumber: record.expectedVersion };
    case 'withdrawing':
      from('proposed');
      return { ...progress, cancel: record.cause };
    case 'withdrawn': {
      from('proposed');
      const { voted: _, ...unvoted } = progress;
      return { ...unvoted, phase: 'prepared', versionNumber: record.versionNumber };
    }
    default:
      return advanceEnd(progress, record, from);
  }
}

/** A person has the undos of an INCONSISTENT device tried again when the execution is long closed. */
function afterTheEnd({ verdict, resolved }: Progress): Phase[] {
  return verdict?.outcome === 'inconsistent' && !resolved ? ['closed'] : [];
}

function undoableIn({ phase, direction }: Progress): readonly StepPhase[] {
  if (phase === 'closed') return ['notUndone', 'undoing'];
  return direction === 'back' ? UNDOABLE : ['interrupted', 'undoing'];
}

type EndRecord = ExecutionRecord & {
  type:
    | 'aborted'
    | 'noted'
    | 'rebooting'
    | 'settled'
    | 'judged'
    | 'committed'
    | 'finished'
    | 'reported'
    | 'closed'
    | 'resolved';
};

function advanceEnd(progress: Progress, record: EndRecord, from: (...phases: Phase[]) => void): Progress {
  switch (record.type) {
    case 'aborted':
      from(...OPEN);
      return { ...progress, phase: 'aborted', direction: 'back', cause: record.cause };
    case 'noted':
      from('started', 'prepared');
      return { ...progress, cause: record.cause };
    case 'rebooting':
      from('aborted');
      return { ...progress, rollbackReboot: { attempts: record.attempt, bootId: record.bootId } };
    case 'settled':
      from('aborted');
      return { ...progress, phase: 'settled' };
    case 'judged':
      from('settled');
      return { ...progress, phase: 'judged', verdict: record.verdict };
    case 'committed':
      from('started', 'prepared', 'proposed');
      return { ...progress, phase: 'committed', commit: record.how };
    case 'finished':
      from('committed');
      return { ...progress, phase: 'finished', finishIncomplete: record.incomplete };
    case 'reported':
      from('judged', 'finished');
      return { ...progress, phase: 'reported', cloudStatus: record.cloudStatus };
    case 'closed':
      from('reported');
      return { ...progress, phase: 'closed' };
    case 'resolved':
      from('closed');
      return { ...progress, resolved: true };
  }
}

function keep(progress: Progress, index: number, kept: StepProgress['kept']): Progress {
  const old = progress.steps[index];
  if (!old || kept.length === 0) return progress;
  return { ...progress, steps: progress.steps.with(index, { ...old, kept: [...old.kept, ...kept] }) };
}

/**
 * The fold of a journal whose last block was torn or rotten: what was lost may have been any record that can follow,
 * so the worst is assumed of the device and of the vote (design section 6). Everything else repeats safely.
 */
export function assumeLost(progress: Progress): Progress {
  return { ...worstOf(progress), tailLost: true };
}

function withoutDoubt({ tailLost: _, ...progress }: Progress): Progress {
  return progress;
}

function worstOf(progress: Progress): Progress {
  if (progress.phase === 'prepared') return { ...progress, phase: 'proposed', voted: true };
  if (progress.phase !== 'started') return progress;
  const next = progress.steps.findIndex((step) => step.phase !== 'done');
  const lost = progress.steps[next];
  if (lost?.phase !== 'ready' && lost?.phase !== 'interrupted') return progress;
  return {
    ...progress,
    steps: progress.steps.with(next, {
      ...lost,
      phase: 'attempting',
      attempts: lost.attempts + 1,
      bootId: progress.bootId,
      fenced: false,
    }),
  };
}

/** Index of the first step that is not done, or -1. */
export function nextStep(progress: Progress): number {
  return progress.steps.findIndex((step) => step.phase !== 'done');
}

/** Index of the next step to undo, last first, or -1. A step that never began needs no undo. */
export function nextUndo(progress: Progress): number {
  return progress.steps.findLastIndex((step) => UNDOABLE.includes(step.phase));
}
