import { expect, test } from 'vitest';
import { readDocument } from '../../src/document/document.ts';
import type { PlanStep } from '../../src/document/plan.ts';
import { systemClock } from '../../src/host/clock.ts';
import { nodeDisk } from '../../src/host/node-disk.ts';
import { stepTypeOf } from '../../src/steps/registry.ts';
import type { StepContext } from '../../src/steps/step.ts';
import { memorySystemd, noSystemd } from '../support/memory-systemd.ts';

const ATTEMPT = { number: 1, record: () => Promise.resolve() };
const BEFORE = { resources: [] };

function stepOf(type: string, more: object = {}): PlanStep {
  const read = readDocument({ version: '1.0', steps: [{ action: { type, input: {}, ...more } }] }, {});
  if (!read.ok) throw new Error(JSON.stringify(read.problems));
  return read.plan.steps[0]!;
}

const contextOf = (systemd: StepContext['systemd']): StepContext =>
  ({ disk: { ...nodeDisk, syncAll: () => Promise.resolve() }, clock: systemClock, systemd }) as StepContext;

test('a reboot asks once and is interrupted by the end of the boot', async () => {
  const systemd = memorySystemd({});
  const step = stepOf('reboot');
  const stop = new AbortController();
  const life = stepTypeOf(step).do(step, BEFORE, ATTEMPT, contextOf(systemd), stop.signal);
  await systemClock.sleep(50);
  stop.abort(new Error('stopped: drain'));
  expect(await life).toEqual({ result: 'interrupted', reason: 'stopped: drain' });
  expect(systemd.asked).toEqual(['reboot']);
});

test('a cancel that is there before it asks for nothing', async () => {
  const systemd = memorySystemd({});
  const step = stepOf('reboot');
  const outcome = await stepTypeOf(step).do(
    step,
    BEFORE,
    ATTEMPT,
    contextOf(systemd),
    AbortSignal.abort(new Error('stopped: ended')),
  );
  expect(outcome.result).toBe('interrupted');
  expect(systemd.asked).toEqual([]);
});

test('a device that does not go down, or refuses to, has failed', async () => {
  const step = { ...stepOf('reboot'), timeoutSeconds: 0.05 } as PlanStep;
  const never = new AbortController().signal;
  expect(await stepTypeOf(step).do(step, BEFORE, ATTEMPT, contextOf(memorySystemd({})), never)).toEqual({
    result: 'failed',
    reason: 'the device has not restarted within 0.05 s',
  });
  expect(await stepTypeOf(step).do(step, BEFORE, ATTEMPT, contextOf(noSystemd), never)).toMatchObject({
    result: 'failed',
    reason: 'cannot reboot: no systemd',
  });
  const { problems } = await stepTypeOf(step).survey(step, contextOf(noSystemd));
  expect(problems).toMatchObject([{ kind: 'never', reason: 'systemd does not run here' }]);
});

test('a shutdown does nothing before the commit', async () => {
  const systemd = memorySystemd({});
  const step = stepOf('shutdown');
  const never = new AbortController().signal;
  expect(await stepTypeOf(step).do(step, BEFORE, ATTEMPT, contextOf(systemd), never)).toMatchObject({
    result: 'ok',
  });
  expect(systemd.asked).toEqual([]);
  expect(await stepTypeOf(step).finish?.(step, BEFORE, contextOf(systemd))).toMatchObject({ result: 'ok' });
  expect(systemd.asked).toEqual(['poweroff']);
});
