import type { Plan, PlanStep } from '../../src/document/plan.ts';
import type { CloudEnd } from '../../src/execution/cloud.ts';
import type { EffectName, EffectOutput } from '../../src/execution/execution-machine.ts';
import { abortCause, type CommitPolicy, type Situation } from '../../src/execution/next-move.ts';
import { fold, nextStep, nextUndo } from '../../src/execution/progress.ts';
import type { ExecutionRecord, Verdict } from '../../src/execution/records.ts';

/** Plans, first records and everything that an effect may answer: the alphabet of the machine's tests. */

export const POLICY: CommitPolicy = { inDoubt: 'keep', timedOutAfterVote: 'rollBack', stepAttemptsMax: 2 };

export function step(index: number, change: Partial<PlanStep> = {}): PlanStep {
  return {
    type: 'removeFile',
    target: `/device/${index}`,
    index,
    path: `steps[${index}].action`,
    name: `step-${index}`,
    timeoutSeconds: 60,
    ignoreFailure: false,
    idempotent: false,
    pivot: false,
    touches: [`path:/device/${index}`],
    grade: 'full',
    ...change,
  } as PlanStep;
}

export function planOf(...steps: PlanStep[]): Plan {
  return {
    format: 1,
    dialect: 'aws-1.0',
    steps,
    grade: steps.some(({ grade }) => grade === 'none') ? 'none' : 'full',
    diskNeedBytes: 0,
    repair: false,
    accept: [],
    includeStdOut: false,
  };
}

export function received(plan: Plan): ExecutionRecord {
  return {
    type: 'received',
    format: 1,
    identity: { thing: 't1', jobId: 'job-1', executionNumber: 1, queuedAt: 1 },
    origin: { endpoint: 'e', machineId: 'm' },
    agentVersion: '0.0.0',
    bootId: 'boot-1',
    planSha256: 'p',
    grades: plan.steps.map(({ grade }) => grade),
    versionNumber: 1,
  };
}

export function situationOf(
  plan: Plan,
  records: readonly ExecutionRecord[],
  life: 'new' | 'resumed',
): Situation {
  const fresh = life === 'new';
  return {
    plan,
    policy: POLICY,
    progress: fold(records),
    held: 'no',
    draining: false,
    resumed: fresh,
    asked: fresh,
    probed: fresh,
    verified: false,
  };
}

export const ENDS: readonly CloudEnd[] = (
  ['CANCELED', 'TIMED_OUT', 'SUCCEEDED', 'deleted', 'unknown'] as const
).map((status) => ({ kind: 'ended', status }));

const BEFORE = { inline: { resources: [] } } as never;
const none: EffectOutput = { records: [] };
const wrote = (...records: ExecutionRecord[]): EffectOutput => ({ records });
const evidence = ENDS.map((ended): EffectOutput => ({ records: [], ended }));

/** Every output that an effect may settle with, by its contract. `none` is an effect that was stopped. */
export function outputsOf(name: EffectName, situation: Situation): EffectOutput[] {
  const { progress } = situation;
  const at = nextStep(progress);
  switch (name) {
    case 'resuming': {
      const agentOnly = progress.steps.flatMap(({ phase }, index): ExecutionRecord[] =>
        phase === 'attempting' ? [{ type: 'interrupted', step: index, reason: 'restart' }] : [],
      );
      const device = progress.steps.flatMap(({ phase }, index): ExecutionRecord[] => {
        if (situation.plan.steps[index]?.endsBoot && ['attempting', 'interrupted'].includes(phase))
          return [{ type: 'done', step: index, after: BEFORE }];
        return phase === 'attempting' ? [{ type: 'interrupted', step: index, reason: 'restart' }] : [];
      });
      return [agentOnly, device].map((found) => ({
        records: [{ type: 'resumed', bootId: 'boot-2' }, ...found],
        resumed: true,
      }));
    }
    case 'asking':
      return [
        { records: [], asked: true },
        ...evidence.map((output) => ({ ...output, asked: true as const })),
      ];
    case 'probing':
      return [
        { records: [], probed: true },
        { records: [], probed: true, failure: { by: 'check', reason: 'lost' } },
      ];
    case 'starting':
      return [
        wrote({ type: 'started', versionNumber: 2 }),
        { records: [], failure: { by: 'replaced' } },
        none,
        ...evidence,
      ];
    case 'holding':
      return [none, { records: [], held: 'over' }];
    case 'preparing':
      return [
        wrote({ type: 'ready', step: at, before: BEFORE }),
        ...(situation.plan.steps[at]?.ignoreFailure === true
          ? [
              wrote(
                { type: 'ready', step: at, before: BEFORE },
                { type: 'attempt', step: at, attempt: 1, bootId: 'boot-1' },
                { type: 'done', step: at, after: BEFORE, ignored: 'no image' },
              ),
            ]
          : []),
        { records: [], failure: { by: 'step', step: at, reason: 'no image' } },
      ];
    case 'fencing':
      return [wrote({ type: 'fenced', step: at, versionNumber: 3 }), none, ...evidence];
    case 'attempting': {
      const attempt: ExecutionRecord = {
        type: 'attempt',
        step: at,
        attempt: (progress.steps[at]?.attempts ?? 0) + 1,
        bootId: 'boot-1',
      };
      return [
        wrote(attempt, { type: 'done', step: at, after: BEFORE }),
        wrote(attempt, { type: 'failed', step: at, reason: 'exit status 1' }),
        wrote(attempt, { type: 'interrupted', step: at, reason: 'killed' }),
      ];
    }
    case 'verifying':
      return [
        { records: [], verified: true },
        { records: [], failure: { by: 'check', reason: 'changed' } },
      ];
    case 'linking':
      return [
        wrote({ type: 'prepared', versionNumber: 4 }),
        { records: [], failure: { by: 'check', reason: 'no link' } },
        none,
        ...evidence,
      ];
    case 'proposing': {
      const proposed: ExecutionRecord = { type: 'proposed', expectedVersion: 4 };
      return [
        wrote(proposed, { type: 'committed', how: 'accepted' }),
        wrote(proposed),
        none,
        ...ENDS.map((ended): EffectOutput => ({ records: [proposed], ended })),
      ];
    }
    case 'withdrawing': {
      const cause = abortCause(situation);
      const wish: ExecutionRecord[] = progress.cancel ? [] : [{ type: 'withdrawing', cause }];
      return [
        wrote(...wish, { type: 'withdrawn', versionNumber: 5 }, { type: 'aborted', cause }),
        wrote(...wish),
        ...evidence.map((output) => ({ ...output, records: wish })),
      ];
    }
    case 'committing':
      return [
        wrote({ type: 'committed', how: progress.phase === 'proposed' ? 'ownSuccess' : 'pivotPassed' }),
      ];
    case 'noting':
      return [wrote({ type: 'noted', cause: { by: 'cloud', status: situation.ended?.status ?? 'unknown' } })];
    case 'aborting':
      return [wrote({ type: 'aborted', cause: abortCause(situation) })];
    case 'undoing': {
      const back = progress.direction === 'back' ? nextUndo(progress) : at;
      const { undoAttempts = 0, undoFailures = 0 } = progress.steps[back] ?? {};
      const undo: ExecutionRecord = { type: 'undo', step: back, attempt: undoAttempts + 1 };
      return [
        wrote(undo, { type: 'undone', step: back, kept: [] }),
        wrote(undo, { type: 'undoFailed', step: back, reason: 'EIO', final: undoFailures + 1 >= 2 }),
      ];
    }
    case 'settling': {
      const asked = progress.rollbackReboot?.attempts ?? 0;
      const rebooting: ExecutionRecord = { type: 'rebooting', attempt: asked + 1, bootId: 'boot-1' };
      const restarts = situation.plan.steps.some(({ endsBoot }) => endsBoot) && asked < 2;
      return [wrote({ type: 'settled' }), ...(restarts ? [wrote(rebooting)] : [])];
    }
    case 'judging':
      return (['rolledBack', 'notReversed', 'inconsistent'] as const).map((outcome) =>
        wrote({
          type: 'judged',
          verdict: { outcome, verified: true, items: [], notUndone: [] } satisfies Verdict,
        }),
      );
    case 'finishing': {
      const last = situation.plan.steps.findLastIndex(({ finishEndsBoot }) => finishEndsBoot);
      const asked = progress.steps[last]?.finishing?.attempts ?? 0;
      const ending: ExecutionRecord = { type: 'finishing', step: last, attempt: asked + 1, bootId: 'boot-1' };
      return [
        wrote({ type: 'finished', incomplete: [] }),
        ...(last >= 0 && asked < 2 ? [wrote(ending)] : []),
      ];
    }
    case 'reporting':
      return [wrote({ type: 'reported', cloudStatus: 'FAILED' }), none];
    case 'closing':
      return [wrote({ type: 'closed' })];
  }
}
