import { assign, fromPromise, setup } from 'xstate';

/**
 * The life of the agent: which execution now, or why none. One at a time by construction (I3): there is one
 * `executing`, and it is left only when its execution is closed or has drained. Events only set flags; `deciding`
 * takes them up at the agent's own pace.
 */
export interface AgentContext {
  linkUp: boolean;
  draining: boolean;
  /** There may be something to do in the cloud. */
  wanted: boolean;
  errand: boolean;
  /** Keys of executions with an open journal, oldest first. */
  open: readonly string[];
  /** Set: the agent starts nothing but a repair, or nothing at all. */
  stranded: Stranded | undefined;
}

export interface Stranded {
  why: 'inconsistent' | 'storageFailed' | 'newerFormat';
  reason: string;
}

export type AgentEvent =
  | { type: 'UP' }
  | { type: 'DOWN' }
  /** A notification, a tick of the heartbeat, or an elapsed wait. */
  | { type: 'LOOK' }
  /** A person asks for something that must not happen beside a job. */
  | { type: 'ERRAND' }
  | { type: 'DRAIN' };

export interface Found {
  /** Key of an execution that was admitted: its journal is durable. */
  admitted?: string;
  /** Look again at once: something was answered, the next may stand behind it. */
  again?: boolean;
}

/** What is left to know after opening the state directory, and after each execution. */
export interface Standing {
  open: readonly string[];
  stranded: Stranded | undefined;
}

const notProvided = (): never => {
  throw new Error('internal error: no effects provided');
};

const base = setup({
  types: {
    context: {} as AgentContext,
    events: {} as AgentEvent,
    input: {} as { linkUp: boolean },
  },
  actors: {
    open: fromPromise<Standing>(notProvided),
    errand: fromPromise<Standing>(notProvided),
    execute: fromPromise<Standing, { key: string }>(notProvided),
    seek: fromPromise<Found, { stranded: Stranded | undefined }>(notProvided),
  },
  guards: {
    draining: ({ context }) => context.draining,
    hasErrand: ({ context }) => context.errand,
    hasOpen: ({ context }) => context.open.length > 0 && mayExecute(context),
    offline: ({ context }) => !context.linkUp,
    wanted: ({ context }) => context.wanted && mayExecute(context),
    stranded: ({ context }) => context.stranded !== undefined,
    // A disk that failed may be well again.
    mayReopen: ({ context }) => context.wanted && context.stranded?.why === 'storageFailed',
  },
});

const up = base.assign({ linkUp: true, wanted: true });
const down = base.assign({ linkUp: false });
const look = base.assign({ wanted: true });
const errand = base.assign({ errand: true });
const drain = base.assign({ draining: true });

const rest = base.createStateConfig({
  on: {
    UP: { target: 'deciding', actions: up },
    DOWN: { target: 'deciding', actions: down },
    LOOK: { target: 'deciding', actions: look },
    ERRAND: { target: 'deciding', actions: errand },
    DRAIN: { target: 'deciding', actions: drain },
  },
});

export const agentMachine = base.createMachine({
  id: 'agent',
  context: ({ input }) => ({
    linkUp: input.linkUp,
    draining: false,
    errand: false,
    wanted: true,
    open: [],
    stranded: undefined,
  }),
  initial: 'opening',
  on: {
    UP: { actions: up },
    DOWN: { actions: down },
    LOOK: { actions: look },
    ERRAND: { actions: errand },
    DRAIN: { actions: drain },
  },
  states: {
    opening: {
      entry: base.assign({ wanted: false }),
      invoke: {
        src: 'open',
        onDone: {
          target: 'deciding',
          actions: assign(({ context, event: { output } }) => ({
            ...output,
            // Not at once again, but with the next event.
            wanted: context.wanted || output.stranded?.why !== 'storageFailed',
          })),
        },
      },
    },
    deciding: {
      always: [
        { guard: 'draining', target: 'stopped' },
        { guard: 'mayReopen', target: 'opening' },
        // Before a job that was just taken in: whoever asks is told of it at once.
        { guard: 'hasErrand', target: 'onErrand' },
        { guard: 'hasOpen', target: 'executing' },
        { guard: 'offline', target: 'offline' },
        { guard: 'wanted', target: 'seeking' },
        { guard: 'stranded', target: 'stranded' },
        { target: 'idle' },
      ],
    },
    onErrand: {
      entry: base.assign({ errand: false }),
      invoke: {
        src: 'errand',
        onDone: { target: 'deciding', actions: assign(({ event }) => ({ ...event.output, wanted: true })) },
      },
    },
    executing: {
      invoke: {
        src: 'execute',
        input: ({ context }) => ({ key: context.open[0] ?? '' }),
        onDone: { target: 'deciding', actions: assign(({ event }) => ({ ...event.output, wanted: true })) },
      },
    },
    seeking: {
      entry: base.assign({ wanted: false }),
      invoke: {
        src: 'seek',
        input: ({ context }) => ({ stranded: context.stranded }),
        onDone: {
          target: 'deciding',
          actions: assign(({ context, event }) => ({
            open:
              event.output.admitted === undefined ? context.open : [...context.open, event.output.admitted],
            wanted: context.wanted || event.output.again === true,
          })),
        },
      },
    },
    offline: rest,
    idle: rest,
    stranded: rest,
    stopped: { type: 'final' },
  },
});

function mayExecute({ stranded }: AgentContext): boolean {
  return stranded === undefined || stranded.why === 'inconsistent';
}
