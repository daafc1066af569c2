import { expect, test } from 'vitest';
import { readDocument } from '../../src/document/document.ts';
import type { PlanStep, ResourceId } from '../../src/document/plan.ts';
import { stepTypeOf } from '../../src/steps/registry.ts';
import type { StepContext } from '../../src/steps/step.ts';
import { memorySystemd, noSystemd } from '../support/memory-systemd.ts';

/** What is put back under the service manager it reads anew, once, behind all undos. */

const UNIT = '/etc/systemd/system/app.service';

function stepsOf(...actions: object[]): readonly PlanStep[] {
  const steps = actions.map((action) => ({ action }));
  const read = readDocument({ version: '1.0', steps }, {});
  if (!read.ok) throw new Error(JSON.stringify(read.problems));
  return read.plan.steps;
}

async function settled(steps: readonly PlanStep[], systemd: StepContext['systemd']): Promise<string[]> {
  const done = new Set<ResourceId>();
  const results: string[] = [];
  for (const step of steps) {
    const outcome = await stepTypeOf(step).settle?.(
      step,
      { resources: [] },
      { systemd } as StepContext,
      done,
    );
    results.push(outcome?.result ?? 'nothing');
  }
  return results;
}

test.each<[string, object]>([
  ['writeFile', { type: 'writeFile', input: { path: UNIT, content: '' } }],
  ['removeFile of what holds them', { type: 'removeFile', input: { path: '/etc/systemd' } }],
  ['switchLink', { type: 'switchLink', input: { link: '/usr/lib/systemd/system/a.service', target: 'b' } }],
  ['runCommand', { type: 'runCommand', input: { command: 'true' }, snapshotPaths: [UNIT] }],
  ['runHandler', { type: 'runHandler', input: { handler: 'own.sh' }, snapshotPaths: [UNIT] }],
])('%s', async (_, action) => {
  const systemd = memorySystemd({});
  expect(await settled(stepsOf(action, action), systemd)).toEqual(['ok', 'ok']);
  expect(systemd.asked).toEqual(['reload']);
});

test('nothing else makes it read, and where there is none nothing fails', async () => {
  const systemd = memorySystemd({});
  const other = { type: 'writeFile', input: { path: '/etc/systemd/journald.conf', content: '' } };
  expect(await settled(stepsOf(other), systemd)).toEqual(['ok']);
  expect(systemd.asked).toEqual([]);
  const unit = { type: 'writeFile', input: { path: UNIT, content: '' } };
  expect(await settled(stepsOf(unit), noSystemd)).toEqual(['ok']);
});
