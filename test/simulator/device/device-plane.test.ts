import { describe, expect, test } from 'vitest';
import { VirtualClock } from '../../../src/simulator/clock.ts';
import {
  type Answer,
  DevicePlane,
  parseBody,
  parseTopic,
} from '../../../src/simulator/device/device-plane.ts';
import { JobsRequests } from '../../../src/simulator/device/jobs-requests.ts';
import { Shadows } from '../../../src/simulator/service/shadows.ts';
import { createMemoryStore } from '../../../src/simulator/store/memory-store.ts';
import type { Store } from '../../../src/simulator/store/port.ts';
import { type World, world } from '../service/world.ts';

/** Requests of a device and their answers, body by body (sections 1.2-1.7 and 2). */

interface Device extends World {
  plane: DevicePlane;
  ask(topic: string, body?: object): Answer;
}

function device(deps: Parameters<typeof world>[0] = {}): Device {
  const w = world(deps);
  const plane = new DevicePlane(w.service, new Shadows(), w.clock);
  return {
    ...w,
    plane,
    ask(topic, body = {}) {
      const parsed = parseTopic(`$aws/things/t/jobs/${topic}`);
      if (!parsed) throw new Error(`no request: ${topic}`);
      return plane.answer({ ...parsed, body: body as Record<string, unknown> });
    },
  };
}

/** 2026-01-01T00:00:00Z, where the virtual clock starts. */
const START = 1_767_225_600;
const accepted = (body: object = {}): Answer => ({
  verdict: 'accepted',
  body: { timestamp: START, ...body },
});
const codeOf = ({ verdict, body }: Answer): string =>
  verdict === 'accepted' ? verdict : String(body['code']);

describe('topics', () => {
  test.each([
    ['$aws/things/t/jobs/get', { operation: 'getPending', target: '' }],
    ['$aws/things/t/jobs/start-next', { operation: 'startNext', target: '' }],
    ['$aws/things/t/jobs/one/get', { operation: 'describe', target: 'one' }],
    ['$aws/things/t/jobs/$next/get', { operation: 'describe', target: '$next' }],
    ['$aws/things/t/jobs/one/update', { operation: 'update', target: 'one' }],
    ['$aws/things/t/jobs/get/get', { operation: 'describe', target: 'get' }],
    ['$aws/things/t/shadow/get', { operation: 'shadowGet', target: '' }],
    ['$aws/things/t/shadow/name/x/update', { operation: 'shadowUpdate', target: 'x' }],
  ])('T1: %s', (topic, expected) => {
    expect(parseTopic(topic)).toEqual({ thing: 't', ...expected });
  });

  test.each([
    '$aws/things/t/jobs',
    '$aws/things/t/jobs/foo/bar',
    '$aws/things/t/jobs/$next/update',
    '$aws/things/t/jobs/one/get/more',
    '$aws/things/t/jobs//get',
    '$aws/things//jobs/get',
    '$aws/things/t/shadow/name//get',
    '$aws/things/t/shadow/name/x/y/get',
    '$aws/things/t/other/get',
    'aws/things/t/jobs/get',
  ])('E1 T3: %s is no request', (topic) => {
    expect(parseTopic(topic)).toBeUndefined();
  });
});

describe('common rules', () => {
  test('P1 E2: nothing is an empty object; what is no UTF-8, no JSON or no object is none', () => {
    expect(parseBody(Buffer.from(''))).toEqual({});
    expect(parseBody(Buffer.from('{"a":"ü"}'))).toEqual({ a: 'ü' });
    for (const bad of ['[]', 'null', '1', '"x"', '{', '{"a":1}x'])
      expect(parseBody(Buffer.from(bad))).toBeUndefined();
    expect(parseBody(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]))).toBeUndefined();
  });

  test('P2 P3: the token is echoed on both verdicts, and absent when it was absent', () => {
    const d = device();
    expect(d.ask('get', { clientToken: 'ä' }).body).toMatchObject({ clientToken: 'ä', timestamp: START });
    expect(d.ask('none/get', { clientToken: 'b' }).body).toMatchObject({
      clientToken: 'b',
      timestamp: START,
    });
    expect(d.ask('get').body).not.toHaveProperty('clientToken');
    expect(d.ask('none/get').body).not.toHaveProperty('clientToken');
  });

  test('P5: unknown members are ignored', () => {
    const d = device();
    expect(codeOf(d.ask('$next/get', { jobId: 'x', thingName: 't' }))).toBe('accepted');
  });

  test('P6: numbers may be texts; anything else is no number', () => {
    const d = device();
    d.create('one');
    expect(
      codeOf(d.ask('one/update', { status: 'IN_PROGRESS', expectedVersion: '1', executionNumber: '1' })),
    ).toBe('accepted');
    expect(codeOf(d.ask('one/update', { status: 'IN_PROGRESS', expectedVersion: '1' }))).toBe(
      'VersionMismatch',
    );
    for (const expectedVersion of ['', 'x', '1.5', 1.5, true, {}, [1]])
      expect(codeOf(d.ask('one/update', { status: 'IN_PROGRESS', expectedVersion }))).toBe('InvalidRequest');
    expect(codeOf(d.ask('one/update', { status: 'IN_PROGRESS', expectedVersion: null }))).toBe('accepted');
  });
});

describe('GetPendingJobExecutions', () => {
  test('P8 P10 P4: both lists, summaries without a status, members only where they are', async () => {
    const d = device();
    expect(d.ask('get')).toEqual(accepted({ inProgressJobs: [], queuedJobs: [] }));
    d.create('one');
    await d.clock.advance(2500);
    d.create('two');
    d.ask('one/update', { status: 'IN_PROGRESS' });
    expect(d.ask('get').body).toEqual({
      timestamp: START + 2,
      inProgressJobs: [
        {
          jobId: 'one',
          queuedAt: START,
          lastUpdatedAt: START + 2,
          startedAt: START + 2,
          executionNumber: 1,
          versionNumber: 2,
        },
      ],
      queuedJobs: [
        { jobId: 'two', queuedAt: START + 2, lastUpdatedAt: START + 2, executionNumber: 1, versionNumber: 1 },
      ],
    });
  });

  test('P9 L14: ten at most', () => {
    const d = device();
    for (let n = 0; n < 12; n += 1) d.create(`j${n}`);
    expect(d.ask('get').body['queuedJobs']).toHaveLength(10);
  });
});

describe('StartNextPendingJobExecution', () => {
  test('P14: nothing pending is accepted, without an execution', () => {
    expect(device().ask('start-next')).toEqual(accepted());
  });

  test('P12 P7 P13: the execution with its document as an object; a second call changes nothing', () => {
    const d = device();
    d.create('one');
    const execution = {
      jobId: 'one',
      thingName: 't',
      status: 'IN_PROGRESS',
      statusDetails: { a: '1' },
      queuedAt: START,
      startedAt: START,
      lastUpdatedAt: START,
      versionNumber: 2,
      executionNumber: 1,
      approximateSecondsBeforeTimedOut: 300,
      jobDocument: { of: 'one' },
    };
    expect(d.ask('start-next', { statusDetails: { a: '1' }, stepTimeoutInMinutes: 5 })).toEqual(
      accepted({ execution }),
    );
    expect(d.ask('start-next', { statusDetails: { b: '2' } })).toEqual(accepted({ execution }));
  });

  test('E3: a bad member changes nothing', () => {
    const d = device();
    d.create('one');
    expect(codeOf(d.ask('start-next', { statusDetails: { a: '' } }))).toBe('InvalidRequest');
    expect(codeOf(d.ask('start-next', { stepTimeoutInMinutes: 0 }))).toBe('InvalidRequest');
    expect(d.service.execution('t', 'one').status).toBe('QUEUED');
  });
});

describe('DescribeJobExecution', () => {
  test('P4 P16 P17 P20: by id and as $next; no member that is not there; nothing changes by it', () => {
    const d = device();
    expect(d.ask('$next/get')).toEqual(accepted());
    d.create('one');
    const execution = {
      jobId: 'one',
      thingName: 't',
      status: 'QUEUED',
      queuedAt: START,
      lastUpdatedAt: START,
      versionNumber: 1,
      executionNumber: 1,
      jobDocument: { of: 'one' },
    };
    for (const topic of ['one/get', '$next/get']) {
      expect(d.ask(topic)).toEqual(accepted({ execution }));
      const { jobDocument: _, ...without } = execution;
      expect(d.ask(topic, { includeJobDocument: false })).toEqual(accepted({ execution: without }));
    }
    expect(codeOf(d.ask('one/get', { includeJobDocument: 'yes' }))).toBe('InvalidRequest');
  });

  test('P18 P19 E5 E9 E10: unknown, ended, and the wrong number', () => {
    const d = device();
    d.create('one');
    expect(codeOf(d.ask('none/get'))).toBe('ResourceNotFound');
    expect(codeOf(d.ask('one/get', { executionNumber: 2 }))).toBe('ResourceNotFound');
    d.ask('one/update', { status: 'FAILED' });
    const ended = d.ask('one/get');
    expect(codeOf(ended)).toBe('TerminalStateReached');
    expect(ended.body).not.toHaveProperty('executionState');
  });

  test('T9: a job of a namespace is not found', () => {
    const d = device();
    d.create('one', { namespaceId: 'green' });
    expect(codeOf(d.ask('one/get'))).toBe('ResourceNotFound');
    expect(codeOf(d.ask('one/update', { status: 'IN_PROGRESS' }))).toBe('ResourceNotFound');
  });

  test('P20 J14: the document is resolved anew each time', () => {
    let times = 0;
    const d = device({
      document: ({ document }) => {
        times += 1;
        return document.replace('one', `one?${times}`);
      },
    });
    d.create('one');
    const first = d.ask('one/get').body['execution'];
    expect(d.ask('one/get').body['execution']).not.toEqual(first);
  });
});

describe('UpdateJobExecution', () => {
  test('P21 P24: accepted is a timestamp; state and document come when asked for', () => {
    const d = device();
    d.create('one');
    expect(d.ask('one/update', { status: 'IN_PROGRESS' })).toEqual(accepted());
    expect(
      d.ask('one/update', {
        status: 'IN_PROGRESS',
        statusDetails: { a: '1' },
        includeJobExecutionState: true,
        includeJobDocument: true,
      }),
    ).toEqual(
      accepted({
        executionState: { status: 'IN_PROGRESS', statusDetails: { a: '1' }, versionNumber: 3 },
        jobDocument: { of: 'one' },
      }),
    );
  });

  test('P4: empty details are left out of the state', () => {
    const d = device();
    d.create('one');
    const { body } = d.ask('one/update', { status: 'IN_PROGRESS', includeJobExecutionState: true });
    expect(body['executionState']).toEqual({ status: 'IN_PROGRESS', versionNumber: 2 });
  });

  test.each([undefined, null, 1, 'QUEUED', 'SUCCESS', 'CANCELED'])('P21 E3: status %s', (status) => {
    const d = device();
    d.create('one');
    expect(codeOf(d.ask('one/update', { status }))).toBe('InvalidRequest');
    expect(d.service.execution('t', 'one').versionNumber).toBe(1);
  });

  test.each([0, -2, 10_081, 1.5, 'x'])(
    'P25 L9: stepTimeoutInMinutes %s is refused',
    (stepTimeoutInMinutes) => {
      const d = device();
      d.create('one');
      expect(codeOf(d.ask('one/update', { status: 'IN_PROGRESS', stepTimeoutInMinutes }))).toBe(
        'InvalidRequest',
      );
    },
  );

  test.each([1, 10_080, -1, '15'])('P25 L9: stepTimeoutInMinutes %s is accepted', (stepTimeoutInMinutes) => {
    const d = device();
    d.create('one');
    expect(codeOf(d.ask('one/update', { status: 'IN_PROGRESS', stepTimeoutInMinutes }))).toBe('accepted');
  });

  const pairs = (count: number): object =>
    Object.fromEntries(Array.from({ length: count }, (_, n) => [`k${n}`, 'v']));

  test.each([
    ['eleven pairs', pairs(11)],
    ['an empty value', { a: '' }],
    ['a line break', { a: 'x\ny' }],
    ['a tab', { a: 'x\ty' }],
    ['1025 characters', { a: 'x'.repeat(1025) }],
    ['a key with a blank', { 'a b': 'x' }],
    ['a long key', { ['k'.repeat(129)]: 'x' }],
    ['an empty key', { '': 'x' }],
    ['a number', { a: 1 }],
    ['null', { a: null }],
    ['an array', ['a']],
    ['a text', 'a'],
  ])('P26 L5 L6 L7 E3: details with %s are refused, and the message says what', (_name, statusDetails) => {
    const d = device();
    d.create('one');
    const { body } = d.ask('one/update', { status: 'IN_PROGRESS', statusDetails });
    expect(body).toMatchObject({ code: 'InvalidRequest', message: expect.stringContaining('statusDetails') });
    expect(d.service.execution('t', 'one').versionNumber).toBe(1);
  });

  test.each([
    ['ten pairs', pairs(10)],
    ['none', {}],
    ['1024 characters', { a: 'ü'.repeat(1024) }],
    ['a long key of all characters', { [`aZ0:_-${'k'.repeat(122)}`]: 'x y' }],
  ])('L5 L6 L7: details with %s are accepted', (_name, statusDetails) => {
    const d = device();
    d.create('one');
    expect(codeOf(d.ask('one/update', { status: 'IN_PROGRESS', statusDetails }))).toBe('accepted');
  });

  test.each(['a b', 'ä', 'x'.repeat(65)])('L1 E3: job id "%s"', (jobId) => {
    expect(codeOf(device().ask(`${jobId}/update`, { status: 'IN_PROGRESS' }))).toBe('InvalidRequest');
  });

  test('E4 E6 E10 E15 E16 S25: refusals carry the state, by the exact names', async () => {
    const d = device();
    d.create('one', { timeoutConfig: { inProgressTimeoutInMinutes: 1 } });
    d.ask('one/update', { status: 'IN_PROGRESS', statusDetails: { a: '1' } });
    const stale = d.ask('one/update', { status: 'SUCCEEDED', expectedVersion: 1, clientToken: 'x' });
    expect(stale).toEqual({
      verdict: 'rejected',
      body: {
        code: 'VersionMismatch',
        message: expect.any(String),
        clientToken: 'x',
        timestamp: START,
        executionState: { status: 'IN_PROGRESS', statusDetails: { a: '1' }, versionNumber: 2 },
      },
    });
    await d.advance(1);
    expect(d.ask('one/update', { status: 'SUCCEEDED' }).body).toMatchObject({
      code: 'InvalidStateTransition',
      executionState: { status: 'TIMED_OUT', versionNumber: 3 },
    });
  });
});

describe('over HTTPS', () => {
  test('D2 P7: the same requests, the document as text, no timestamp and no token', () => {
    const d = device();
    const requests = new JobsRequests(d.service, 'text');
    d.create('one');
    expect(requests.startNext('t', { clientToken: 'x' })).toEqual({
      execution: expect.objectContaining({ jobDocument: '{"of":"one"}', status: 'IN_PROGRESS' }),
    });
    expect(requests.update('t', 'one', { status: 'SUCCEEDED', includeJobDocument: true })).toEqual({
      jobDocument: '{"of":"one"}',
    });
    expect(requests.startNext('t', {})).toEqual({});
    expect(requests.getPending('t')).toEqual({ inProgressJobs: [], queuedJobs: [] });
  });
});

describe('an answer', () => {
  /** A disk that saves when it is told. */
  function slowStore(): Store & { save(): void; fail(): void } {
    let settle: { resolve: () => void; reject: (error: Error) => void }[] = [];
    return {
      ...createMemoryStore(),
      saved: () => new Promise((resolve, reject) => settle.push({ resolve, reject })),
      save() {
        for (const { resolve } of settle) resolve();
        settle = [];
      },
      fail() {
        for (const { reject } of settle) reject(new Error('no space'));
        settle = [];
      },
    };
  }
  const vote = { thing: 't', operation: 'update' as const, target: 'one', body: { status: 'SUCCEEDED' } };

  test('N20: leaves when it is durable, then notify, then notify-next', async () => {
    const store = slowStore();
    const d = device({ store, clock: new VirtualClock() });
    d.create('one');
    store.save();
    await d.clock.advance(0);
    const from = d.heard.length;
    const log: string[] = [];
    const handled = d.plane.handle(vote).then(({ verdict }) => {
      log.push(verdict, ...d.heard.slice(from).map(({ kind }) => kind));
    });
    await d.clock.advance(0);
    expect(log).toEqual([]);
    expect(d.heard.length).toBe(from);
    store.save();
    await handled;
    expect(log).toEqual(['accepted']);
    await d.clock.advance(0);
    expect(d.heard.slice(from).map(({ kind }) => kind)).toEqual(['notify', 'notify-next']);
  });

  test('N20: what comes later is not made known before it', async () => {
    const d = device();
    d.create('one');
    await d.clock.advance(1000);
    d.create('two');
    const from = d.heard.length;
    const handled = d.plane.handle(vote);
    d.create('three');
    expect(d.heard.length).toBe(from);
    await handled;
    await d.clock.advance(0);
    expect(d.news().slice(-3)).toEqual(['notify QUEUED:two', 'next two QUEUED', 'notify QUEUED:two,three']);
  });

  test('E7: a disk that fails is an InternalError, and nothing is made known', async () => {
    const store = slowStore();
    const d = device({ store, clock: new VirtualClock() });
    d.create('one');
    store.save();
    await d.clock.advance(0);
    const from = d.heard.length;
    const handled = d.plane.handle(vote);
    store.fail();
    expect(codeOf(await handled)).toBe('InternalError');
    await d.clock.advance(0);
    expect(d.heard.length).toBe(from);
  });
});
