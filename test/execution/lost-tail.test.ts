import { expect, test } from 'vitest';
import { advance, assumeLost, fold } from '../../src/execution/progress.ts';
import type { ExecutionRecord } from '../../src/execution/records.ts';
import { planOf, received, step } from './story.ts';

/** Design section 6: the last record may be torn; what the next life assumes of it must stand in the journal too. */

const BEFORE = { inline: { resources: [] } };

const STORY: readonly ExecutionRecord[] = [
  received(planOf(step(0), step(1))),
  { type: 'started', versionNumber: 2 },
  { type: 'ready', step: 0, before: BEFORE },
  { type: 'attempt', step: 0, attempt: 1, bootId: 'boot-1' },
  { type: 'interrupted', step: 0, reason: 'killed' },
  { type: 'undo', step: 0, attempt: 1 },
  { type: 'undone', step: 0, kept: [] },
  { type: 'attempt', step: 0, attempt: 2, bootId: 'boot-1' },
  { type: 'done', step: 0, after: BEFORE },
  { type: 'ready', step: 1, before: BEFORE },
  { type: 'attempt', step: 1, attempt: 1, bootId: 'boot-1' },
  { type: 'done', step: 1, after: BEFORE },
  { type: 'prepared', versionNumber: 3 },
  { type: 'proposed', expectedVersion: 3 },
  { type: 'withdrawn', versionNumber: 4 },
];

test.each(STORY.map(({ type }, index) => [index + 1, type] as const))(
  'behind a journal cut after %i records (%s), the journal tells what the next life assumed',
  (length) => {
    const kept = STORY.slice(0, length);
    const assumed = assumeLost(fold(kept));
    const resumed: ExecutionRecord = { type: 'resumed', bootId: 'boot-2', tailLost: true };
    const interrupted = assumed.steps.flatMap(({ phase }, index): ExecutionRecord[] =>
      phase === 'attempting' ? [{ type: 'interrupted', step: index, reason: 'restart' }] : [],
    );
    const next: ExecutionRecord[] =
      assumed.phase === 'proposed' ? [{ type: 'withdrawn', versionNumber: 9 }] : interrupted;
    const live = [resumed, ...next].reduce(advance, assumed);
    expect(fold([...kept, resumed, ...next])).toEqual(live);
    expect(live).not.toHaveProperty('tailLost');
  },
);
