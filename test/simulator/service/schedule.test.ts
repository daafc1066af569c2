import { describe, expect, test } from 'vitest';
import { parseCron } from '../../../src/simulator/service/cron.ts';
import { momentOf, windowAt } from '../../../src/simulator/service/schedule.ts';
import type { SchedulingConfig } from '../../../src/simulator/service/types.ts';
import { type World, world } from './world.ts';

/** Scheduled jobs and maintenance windows. The clock starts on Thursday, 2026-01-01, at midnight UTC. */

const at = (text: string): number => Date.parse(`${text}Z`);
const iso = (ms: number | undefined): string | undefined =>
  ms === undefined ? undefined : new Date(ms).toISOString().slice(0, 16);
const status = ({ service }: World): string => service.job('one').status;
const executions = ({ service }: World): string[] =>
  service.executions({ jobId: 'one' }).map((one) => one.status);

function scheduled(schedulingConfig: SchedulingConfig, things?: readonly string[]): World {
  const w = world({}, things);
  w.create('one', { schedulingConfig });
  w.news();
  return w;
}

describe('start and end', () => {
  test('S27: SCHEDULED until its start, then rolled out', async () => {
    const w = scheduled({ startTime: '2026-01-01T01:00' });
    expect([status(w), ...executions(w)]).toEqual(['SCHEDULED']);
    expect(w.service.isConcurrent('one')).toBe(false);
    await w.advance(59);
    expect(status(w)).toBe('SCHEDULED');
    await w.advance(1);
    expect([status(w), ...executions(w)]).toEqual(['IN_PROGRESS', 'QUEUED']);
    expect(w.news()).toEqual(['notify QUEUED:one', 'next one QUEUED']);
  });

  test('a scheduled job can be cancelled before it starts, and never starts then', async () => {
    const w = scheduled({ startTime: '2026-01-01T01:00', endTime: '2026-01-01T02:00' });
    w.service.cancelJob('one', { force: false });
    await w.advance(600);
    expect([status(w), ...executions(w)]).toEqual(['CANCELED']);
  });

  const ENDS = [
    ['STOP_ROLLOUT', ['IN_PROGRESS', 'QUEUED'], 'IN_PROGRESS', []],
    ['CANCEL', ['IN_PROGRESS', 'CANCELED'], 'CANCELED', ['notify', 'next none']],
    ['FORCE_CANCEL', ['CANCELED', 'CANCELED'], 'CANCELED', ['notify', 'next none', 'notify', 'next none']],
  ] as const;

  test.each(ENDS)('S5 N16: %s at the end time', async (endBehavior, left, job, news) => {
    const w = world({}, ['a', 'b']);
    w.create('one', { schedulingConfig: { endTime: '2026-01-01T01:00', endBehavior } });
    w.service.startNext('a', {});
    w.news();
    await w.advance(59);
    expect(w.news()).toEqual([]);
    await w.advance(1);
    expect(executions(w)).toEqual([...left]);
    expect(status(w)).toBe(job);
    expect(w.news()).toEqual([...news]);
  });

  test('STOP_ROLLOUT: who still waits gets nothing, and the rest may finish', async () => {
    const w = world({}, ['a', 'b', 'c']);
    w.create('one', {
      schedulingConfig: { endTime: '2026-01-01T00:01:30', endBehavior: 'STOP_ROLLOUT' },
      jobExecutionsRolloutConfig: { maximumPerMinute: 1 },
    });
    await w.advance(10);
    expect(executions(w)).toEqual(['QUEUED', 'QUEUED']);
    expect(w.service.isConcurrent('one')).toBe(false);
    for (const { thing } of w.service.executions({ jobId: 'one' }))
      w.service.update(thing, 'one', { status: 'SUCCEEDED' });
    expect(status(w)).toBe('COMPLETED');
  });

  test('S27: CONTINUOUS completes when its end has passed and all executions have ended', async () => {
    const w = world();
    w.create('one', { targetSelection: 'CONTINUOUS', schedulingConfig: { endTime: '2026-01-01T01:00' } });
    w.service.startNext('t', {});
    await w.advance(60);
    expect(status(w)).toBe('IN_PROGRESS');
    w.service.update('t', 'one', { status: 'FAILED' });
    expect(status(w)).toBe('COMPLETED');
  });

  test('times without a zone are UTC', () => {
    expect(momentOf('2026-01-01T01:00')).toBe(at('2026-01-01T01:00'));
    expect(momentOf('2026-01-01 01:00:30')).toBe(at('2026-01-01T01:00:30'));
    expect(momentOf('2026-01-01T01:00+01:00')).toBe(at('2026-01-01T00:00'));
    expect(momentOf('soon')).toBeUndefined();
    expect(momentOf(undefined)).toBeUndefined();
  });
});

describe('maintenance windows', () => {
  const nightly = { maintenanceWindows: [{ startTime: 'cron(0 2 * * ? *)', durationInMinutes: 60 }] };

  test('N18d P9 S27: executions are made and seen within the window only', async () => {
    const w = scheduled(nightly);
    expect([status(w), ...executions(w)]).toEqual(['SCHEDULED']);
    await w.advance(120);
    expect([status(w), ...executions(w)]).toEqual(['IN_PROGRESS', 'QUEUED']);
    expect(w.news()).toEqual(['notify QUEUED:one', 'next one QUEUED']);
    await w.advance(60);
    expect(status(w)).toBe('SCHEDULED');
    expect(w.news()).toEqual(['notify', 'next none']);
    expect(w.service.listedPending('t')).toEqual([]);
    expect(w.service.startNext('t', {})).toBeUndefined();
    await w.advance(23 * 60);
    expect(w.news()).toEqual(['notify QUEUED:one', 'next one QUEUED']);
  });

  test('S27: a start outside of the window is no start yet', async () => {
    const w = scheduled({ ...nightly, startTime: '2026-01-01T01:00' });
    await w.advance(60);
    expect([status(w), ...executions(w)]).toEqual(['SCHEDULED']);
    await w.advance(60);
    expect([status(w), ...executions(w)]).toEqual(['IN_PROGRESS', 'QUEUED']);
  });

  test('N18d: what is in progress when the window closes goes on', async () => {
    const w = scheduled(nightly);
    await w.advance(120);
    w.service.startNext('t', {});
    w.news();
    await w.advance(60);
    expect(w.news()).toEqual([]);
    w.service.update('t', 'one', { status: 'SUCCEEDED' });
    expect(status(w)).toBe('COMPLETED');
  });

  test('N18d: with closedWindowHidesInProgress it goes on unseen, and comes back with the window', async () => {
    const w = world({ switches: { closedWindowHidesInProgress: true } });
    w.create('one', { schedulingConfig: nightly });
    await w.advance(120);
    w.service.startNext('t', {});
    w.news();
    await w.advance(60);
    expect(w.news()).toEqual(['notify', 'next none']);
    expect(w.service.listedPending('t')).toEqual([]);
    expect(w.service.update('t', 'one', { status: 'IN_PROGRESS' }).status).toBe('IN_PROGRESS');
    await w.advance(23 * 60);
    expect(w.news()).toEqual(['notify IN_PROGRESS:one', 'next one IN_PROGRESS']);
    w.service.update('t', 'one', { status: 'SUCCEEDED' });
    expect(w.news()).toEqual(['notify', 'next none']);
  });

  test('windows may overlap; the moment is looked up, not remembered', () => {
    const config: SchedulingConfig = {
      maintenanceWindows: [
        { startTime: 'cron(0 2 * * ? *)', durationInMinutes: 60 },
        { startTime: 'cron(0/30 2 * * ? *)', durationInMinutes: 45 },
      ],
    };
    const look = (text: string): [boolean, string | undefined] => {
      const { open, changesAtMs } = windowAt(config, at(text));
      return [open, iso(changesAtMs)];
    };
    expect(look('2026-01-01T01:59')).toEqual([false, '2026-01-01T02:00']);
    expect(look('2026-01-01T02:00')[0]).toBe(true);
    expect(look('2026-01-01T03:14')).toEqual([true, '2026-01-01T03:15']);
    expect(look('2026-01-01T03:15')).toEqual([false, '2026-01-02T02:00']);
    expect(windowAt(undefined, 0)).toEqual({ open: true });
  });
});

describe('cron', () => {
  test.each([
    ['cron(0 12 * * ? *)', '2026-01-01T12:00', '2026-01-01T12:00'],
    ['cron(0 12 * * ? *)', '2026-01-01T12:01', '2026-01-02T12:00'],
    ['cron(15,45 8-10/2 * * ? *)', '2026-01-01T08:16', '2026-01-01T08:45'],
    ['cron(15,45 8-10/2 * * ? *)', '2026-01-01T08:46', '2026-01-01T10:15'],
    ['cron(0/15 * * * ? *)', '2026-01-01T23:46', '2026-01-02T00:00'],
    ['cron(0 18 ? * MON-FRI *)', '2026-01-02T18:01', '2026-01-05T18:00'],
    ['cron(0 18 ? * 1 *)', '2026-01-01T00:00', '2026-01-04T18:00'],
    ['cron(0 8 1 * ? *)', '2026-01-01T09:00', '2026-02-01T08:00'],
    ['cron(0 8 L * ? *)', '2026-02-01T09:00', '2026-02-28T08:00'],
    ['cron(0 8 LW * ? *)', '2026-02-01T09:00', '2026-02-27T08:00'],
    ['cron(0 8 1W * ? *)', '2026-02-01T00:00', '2026-02-02T08:00'],
    ['cron(0 8 1W * ? *)', '2026-08-01T00:00', '2026-08-03T08:00'],
    ['cron(0 8 15W * ? *)', '2026-02-01T00:00', '2026-02-16T08:00'],
    ['cron(0 8 31W * ? *)', '2026-05-01T00:00', '2026-05-29T08:00'],
    ['cron(0 8 ? * 6L *)', '2026-01-01T00:00', '2026-01-30T08:00'],
    ['cron(0 8 ? * 3#2 *)', '2026-01-01T00:00', '2026-01-13T08:00'],
    ['cron(0 8 ? * TUE#5 *)', '2026-01-01T00:00', '2026-03-31T08:00'],
    ['cron(0 0 29 FEB ? *)', '2026-01-01T00:00', '2028-02-29T00:00'],
    ['cron(0 0 29 2 ? *)', '2096-03-01T00:00', '2104-02-29T00:00'],
    ['cron(0 0 1 1 ? 2030)', '2026-01-01T00:00', '2030-01-01T00:00'],
    ['cron(0 0 1 1 ? 2025)', '2026-01-01T00:00', undefined],
  ])('%s after %s is %s', (text, from, expected) => {
    expect(iso(parseCron(text).next(at(from)))).toBe(expected);
  });

  test.each([
    '',
    '0 12 * * ? *',
    'cron(0 12 * * *)',
    'cron(0 12 * * * *)',
    'cron(0 12 ? * ? *)',
    'cron(60 12 * * ? *)',
    'cron(0 24 * * ? *)',
    'cron(0 12 0 * ? *)',
    'cron(0 12 * 13 ? *)',
    'cron(0 12 ? * 8 *)',
    'cron(0 12 ? * MON#6 *)',
    'cron(0 12 * FOO ? *)',
    'cron(5-1 12 * * ? *)',
    'cron(0/0 12 * * ? *)',
    'cron(0/5/5 12 * * ? *)',
    'cron(0 12 32W * ? *)',
    'rate(5 minutes)',
  ])('"%s" is refused', (text) => {
    expect(() => parseCron(text)).toThrow('cannot read');
  });
});
