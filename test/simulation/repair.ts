import type { HardScenario } from './harder.ts';

export const REPAIR_HOME = '/repair';

/** A job that mends an INCONSISTENT device: `accept` are the resources that are right as they are. */
export function repairScenario(number: number, accept: readonly string[]): HardScenario {
  const path = `${REPAIR_HOME}/${number}`;
  const line = `${path} written`;
  return {
    home: REPAIR_HOME,
    document: {
      version: '1.0',
      repair: true,
      accept: accept.map((id) => id.replace(/^path:/, '')),
      steps: [{ action: { name: 'note', type: 'writeFile', input: { path, content: 'mended' } } }],
    },
    programs: new Map(),
    undos: new Map(),
    build: () => undefined,
    list: (files) => (files.lstat(path) ? [line] : []),
    old: [],
    new: [line],
    doomed: false,
    hasPivot: false,
    hasFailingUndo: false,
    describe: () => ['a repair'],
  };
}
