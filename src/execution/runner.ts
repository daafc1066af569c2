import { type ActorRefFrom, createActor, fromPromise, toPromise } from 'xstate';
import * as cloudEffects from './cloud-effects.ts';
import { createTools, type Effect, type ExecutionDeps } from './effects.ts';
import * as endingEffects from './ending-effects.ts';
import {
  type EffectName,
  type EffectOutput,
  type ExecutionEvent,
  executionMachine,
  type StopReason,
} from './execution-machine.ts';
import type { CommitPolicy, Situation } from './next-move.ts';
import type { Progress } from './progress.ts';
import type { Cause } from './records.ts';
import * as stepEffects from './step-effects.ts';

/** Provides the machine's effects; the only place that appends to the journal of a running execution. */

const {
  asking,
  starting,
  fencing,
  linking,
  proposing,
  withdrawing,
  noting,
  aborting,
  committing,
  reporting,
} = cloudEffects;
const { resuming, probing, holding, preparing, attempting, verifying, undoing, judging, closing } =
  stepEffects;
const { settling, finishing } = endingEffects;

const EFFECTS: Record<EffectName, Effect> = {
  resuming,
  asking,
  probing,
  starting,
  holding,
  preparing,
  fencing,
  attempting,
  verifying,
  linking,
  proposing,
  withdrawing,
  committing,
  noting,
  aborting,
  undoing,
  settling,
  judging,
  finishing,
  reporting,
  closing,
};

export interface RunningExecution {
  send(event: ExecutionEvent): void;
  /** As folded so far. */
  readonly progress: Progress;
  /** The move under way, for status. */
  readonly move: string;
  /**
   * Resolves when the execution is closed, or has drained. Rejects when the journal cannot be written or a bug shows:
   * the process must end then.
   */
  readonly done: Promise<Progress>;
}

/**
 * Runs one execution to its end, from wherever its journal stands: starting and restarting are the same road.
 * `failure` is known beforehand where the journal cannot be gone on with.
 */
export function runExecution(
  progress: Progress,
  policy: CommitPolicy,
  deps: ExecutionDeps,
  life: 'new' | 'resumed',
  failure?: Cause,
): RunningExecution {
  const tools = createTools(deps);
  const fresh = life === 'new';
  let stop: (reason: StopReason) => void = () => undefined;

  const machine = executionMachine.provide({
    actors: {
      effect: fromPromise<EffectOutput, { name: EffectName; situation: Situation }>(async ({ input }) => {
        const effect = EFFECTS[input.name];
        const obeyed = effect.obeys(input.situation);
        const controller = new AbortController();
        stop = (reason) => {
          if (obeyed.includes(reason)) controller.abort(new Error(`stopped: ${reason}`));
        };
        try {
          return await effect.run(input.situation, tools, controller.signal);
        } finally {
          stop = () => undefined;
        }
      }),
    },
    actions: { stopEffect: (_, { reason }) => stop(reason) },
  });

  const actor: ActorRefFrom<typeof machine> = createActor(machine, {
    input: {
      plan: deps.plan,
      policy,
      progress,
      held: 'no',
      draining: false,
      resumed: fresh,
      asked: fresh,
      probed: fresh || progress.bootId === deps.bootId,
      verified: false,
      ...(progress.cancel && { cancel: progress.cancel }),
      ...(failure && { failure }),
    },
  });
  const done = toPromise(actor).then(() => actor.getSnapshot().context.progress);
  actor.start();
  return {
    send: (event) => actor.send(event),
    get progress() {
      return actor.getSnapshot().context.progress;
    },
    get move() {
      return actor.getSnapshot().value;
    },
    done,
  };
}
