import { expect, test } from 'vitest';
import { getAdjacencyMap } from 'xstate/graph';
import { type AgentContext, agentMachine, type Found, type Standing } from '../../src/agent/agent-machine.ts';

/** Every reachable snapshot of the agent's machine: two journals at most, every event at every moment. */

const INCONSISTENT = { why: 'inconsistent', reason: 'r' } as const;
const STORAGE = { why: 'storageFailed', reason: 'r' } as const;

const standings: Standing[] = [
  { open: [], stranded: undefined },
  { open: ['a'], stranded: undefined },
  { open: ['a', 'b'], stranded: undefined },
  { open: ['a'], stranded: INCONSISTENT },
  { open: ['a'], stranded: STORAGE },
];
const founds: Found[] = [{}, { admitted: 'c' }, { again: true }];

function outputsOf(value: string): unknown[] {
  if (value === 'opening' || value === 'executing' || value === 'onErrand') return standings;
  return value === 'seeking' ? founds : [];
}

const INVOKED: Record<string, string> = {
  opening: '0.agent.opening',
  executing: '0.agent.executing',
  onErrand: '0.agent.onErrand',
  seeking: '0.agent.seeking',
};

interface Snapshot {
  value: string;
  context: AgentContext;
}

const map = getAdjacencyMap(agentMachine, {
  input: { linkUp: false },
  limit: 20_000,
  serializeState: ({ value, context }) => JSON.stringify([value, context]),
  events: ({ value }) =>
    value === 'stopped'
      ? []
      : ([
          ...outputsOf(String(value)).map((output) => ({
            type: `xstate.done.actor.${INVOKED[String(value)]}`,
            output,
            actorId: INVOKED[String(value)],
          })),
          ...['UP', 'DOWN', 'LOOK', 'ERRAND', 'DRAIN'].map((type) => ({ type })),
        ] as never[]),
});
const nodes = Object.values(map).map(({ state, transitions }) => ({
  ...(state as unknown as Snapshot),
  next: (Object.values(transitions) as { event: unknown; state: unknown }[]).map(({ event, state: to }) => ({
    event: event as { type: string },
    to: to as Snapshot,
  })),
}));

test('the search saw every state', () => {
  const seen = new Set(nodes.map(({ value }) => value));
  for (const value of ['opening', 'executing', 'seeking', 'offline', 'idle', 'stranded', 'stopped']) {
    expect(seen).toContain(value);
  }
});

test('I3: nothing is looked for while an execution is open', () => {
  for (const { value, context } of nodes) {
    if (value === 'seeking') expect(context.open).toEqual([]);
  }
});

test('a disk that cannot be believed: nothing is executed and nothing is asked for', () => {
  for (const { value, context } of nodes) {
    if (context.stranded?.why === 'storageFailed') expect(['executing', 'seeking']).not.toContain(value);
  }
});

test('an execution is left only by its own end', () => {
  for (const { value, next } of nodes) {
    if (value !== 'executing') continue;
    for (const { event, to } of next) {
      if (!event.type.startsWith('xstate.done.')) expect(to.value).toBe('executing');
    }
  }
});

test('DRAIN: nothing is begun any more', () => {
  for (const { value, next } of nodes) {
    for (const { event, to } of next) {
      if (!to.context.draining || event.type === 'DRAIN') continue;
      if (to.value === 'executing' || to.value === 'seeking') expect(to.value).toBe(value);
    }
  }
});

test('a notification that comes while something else goes on is not forgotten', () => {
  for (const { value, next } of nodes) {
    if (value !== 'executing' && value !== 'seeking') continue;
    for (const { event, to } of next) {
      if (event.type === 'LOOK') expect(to.context.wanted).toBe(true);
    }
  }
});
