import type { Collection } from '../store/port.ts';

/** One switch: a whole number from `min` to `max`, or one of `values`. */
export type SwitchDefinition = { default: unknown } & (
  | { min: number; max: number }
  | { values: readonly unknown[] }
);

/** The simulator's switches by name, wherever each is read. */
export interface SwitchBoard {
  values(): Record<string, unknown>;
  defaults(): Record<string, unknown>;
  /** Sets some, all or none; throws for an unknown name or value, and names it. */
  set(changes: Readonly<Record<string, unknown>>): void;
}

/** `current` is read at each use by its owner, and changed in place here. */
export interface SwitchGroup {
  current: object;
  definitions: Readonly<Record<string, SwitchDefinition>>;
}

export function createSwitchBoard(groups: readonly SwitchGroup[]): SwitchBoard {
  const groupOf = (name: string): SwitchGroup | undefined =>
    groups.find(({ definitions }) => Object.hasOwn(definitions, name));
  return {
    values: () => Object.assign({}, ...groups.map(({ current }) => current)) as Record<string, unknown>,
    defaults: () =>
      Object.fromEntries(
        groups.flatMap(({ definitions }) =>
          Object.entries(definitions).map(([name, definition]) => [name, definition.default]),
        ),
      ),
    set(changes) {
      for (const [name, value] of Object.entries(changes)) {
        const definition = groupOf(name)?.definitions[name];
        if (!definition) throw new Error(`no switch "${name}"`);
        const fault = faultOf(definition, value);
        if (fault !== undefined) throw new Error(`${name}: ${fault}`);
      }
      for (const [name, value] of Object.entries(changes))
        Object.assign(groupOf(name)?.current ?? {}, { [name]: value });
    },
  };
}

/**
 * A board that knows again what was set on it: the cloud that devices have met is the same after a restart. What another
 * version has left, and this one would refuse, is dropped.
 */
export function remembered(board: SwitchBoard, store: Collection<unknown>): SwitchBoard {
  for (const [name, value] of [...store.entries()]) {
    try {
      board.set({ [name]: value });
    } catch {
      store.delete(name);
    }
  }
  return {
    ...board,
    set(changes) {
      board.set(changes);
      const defaults = board.defaults();
      for (const [name, value] of Object.entries(changes)) {
        if (value === defaults[name]) store.delete(name);
        else store.set(name, value);
      }
    },
  };
}

/** Switches as a person writes them, such as `messagesPerSecond=100`. */
export function parseSwitches(texts: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(
    texts.map((text) => {
      const [name = '', value] = text.split(/=(.*)/s);
      if (value === undefined) throw new Error(`${text}: must be name=value`);
      return [name, meantBy(value)];
    }),
  );
}

function meantBy(text: string): unknown {
  if (text === 'true' || text === 'false') return text === 'true';
  return /^\d+$/.test(text) ? Number(text) : text;
}

function faultOf(definition: SwitchDefinition, value: unknown): string | undefined {
  if ('values' in definition) {
    const { values } = definition;
    return values.includes(value) ? undefined : `must be one of ${values.join(', ')}`;
  }
  const { min, max } = definition;
  const isIn = typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max;
  return isIn ? undefined : `must be a whole number from ${min} to ${max}`;
}
