import type { Program } from '../support/memory-processes.ts';
import type { Random } from '../support/random.ts';
import type { JobScenario } from './relocated.ts';

/** How the undo command of a step behaves. */
type Undo = 'works' | 'failsOnce' | 'fails';

export interface HardScenario extends JobScenario {
  /** By step. */
  undos: ReadonlyMap<number, UndoProgram>;
  hasPivot: boolean;
  /** A step whose undo never works: its job cannot be called reversed. */
  hasFailingUndo: boolean;
}

export interface UndoProgram {
  program(): Program;
}

interface Action {
  type: string;
  idempotent?: boolean;
  undo?: readonly string[];
  pivot?: boolean;
}

/** Gives some commands an undo of their own, which may fail, and makes some last step a pivot. */
export function harder(scenario: JobScenario, random: Random): HardScenario {
  const document = structuredClone(scenario.document) as { steps: { action: Action }[] };
  const undos = new Map<number, UndoProgram>();
  const said: string[] = [];
  let hasFailingUndo = false;
  for (const [index, { action }] of document.steps.entries()) {
    if (action.type !== 'runCommand' || !random.chance(0.4)) continue;
    const how = random.pick<Undo>(['works', 'failsOnce', 'fails']);
    hasFailingUndo ||= how === 'fails';
    action.undo = ['/bin/undo', String(index), scenario.home];
    undos.set(index, undoProgram(how));
    said.push(`step ${index}: its undo command ${how}`);
  }
  const last = document.steps.at(-1)?.action;
  const hasPivot = last?.idempotent === true && random.chance(0.5);
  if (hasPivot) {
    last.pivot = true;
    said.push('the last step is a pivot');
  }
  const describe = (): string[] => [...scenario.describe(), ...said];
  return { ...scenario, document, undos, hasPivot, hasFailingUndo, describe };
}

function undoProgram(how: Undo): UndoProgram {
  let tried = 0;
  return {
    program() {
      tried += 1;
      const fails = how === 'fails' || (how === 'failsOnce' && tried === 1);
      return { operations: [() => undefined, () => undefined], exitCode: fails ? 1 : 0 };
    },
  };
}
