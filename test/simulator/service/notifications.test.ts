import { describe, expect, test } from 'vitest';
import { groupArn } from '../../../src/simulator/service/arns.ts';
import { type World, world } from './world.ts';

/** Which change is heard on `notify`, and which on `notify-next` (section 1.8). */

const start = ({ service }: World, jobId: string): void =>
  void service.update('t', jobId, { status: 'IN_PROGRESS' });
const succeed = ({ service }: World, jobId: string): void =>
  void service.update('t', jobId, { status: 'SUCCEEDED' });

/** Jobs one, two, three; a second apart, so that their age is plain. */
async function three(deps: Parameters<typeof world>[0] = {}): Promise<World> {
  const w = world(deps);
  for (const jobId of ['one', 'two', 'three']) {
    w.create(jobId);
    await w.clock.advance(1000);
  }
  w.news();
  return w;
}

describe('the matrix', () => {
  test('N6 N7: the first job is heard on both, the second on notify only', () => {
    const w = world();
    w.create('one');
    expect(w.news()).toEqual(['notify QUEUED:one', 'next one QUEUED']);
    w.create('two');
    expect(w.news()).toEqual(['notify QUEUED:one,two']);
  });

  test('N8 N9 N4 N3: the front starts and reports, and nothing is heard', async () => {
    const w = await three();
    start(w, 'one');
    start(w, 'one');
    expect(w.news()).toEqual([]);
  });

  test('N8: the same by start-next', async () => {
    const w = await three();
    w.service.startNext('t', {});
    w.service.startNext('t', {});
    expect(w.news()).toEqual([]);
    expect(w.service.execution('t', 'one')).toMatchObject({ status: 'IN_PROGRESS', versionNumber: 2 });
  });

  test('N10 N5: another one starts while none is in progress: it is the front, and notify is silent', async () => {
    const w = await three();
    start(w, 'two');
    expect(w.news()).toEqual(['next two IN_PROGRESS']);
    expect(w.heard.at(-1)?.body).toMatchObject({
      execution: { versionNumber: 2, jobDocument: { of: 'two' } },
    });
    // Older than every one in progress.
    start(w, 'one');
    expect(w.news()).toEqual(['next one IN_PROGRESS']);
  });

  test('N11 S10: another one starts while an older one is in progress: nothing', async () => {
    const w = await three();
    start(w, 'one');
    start(w, 'two');
    start(w, 'three');
    expect(w.news()).toEqual([]);
  });

  test('N12 N13 N1 N20: the front ends: notify, then the next front, in the end none', async () => {
    const w = await three();
    succeed(w, 'one');
    expect(w.news()).toEqual(['notify QUEUED:two,three', 'next two QUEUED']);
    w.service.update('t', 'two', { status: 'FAILED' });
    w.service.update('t', 'three', { status: 'REJECTED' });
    expect(w.news().slice(2)).toEqual(['notify', 'next none']);
    expect(w.heard.at(-2)?.body).toEqual({ timestamp: expect.any(Number), jobs: {} });
    expect(w.heard.at(-1)?.body).toEqual({ timestamp: expect.any(Number) });
  });

  test('N14: another one ends: notify only', async () => {
    const w = await three();
    w.service.update('t', 'two', { status: 'REJECTED' });
    expect(w.news()).toEqual(['notify QUEUED:one,three']);
  });

  test('N15: a queued one is cancelled: notify-next only where it was the front', async () => {
    const w = await three();
    w.service.cancelExecution('t', 'two', { force: false });
    expect(w.news()).toEqual(['notify QUEUED:one,three']);
    w.service.cancelJob('one', { force: false });
    expect(w.news()).toEqual(['notify QUEUED:three', 'next three QUEUED']);
  });

  test('N16: the front is cancelled by force: the next job, or none', async () => {
    const w = await three();
    start(w, 'one');
    w.service.cancelExecution('t', 'one', { force: true });
    expect(w.news()).toEqual(['notify QUEUED:two,three', 'next two QUEUED']);
  });

  test('N16 N22: one in progress that is not the front is cancelled by force: notify alone', async () => {
    const w = await three();
    start(w, 'one');
    start(w, 'two');
    w.service.cancelExecution('t', 'two', { force: true });
    expect(w.news()).toEqual(['notify IN_PROGRESS:one QUEUED:three']);
  });

  test('N17 S28: CancelJob without force leaves what is in progress, and nothing is heard', async () => {
    const w = await three();
    start(w, 'one');
    w.service.cancelJob('one', { force: false });
    expect(w.news()).toEqual([]);
    expect(w.service.job('one').status).toBe('CANCELED');
    succeed(w, 'one');
    expect(w.service.execution('t', 'one').status).toBe('SUCCEEDED');
    expect(w.service.job('one').status).toBe('CANCELED');
  });

  test('N18: forced deletion of a job or an execution is heard as any end', async () => {
    const w = await three();
    start(w, 'one');
    w.service.deleteJob('one', true);
    expect(w.news()).toEqual(['notify QUEUED:two,three', 'next two QUEUED']);
    w.service.deleteExecution('t', 'three', 1, false);
    expect(w.news()).toEqual(['notify QUEUED:two']);
    start(w, 'two');
    w.service.deleteExecution('t', 'two', 1, true);
    expect(w.news()).toEqual(['notify', 'next none']);
  });

  test('N18b: TIMED_OUT and REMOVED, too', async () => {
    const w = world();
    w.create('one', { timeoutConfig: { inProgressTimeoutInMinutes: 1 } });
    await w.clock.advance(1000);
    w.create('two');
    start(w, 'one');
    w.news();
    await w.advance(1);
    expect(w.news()).toEqual(['notify QUEUED:two', 'next two QUEUED']);
    w.service.removeThing('t');
    expect(w.news()).toEqual(['notify', 'next none']);
    expect(w.service.execution('t', 'two').status).toBe('REMOVED');
  });

  const retried = {
    jobExecutionsRetryConfig: { criteriaList: [{ failureType: 'FAILED' as const, numberOfRetries: 1 }] },
  };

  test('N18c: a retry is heard twice, for the end and for the next attempt', () => {
    const w = world();
    w.create('one', retried);
    w.news();
    w.service.update('t', 'one', { status: 'FAILED' });
    expect(w.news()).toEqual(['notify', 'next none', 'notify QUEUED:one', 'next one QUEUED']);
  });

  test('N18c: with notifyOnRetry "once" both are one change', () => {
    const w = world({ switches: { notifyOnRetry: 'once' } });
    w.create('one', retried);
    w.news();
    w.service.update('t', 'one', { status: 'FAILED' });
    expect(w.news()).toEqual(['notify QUEUED:one', 'next one QUEUED']);
  });

  test('N19: with notifyNextRepeats the front is named again when it reports', async () => {
    const w = await three({ switches: { notifyNextRepeats: true } });
    start(w, 'one');
    w.news();
    w.service.update('t', 'one', { status: 'IN_PROGRESS', statusDetails: { step: '2' } });
    expect(w.news()).toEqual(['next one IN_PROGRESS']);
  });

  test('T9: a job of a namespace is not heard on the plain topics, and is no front', () => {
    const w = world();
    w.create('one', { namespaceId: 'green' });
    expect(w.news()).toEqual([]);
    expect(w.service.pending('t')).toEqual([]);
    expect(w.service.executions({ thing: 't', namespaceId: 'green' }).length).toBe(1);
  });
});

test('N2 P9 P10 L14: at most ten are listed, those in progress first, each by age; fifteen with a schedule', async () => {
  const w = world();
  for (let n = 1; n <= 18; n += 1) {
    w.create(`j${n}`);
    await w.clock.advance(1000);
  }
  start(w, 'j5');
  start(w, 'j3');
  w.service.cancelExecution('t', 'j18', { force: false });
  expect(w.news().at(-1)).toBe('notify IN_PROGRESS:j3,j5 QUEUED:j1,j2,j4,j6,j7,j8,j9,j10');
  expect(w.service.listedPending('t').length).toBe(10);
  w.create('scheduled', { schedulingConfig: { endTime: '2027-01-01T00:00' } });
  expect(w.service.listedPending('t').length).toBe(15);
});

test('P3: stamps are whole seconds', async () => {
  const w = world();
  await w.clock.advance(1234);
  w.create('one');
  w.service.update('t', 'one', { status: 'IN_PROGRESS' });
  w.create('two');
  const [{ IN_PROGRESS: [one] = [] } = {}] = w.heard
    .filter(({ kind }) => kind === 'notify')
    .slice(-1)
    .map(({ body }) => body['jobs'] as Record<string, Record<string, number>[]>);
  for (const name of ['queuedAt', 'startedAt', 'lastUpdatedAt'])
    expect(Number.isInteger(one?.[name])).toBe(true);
  expect(w.service.execution('t', 'one').queuedAt % 1).toBeCloseTo(0.234);
});

test('A5: with consistencyGapMs $next does not see what was queued a moment ago', async () => {
  const w = world({ switches: { consistencyGapMs: 500 } });
  w.create('one');
  expect(w.news()).toContain('next one QUEUED');
  expect(w.service.front('t')).toBeUndefined();
  await w.clock.advance(500);
  expect(w.service.front('t')?.jobId).toBe('one');
});

/** A small generator of numbers, so that a seed tells the whole run. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const SEED = Number(process.env['SEED'] ?? 7);

test.each(Array.from({ length: 40 }, (_, n) => SEED * 1000 + n))(
  'N1-N18: whatever happens, the notifications follow from the sets of pending executions (seed %i)',
  async (seed) => {
    const pick = random(seed);
    const w = world({}, ['t', 'u']);
    w.things.join('g', 't');
    /** What a device knows that has heard everything. */
    const known: Record<string, { set: string; front: string }> = {
      t: { set: '', front: '' },
      u: { set: '', front: '' },
    };
    for (let step = 0; step < 60; step += 1) {
      const jobId = `j${pick(6)}`;
      const thing = pick(2) === 0 ? 't' : 'u';
      const acts: (() => void)[] = [
        () => w.create(jobId, { timeoutConfig: { inProgressTimeoutInMinutes: 1 + pick(3) } }),
        () => w.create(jobId, { targets: [groupArn('g')], targetSelection: 'CONTINUOUS' }),
        () => void w.service.update(thing, jobId, { status: 'IN_PROGRESS' }),
        () => void w.service.startNext(thing, {}),
        () => void w.service.update(thing, jobId, { status: 'FAILED' }),
        () => void w.service.update(thing, jobId, { status: 'SUCCEEDED' }),
        () => w.service.cancelExecution(thing, jobId, { force: pick(2) === 0 }),
        () => void w.service.cancelJob(jobId, { force: pick(2) === 0 }),
        () => w.service.deleteJob(jobId, pick(2) === 0),
        () => {
          w.things.leave('g', 't');
          w.service.thingLeft('g', 't');
        },
        () => {
          w.things.join('g', 't');
          w.service.thingJoined('g', 't');
        },
      ];
      const from = w.heard.length;
      try {
        acts[pick(acts.length)]?.();
      } catch {
        // Refused: then nothing has changed.
      }
      await w.clock.advance(pick(30_000));
      for (const { kind, to, body } of w.heard.slice(from)) {
        const now = known[to];
        if (!now) continue;
        if (kind === 'notify') {
          const lists = Object.values(
            body['jobs'] as Record<string, { jobId: string; executionNumber: number }[]>,
          );
          const set = lists.flat().map((one) => `${one.jobId}#${one.executionNumber}`);
          const text = set.sort().join(' ');
          expect(text, 'notify without a change of the set').not.toBe(now.set);
          now.set = text;
        } else {
          const execution = body['execution'] as { jobId: string; executionNumber: number } | undefined;
          const text = execution ? `${execution.jobId}#${execution.executionNumber}` : '';
          expect(text, 'notify-next without another front').not.toBe(now.front);
          now.front = text;
        }
      }
      for (const name of ['t', 'u']) {
        const pending = w.service.pending(name).map((one) => `${one.jobId}#${one.executionNumber}`);
        expect(known[name]?.front, `step ${step}`).toBe(pending[0] ?? '');
        expect(known[name]?.set, `step ${step}`).toBe([...pending].sort().join(' '));
      }
    }
  },
);
