import { describe, expect, test } from 'vitest';
import { type AnyEventObject, initialTransition, transition } from 'xstate';
import { type AdjacencyMap, getAdjacencyMap } from 'xstate/graph';
import type { Plan } from '../../src/document/plan.ts';
import { type EffectName, executionMachine } from '../../src/execution/execution-machine.ts';
import { nextMove, pivotPassed, type Situation } from '../../src/execution/next-move.ts';
import { nextStep, type Progress } from '../../src/execution/progress.ts';
import type { ExecutionRecord } from '../../src/execution/records.ts';
import { ENDS, outputsOf, planOf, received, situationOf, step } from './story.ts';

/**
 * Every reachable snapshot of the execution machine, within bounds: three steps, two tries, one pivot, one restart of
 * the device, every answer that an effect may give, every event at every moment. Nothing runs: the machine is asked what it would do.
 */

interface Explored {
  value: string;
  context: Situation;
  next: { event: AnyEventObject; key: string }[];
}

const NO_RESOURCES = { inline: { resources: [] } };
const FINAL = ['closed', 'drained'];

/** More than this is a mistake in the bounds, not a bigger machine. */
const SNAPSHOTS_MAX = 150_000;

/** What the next move and the tests below depend on; two snapshots that agree on it lead to the same ones. */
function keyOf({ value, context }: { value: unknown; context: Situation }): string {
  const { plan, progress, ended, cancel, failure, draining, resumed, asked, probed, verified } = context;
  const steps = progress.steps.map(({ phase, attempts, undoFailures, fenced }, index) => [
    phase,
    ['done', 'undone', 'notUndone'].includes(phase) ? attempts > 0 : attempts,
    ['undoing', 'interrupted', 'ready'].includes(phase) && undoFailures,
    plan.steps[index]?.pivot && fenced,
  ]);
  const { phase, direction, cause, verdict, commit } = progress;
  const status = phase === 'proposed' ? ended?.status : ended !== undefined;
  const known = [
    status,
    cancel !== undefined,
    failure !== undefined,
    cause !== undefined,
    verdict?.outcome,
    commit,
    progress.cancel !== undefined,
    progress.rollbackReboot?.attempts,
    progress.steps.map(({ finishing }) => finishing?.attempts),
  ];
  return JSON.stringify([value, phase, direction, steps, known, draining, resumed, asked, probed, verified]);
}

function explore(
  plan: Plan,
  events: readonly AnyEventObject[],
  input = situationOf(plan, [received(plan)], 'new'),
): Map<string, Explored> {
  const map = getAdjacencyMap(executionMachine, {
    input,
    limit: SNAPSHOTS_MAX,
    serializeState: keyOf,
    events: (snapshot: { value: unknown; context: Situation }) => {
      const value = String(snapshot.value);
      if (FINAL.includes(value)) return [];
      const outputs = outputsOf(value as EffectName, snapshot.context);
      return [
        ...outputs.map((output) => ({ type: `xstate.done.actor.${value}`, output, actorId: value })),
        ...events,
      ] as never[];
    },
  }) as unknown as AdjacencyMap<never, never>;
  return new Map(
    Object.entries(map).map(([key, { state, transitions }]) => {
      const { value, context } = state as unknown as { value: unknown; context: Situation };
      const next = (Object.values(transitions) as { event: unknown; state: unknown }[]).map(
        ({ event, state: to }) => ({
          event: event as AnyEventObject,
          key: keyOf(to as { value: unknown; context: Situation }),
        }),
      );
      return [key, { value: String(value), context, next }];
    }),
  );
}

const FORWARD = [
  'starting',
  'preparing',
  'fencing',
  'attempting',
  'verifying',
  'linking',
  'proposing',
  'withdrawing',
];
const CANCEL = { type: 'CANCEL', cause: { by: 'local', reason: 'person' } };
const DRAIN = { type: 'DRAIN' };
const EVENTS = [...ENDS.slice(0, 3).map((ended) => ({ type: 'ENDED', ended })), CANCEL];

const PLANS: Record<string, Plan> = {
  'three steps with an undo': planOf(step(0), step(1), step(2)),
  'a pivot in the middle': planOf(
    step(0),
    step(1, { pivot: true, idempotent: true }),
    step(2, { idempotent: true }),
  ),
  'a step whose failure does not matter': planOf(step(0), step(1, { ignoreFailure: true }), step(2)),
  'a step without an undo': planOf(step(0), step(1, { grade: 'none' })),
  'a shutdown at the end': planOf(step(0), step(1, { finishEndsBoot: true })),
  'a restart of the device in the middle': planOf(step(0), step(1, { endsBoot: true }), step(2)),
};

describe.each(Object.entries(PLANS))('%s', (_, plan) => {
  const graph = explore(plan, EVENTS);
  const all = [...graph.values()];

  test('the search saw enough to mean something', () => {
    expect(graph.size).toBeGreaterThan(500);
    expect(all.some(({ value }) => value === 'closed')).toBe(true);
  });

  test('I2: behind the one-way door nothing goes forward', () => {
    const wrong = all.filter(
      ({ value, context }) => context.progress.direction === 'back' && FORWARD.includes(value),
    );
    expect(wrong.map(({ value }) => value)).toEqual([]);
  });

  test('a busy application holds nothing back but the edge of a step before the pivot', () => {
    const held = all
      .filter(({ value }) => !FINAL.includes(value) && value !== 'deciding')
      .filter(({ context }) => nextMove(context) !== nextMove({ ...context, held: 'yes' }));
    expect(held.length).toBeGreaterThan(0);
    for (const { context } of held) {
      expect(nextMove(context)).toBe('preparing');
      expect(nextMove({ ...context, held: 'yes' })).toBe('holding');
      expect(nextMove({ ...context, held: 'over' })).toBe('preparing');
      expect(pivotPassed(plan, context.progress)).toBe(false);
    }
  });

  test('I2: a commit needs an accepted vote, our own success, doubt after the vote, or a pivot', () => {
    for (const { context } of all) {
      const { commit } = context.progress;
      if (commit === 'pivotPassed') expect(pivotPassed(plan, context.progress)).toBe(true);
      if (commit === undefined) continue;
      expect(context.progress.steps.every(({ phase }) => phase === 'done')).toBe(true);
    }
  });

  test('I2: an end that is known at rest is never answered by a vote', () => {
    const votes = all
      .flatMap(({ next }) => next)
      .filter(({ event }) => event.type.startsWith('xstate.done.'))
      .map(({ key }) => JSON.parse(key) as [string, unknown, unknown, unknown, [unknown]])
      .filter(([value]) => value === 'proposing');
    expect(votes.length).toBeGreaterThan(0);
    for (const [, , , , [ended]] of votes) expect(ended ?? false).toBe(false);
  });

  test('I4: a step is attempted only from ready or interrupted, and with its before-image', () => {
    for (const { value, context } of all) {
      if (value !== 'attempting') continue;
      const at = context.progress.steps[nextStep(context.progress)];
      expect(['ready', 'interrupted']).toContain(at?.phase);
      expect(at?.before).toBeDefined();
    }
  });

  test('A7 A10: a pivot is begun only behind an accepted fence, a restart of the device each time', () => {
    for (const { value, context } of all) {
      const index = nextStep(context.progress);
      const at = context.progress.steps[index];
      const { pivot, endsBoot } = plan.steps[index] ?? {};
      if (value !== 'attempting') continue;
      if (endsBoot || (pivot && at?.attempts === 0)) expect(at?.fenced).toBe(true);
    }
  });

  test('retry only from old: an interrupted step without idempotent is undone before it is tried again', () => {
    for (const { value, context } of all) {
      if (value !== 'attempting') continue;
      const index = nextStep(context.progress);
      if (context.progress.steps[index]?.phase === 'interrupted')
        expect(plan.steps[index]?.idempotent).toBe(true);
    }
  });

  test('every attempt is bounded', () => {
    for (const { context } of all) {
      for (const { attempts, undoFailures } of context.progress.steps) {
        expect(attempts).toBeLessThanOrEqual(2);
        expect(undoFailures).toBeLessThanOrEqual(2);
      }
    }
  });

  test('every snapshot can still reach the end', () => {
    const ends = new Set([...graph].filter(([, { value }]) => value === 'closed').map(([key]) => key));
    const before = new Map<string, string[]>();
    for (const [key, { next }] of graph) {
      for (const to of next) before.set(to.key, [...(before.get(to.key) ?? []), key]);
    }
    const queue = [...ends];
    for (let key = queue.pop(); key !== undefined; key = queue.pop()) {
      for (const from of before.get(key) ?? []) {
        if (ends.has(from)) continue;
        ends.add(from);
        queue.push(from);
      }
    }
    expect(ends.size).toBe(graph.size);
  });
});

test('DRAIN ends at the next rest, wherever it comes, and decides nothing', () => {
  const plan = planOf(step(0), step(1));
  const graph = explore(plan, [DRAIN]);
  const drained = [...graph.values()].filter(({ value }) => value === 'drained');
  expect(drained.length).toBeGreaterThan(10);
  for (const { context } of drained) expect(context.progress.cause?.by).not.toBe('local');
});

test('every rest of a journal can be taken up again after a restart', () => {
  const plan = PLANS['a pivot in the middle']!;
  const seen = new Map<string, Progress>();
  for (const { context } of explore(plan, EVENTS).values()) {
    seen.set(JSON.stringify(context.progress), context.progress);
  }
  for (const progress of seen.values()) {
    const input = { ...situationOf(plan, [received(plan)], 'resumed'), progress };
    const [snapshot] = initialTransition(executionMachine, input);
    expect(snapshot.status === 'active' || progress.phase === 'closed').toBe(true);
    if (snapshot.status !== 'active') continue;
    const [next] = transition(executionMachine, snapshot, {
      type: `xstate.done.actor.${String(snapshot.value)}`,
      output: outputsOf(snapshot.value as EffectName, snapshot.context)[0],
    } as never);
    expect(next.status).not.toBe('error');
  }
});

describe('the agent comes back to a step that restarts the device', () => {
  const plan = PLANS['a restart of the device in the middle']!;
  const begun: ExecutionRecord[] = [
    received(plan),
    { type: 'started', versionNumber: 2 },
    ...doneStep(0),
    { type: 'ready', step: 1, before: NO_RESOURCES },
    { type: 'fenced', step: 1, versionNumber: 3 },
    { type: 'attempt', step: 1, attempt: 1, bootId: 'boot-1' },
  ];
  const ways: [string, ExecutionRecord[]][] = [
    ['killed by the shutdown', begun],
    ['halted on its way down', [...begun, { type: 'interrupted', step: 1, reason: 'stopped: halt' }]],
  ];

  test.each(ways)(
    '%s: it is done in another boot, and tried again behind a new fence in the same one',
    (_, records) => {
      const graph = [...explore(plan, EVENTS, situationOf(plan, records, 'resumed')).values()];
      const after = graph.map(({ context }) => context.progress.steps[1]);
      expect(after.some((at) => at?.phase === 'done' && at.attempts === 1)).toBe(true);
      expect(after.some((at) => at?.attempts === 2)).toBe(true);
      for (const { value, context } of graph) {
        if (value === 'attempting' && nextStep(context.progress) === 1)
          expect(context.progress.steps[1]?.fenced).toBe(true);
      }
      expect(graph.some(({ context }) => context.progress.commit === 'accepted')).toBe(true);
    },
  );
});

function doneStep(index: number): ExecutionRecord[] {
  return [
    { type: 'ready', step: index, before: NO_RESOURCES },
    { type: 'attempt', step: index, attempt: 1, bootId: 'boot-1' },
    { type: 'done', step: index, after: NO_RESOURCES },
  ];
}
