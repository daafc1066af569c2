import { type DoneActorEvent, fromPromise, setup } from 'xstate';
import type { CloudEnd } from './cloud.ts';
import { MOVES, type Move, nextMove, type Situation } from './next-move.ts';
import { advance } from './progress.ts';
import type { Cause, ExecutionRecord } from './records.ts';

/**
 * One job execution. The machine decides and runs nothing: each state but `deciding` is one effect, each effect
 * settles with the records that it made durable, and `deciding` is both the start and the road back after every
 * effect. No event leaves a state: it is kept, the running effect is told, and its end is awaited. A journal that
 * cannot be written has no `onError`: the machine fails, and the process with it.
 */

/** What an effect has established. `records` are durable already. */
export interface EffectOutput {
  records: readonly ExecutionRecord[];
  ended?: CloudEnd;
  failure?: Cause;
  resumed?: true;
  asked?: true;
  probed?: true;
  verified?: true;
  held?: 'over';
}

/** The moves that do something. */
export type EffectName = Exclude<Move, 'closed' | 'drained'>;

export type ExecutionEvent =
  /** Positive evidence from reconcile (design section 5). */
  | { type: 'ENDED'; ended: CloudEnd }
  /** From this device: a person, or a limit. */
  | { type: 'CANCEL'; cause: Cause }
  /** A local application is busy: no step is begun. */
  | { type: 'HOLD' }
  | { type: 'RELEASE' }
  /** SIGTERM: finish what is under way, begin nothing. */
  | { type: 'DRAIN' }
  /** The time for draining is over: interrupt it. */
  | { type: 'HALT' };

/** What a running effect is told; each effect knows which of these it obeys. */
export type StopReason = 'ended' | 'cancel' | 'release' | 'drain' | 'halt';

const EFFECTS = MOVES.filter((move): move is EffectName => move !== 'closed' && move !== 'drained');

const base = setup({
  types: {
    context: {} as Situation,
    input: {} as Situation,
    events: {} as ExecutionEvent,
  },
  actors: {
    effect: fromPromise<EffectOutput, { name: EffectName; situation: Situation }>(() => {
      throw new Error('internal error: no effects provided');
    }),
  },
  actions: {
    stopEffect: (_, _params: { reason: StopReason }) => {
      throw new Error('internal error: no stopEffect provided');
    },
  },
});

const keepEnded = base.assign({
  // The first evidence stands: one terminal status wins (S9).
  ended: ({ context, event }) => context.ended ?? (event.type === 'ENDED' ? event.ended : context.ended),
});
const keepCancel = base.assign({
  cancel: ({ context, event }) => context.cancel ?? (event.type === 'CANCEL' ? event.cause : context.cancel),
});

/** What remains of the situation after an effect. */
export function afterEffect(situation: Situation, output: EffectOutput): Situation {
  const { records, ended, failure, ...established } = output;
  const progress = records.reduce(advance, situation.progress);
  return {
    ...situation,
    ...established,
    progress,
    ...(situation.ended ? {} : ended && { ended }),
    ...(situation.failure ? {} : failure && { failure }),
    // A step that was tried again or undone has to be verified again.
    ...(records.some((record) => record.type === 'attempt') && { verified: false }),
  };
}

function effectState(name: EffectName) {
  return base.createStateConfig({
    invoke: {
      id: name,
      src: 'effect',
      input: ({ context }) => ({ name, situation: context }),
      onDone: {
        target: 'deciding',
        // `createStateConfig` does not know the event of its own invoke.
        actions: base.assign(({ context, event }) =>
          afterEffect(context, (event as unknown as DoneActorEvent<EffectOutput>).output),
        ) as never,
      },
    },
  });
}

export const executionMachine = base.createMachine({
  id: 'execution',
  context: ({ input }) => input,
  initial: 'deciding',
  on: {
    ENDED: { actions: [keepEnded, { type: 'stopEffect', params: { reason: 'ended' } }] },
    CANCEL: { actions: [keepCancel, { type: 'stopEffect', params: { reason: 'cancel' } }] },
    HOLD: { actions: base.assign({ held: ({ context }) => (context.held === 'over' ? 'over' : 'yes') }) },
    RELEASE: {
      actions: [base.assign({ held: 'no' }), { type: 'stopEffect', params: { reason: 'release' } }],
    },
    DRAIN: {
      actions: [base.assign({ draining: true }), { type: 'stopEffect', params: { reason: 'drain' } }],
    },
    HALT: { actions: [base.assign({ draining: true }), { type: 'stopEffect', params: { reason: 'halt' } }] },
  },
  states: {
    deciding: {
      always: MOVES.map((move) => ({
        guard: ({ context }: { context: Situation }) => nextMove(context) === move,
        target: move,
      })),
    },
    ...(Object.fromEntries(EFFECTS.map((name) => [name, effectState(name)])) as Record<
      EffectName,
      ReturnType<typeof effectState>
    >),
    closed: { type: 'final' },
    drained: { type: 'final' },
  },
  output: ({ context }) => context,
});
