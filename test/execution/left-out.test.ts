import { expect, test } from 'vitest';
import { fold } from '../../src/execution/progress.ts';
import type { ExecutionRecord } from '../../src/execution/records.ts';
import { runExecution } from '../../src/execution/runner.ts';
import { eagerClock } from '../support/eager-clock.ts';
import { POLICY, planOf, received, step } from './story.ts';

/**
 * `ignoreStepFailure` holds for a step that cannot even be begun: it is left out, the job goes on, and when that is
 * undone nothing of the step is called.
 */
test.each(['SUCCEEDED', 'FAILED'])('a step that is left out, in a job that ends %s', async (end) => {
  const plan = planOf(step(0, { ignoreFailure: true }), step(1));
  const called: string[] = [];
  const records: ExecutionRecord[] = [];
  const state = new Map<string, string>();
  const running = runExecution(
    fold([received(plan), { type: 'started', versionNumber: 2 }]),
    POLICY,
    {
      plan,
      journal: {
        append: (added: ExecutionRecord | readonly ExecutionRecord[]) => {
          records.push(...[added].flat());
          return Promise.resolve();
        },
      },
      cloud: {
        progress: () => undefined,
        proveLink: () => Promise.resolve({ kind: 'ours', versionNumber: 3 }),
        propose: async (_: unknown, put: (version: number) => Promise<void>) => {
          await put(3);
          return { kind: 'ours', versionNumber: 4 };
        },
        finish: () => Promise.resolve({ kind: 'ours', versionNumber: 4 }),
        fail: () => Promise.resolve({ kind: 'ours', versionNumber: 4 }),
        report: () => Promise.resolve({ kind: 'ours', versionNumber: 4 }),
      },
      bootId: 'boot-1',
      clock: eagerClock(),
      context: {},
      output: {},
      touchesLink: false,
      linkChanged: () => Promise.resolve(false),
      observe: (ids: readonly string[]) =>
        Promise.resolve(new Map(ids.map((id) => [id, state.get(id) ?? 'old']))),
      stepTypeOf: ({ index, touches }: { index: number; touches: readonly string[] }) => {
        const call = <T>(name: string, value: T): Promise<T> => {
          called.push(`${name} ${index}`);
          return Promise.resolve(value);
        };
        const resources = touches.map((id) => ({ id, fingerprint: 'old', image: null }));
        return {
          prepare: () =>
            index === 0
              ? call('prepare', { ok: false, reason: 'there is no such package' })
              : call('prepare', { ok: true, before: { resources } }),
          do: () => {
            if (end === 'FAILED') return call('do', { result: 'failed', reason: 'exit status 1' });
            for (const id of touches) state.set(id, 'new');
            return call('do', {
              result: 'ok',
              after: { resources: touches.map((id) => ({ id, fingerprint: 'new' })) },
            });
          },
          undo: () => call('undo', { result: 'ok', kept: [] }),
          settle: () => call('settle', { result: 'ok', kept: [] }),
          finish: () => call('finish', { result: 'ok', kept: [] }),
          discard: () => Promise.resolve(),
        };
      },
      attachStep: (_: string, value: unknown) => Promise.resolve({ inline: value }),
      addReceipt: () => Promise.resolve(),
      limits: {
        undoAttemptsMax: 3,
        undoRetryMs: 1,
        undoTimeoutMs: 1000,
        finishAttemptsMax: 3,
        linkWaitMs: 10,
        graceMs: 1,
      },
      log: { info: () => undefined, warn: () => undefined },
    } as never,
    'new',
  );
  const progress = await running.done;
  expect(records).toContainEqual(
    expect.objectContaining({ type: 'done', step: 0, ignored: 'there is no such package' }),
  );
  const back = end === 'FAILED';
  expect(called).toEqual([
    'prepare 0',
    'prepare 1',
    'do 1',
    ...(back ? ['undo 1', 'settle 1'] : ['finish 1']),
  ]);
  expect(back ? progress.verdict?.outcome : progress.commit).toBe(back ? 'rolledBack' : 'accepted');
});
