import { mkdtemp, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readDocument } from '../../src/document/document.ts';
import type { PlanStep } from '../../src/document/plan.ts';
import { systemClock } from '../../src/host/clock.ts';
import { nodeDisk } from '../../src/host/node-disk.ts';
import type { Processes } from '../../src/host/processes.ts';
import { ownUnitIn, unitStateIn } from '../../src/host/systemd.ts';
import { observe } from '../../src/steps/observe.ts';
import { stepTypeOf } from '../../src/steps/registry.ts';
import type { After, Before, DoOutcome, StepContext } from '../../src/steps/step.ts';
import { type MemorySystemd, memorySystemd, noSystemd } from '../support/memory-systemd.ts';

const ATTEMPT = { number: 1, record: () => Promise.resolve() };
const NEVER = new AbortController().signal;

let root: string;
beforeEach(async () => {
  root = await mkdtemp('/var/tmp/evenkeel-units-');
});
afterEach(() => rm(root, { recursive: true }));

function contextOf(systemd: StepContext['systemd']): StepContext {
  return {
    disk: nodeDisk,
    clock: systemClock,
    processes: {} as Processes,
    systemd,
    key: 'k',
    directory: root,
    settings: {
      handlerDirectory: '/',
      allowHttp: false,
      graceMs: 1,
      outputBytesMax: 1,
      treeEntriesMax: 1000,
      treeBytesMax: 1_000_000,
      archiveRatioMax: 200,
    },
    homeOf: dirname,
    freshUrl: () => Promise.reject(new Error('no download here')),
  };
}

/** The steps of a document, each with its index. */
function stepsOf(
  ...actions: { type: string; input: object; snapshotPaths?: string[] }[]
): readonly PlanStep[] {
  const steps = actions.map((action) => ({ action: { timeoutSeconds: 5, ...action } }));
  const read = readDocument({ version: '1.0', steps }, {});
  if (!read.ok) throw new Error(JSON.stringify(read.problems));
  return read.plan.steps;
}

const units = (type: string, services: unknown, healthSeconds = 0) => ({
  type,
  input: { services, healthSeconds },
});

async function prepared(step: PlanStep, context: StepContext): Promise<Before> {
  const made = await stepTypeOf(step).prepare(step, context);
  if (!made.ok) throw new Error(made.reason);
  return made.before;
}

async function done(step: PlanStep, before: Before, context: StepContext): Promise<DoOutcome> {
  return await stepTypeOf(step).do(step, before, ATTEMPT, context, NEVER);
}

function afterOf(outcome: DoOutcome): After {
  if (outcome.result !== 'ok') throw new Error(outcome.reason);
  return outcome.after;
}

/** Forward through all steps, back through all undos, then settled once: what a rollback does. */
async function thereAndBack(
  steps: readonly PlanStep[],
  systemd: MemorySystemd,
): Promise<DoOutcome['result'][]> {
  const context = contextOf(systemd);
  const befores: Before[] = [];
  const outcomes: DoOutcome[] = [];
  for (const step of steps) {
    const before = await prepared(step, context);
    befores.push(before);
    outcomes.push(await done(step, before, context));
  }
  for (const step of [...steps].reverse()) {
    const outcome = outcomes[step.index]!;
    const after = outcome.result === 'ok' ? outcome.after : undefined;
    const undone = await stepTypeOf(step).undo(step, befores[step.index]!, after, ATTEMPT, context, NEVER);
    expect(undone.result).toBe('ok');
  }
  const settled = new Set<string>();
  for (const step of steps) await stepTypeOf(step).settle?.(step, befores[step.index]!, context, settled);
  return outcomes.map(({ result }) => result);
}

describe('names of units', () => {
  const problemsOf = (services: unknown): string[] => {
    const read = readDocument({ version: '1.0', steps: [{ action: units('stopServices', services) }] }, {});
    return read.ok ? [] : read.problems.map(({ path, reason }) => `${path} ${reason}`);
  };

  test('a list, or one text split at white space; .service is added, each is named once', () => {
    const [step] = stepsOf(units('startServices', ' app  worker@2 app.service my-app.timer'));
    expect(step).toMatchObject({ units: ['app.service', 'worker@2.service', 'my-app.timer'] });
    expect(step?.touches).toEqual(['unit:app.service', 'unit:worker@2.service', 'unit:my-app.timer']);
  });

  test.each([
    '-H',
    '--host=evil',
    '--',
    'a b*',
    '*',
    '[a-z]*',
    'app?',
    '../../etc/x.service',
    '/dev/sda',
    'a\nb/c',
    'worker@.service',
    'a'.repeat(260),
    'ünit',
    '$(reboot)',
  ])('I9: %j is no name', (name) => {
    expect(problemsOf([name]).join()).toMatch(/steps\[0\]\.action\.input\.services is no name of a unit/);
  });

  test('none at all is a problem', () => {
    for (const none of [undefined, '', '  ', []]) expect(problemsOf(none).length).toBe(1);
    expect(problemsOf(7)).toEqual(['steps[0].action.input.services must be a list of at most 256 texts']);
  });
});

describe('going forward', () => {
  test('a start waits until the unit runs', async () => {
    const systemd = memorySystemd({ 'app.service': { up: false, slow: 4 } });
    const [step] = stepsOf(units('startServices', 'app'));
    const context = contextOf(systemd);
    const before = await prepared(step!, context);
    expect(before.resources).toMatchObject([{ id: 'unit:app.service', fingerprint: 'unit inactive' }]);
    const after = afterOf(await done(step!, before, context));
    expect(after.resources).toEqual([{ id: 'unit:app.service', fingerprint: 'unit active' }]);
    expect(await observe(step!.touches, context)).toEqual(new Map([['unit:app.service', 'unit active']]));
  });

  test('one that runs already is not started again', async () => {
    const systemd = memorySystemd({ 'app.service': { up: true } });
    expect(await thereAndBack(stepsOf(units('startServices', 'app')), systemd)).toEqual(['ok']);
    expect(systemd.isUp('app.service')).toBe(true);
    expect(systemd.asked).toEqual(['start app.service']);
  });

  test.each([
    ['fails to start', { up: false, fails: () => true }, 'app.service is failed (dead, exit-code)'],
    ['falls over', { up: false, fallsAfter: 3 }, 'app.service did not stay up for 1 s'],
    ['is started again and again', { up: false, fallsAfter: 3, restarts: true }, 'started again within 1 s'],
  ])('a unit that %s is a failed step, with what its log says', async (_, unit, reason) => {
    const [step] = stepsOf(units('restartServices', 'app', 1));
    const context = contextOf(memorySystemd({ 'app.service': unit }));
    const outcome = await done(step!, await prepared(step!, context), context);
    expect(outcome).toMatchObject({
      result: 'failed',
      reason: expect.stringContaining(reason) as string,
      output: { stderr: 'app.service: what its log says' },
    });
  });

  test('a oneshot that has done its work is no failure', async () => {
    const systemd = memorySystemd({ 'once.service': { up: false, oneshot: true } });
    expect(await thereAndBack(stepsOf(units('startServices', 'once')), systemd)).toEqual(['ok']);
  });

  test('what comes back by itself was not stopped', async () => {
    const systemd = memorySystemd({ 'app.service': { up: true } });
    const [step] = stepsOf(units('stopServices', 'app', 1));
    const context = contextOf(systemd);
    const before = await prepared(step!, context);
    const running = done(step!, before, context);
    await systemClock.sleep(300);
    await systemd.queue('start', 'app.service');
    expect(await running).toMatchObject({
      result: 'failed',
      reason: expect.stringContaining('did not stay stopped') as string,
    });
  });

  test('a limit is a failure, a cancel is an interruption', async () => {
    const systemd = memorySystemd({ 'app.service': { up: false, slow: 1e9 } });
    const [step] = stepsOf(units('startServices', 'app'));
    const quick = { ...step!, timeoutSeconds: 0.2 } as PlanStep;
    const context = contextOf(systemd);
    const before: Before = {
      resources: [{ id: 'unit:app.service', fingerprint: 'unit inactive', image: {} }],
    };
    expect(await done(quick, before, context)).toEqual({
      result: 'failed',
      reason: 'not finished within 0.2 s',
    });
    const stop = new AbortController();
    const running = stepTypeOf(step!).do(step!, before, ATTEMPT, context, stop.signal);
    stop.abort(new Error('stopped: cancel'));
    expect(await running).toEqual({ result: 'interrupted', reason: 'stopped: cancel' });
  });

  test('a unit file that changed is read again before its unit is started', async () => {
    const systemd = memorySystemd({ 'app.service': { up: false, needsReload: true } });
    await thereAndBack(stepsOf(units('startServices', 'app')), systemd);
    expect(systemd.asked.slice(0, 2)).toEqual(['reload', 'start app.service']);
  });

  test('a unit that is not there is a failed step with its name', async () => {
    const [step] = stepsOf(units('startServices', 'none'));
    const context = contextOf(memorySystemd({}));
    expect(await done(step!, await prepared(step!, context), context)).toMatchObject({
      result: 'failed',
      reason: 'cannot start none.service: Unit none.service not found.',
    });
  });
});

describe('going back', () => {
  test('what ran runs again, what did not is stopped', async () => {
    const systemd = memorySystemd({ 'was-up.service': { up: true }, 'was-down.service': { up: false } });
    const steps = stepsOf(units('stopServices', 'was-up'), units('startServices', ['was-down']));
    expect(await thereAndBack(steps, systemd)).toEqual(['ok', 'ok']);
    expect(systemd.isUp('was-up.service')).toBe(true);
    expect(systemd.isUp('was-down.service')).toBe(false);
  });

  test('restarts follow all undos, once each, however many steps were about a unit', async () => {
    const systemd = memorySystemd({ 'app.service': { up: true } });
    const nothing = { type: 'check', input: { command: ['true'] } };
    const [, ...steps] = stepsOf(
      nothing,
      units('stopServices', 'app'),
      units('startServices', 'app'),
      units('restartServices', 'app'),
    );
    const all = steps.map((step, index) => ({ ...step, index }));
    // As behind another step, which has something to read again.
    await thereAndBack(
      all.map((step) => step),
      systemd,
    );
    const context = contextOf(systemd);
    const before = await prepared(steps[0]!, context);
    const settled = new Set<string>();
    const from = systemd.asked.length;
    for (const step of steps) await stepTypeOf(step).settle?.(step, before, context, settled);
    expect(systemd.asked.slice(from)).toEqual(['restart app.service']);
  });

  test('a unit that cannot start before everything is back is started behind all undos', async () => {
    let bad = false;
    const systemd = memorySystemd({ 'app.service': { up: true, fails: () => bad } });
    const [, step] = stepsOf(
      { type: 'check', input: { command: ['true'] } },
      units('restartServices', 'app'),
    );
    const context = contextOf(systemd);
    const before = await prepared(step!, context);
    bad = true;
    expect((await done(step!, before, context)).result).toBe('failed');
    expect((await stepTypeOf(step!).undo(step!, before, undefined, ATTEMPT, context, NEVER)).result).toBe(
      'ok',
    );
    expect(systemd.isUp('app.service')).toBe(false);
    const again = { ...ATTEMPT, triedAgain: true };
    expect((await stepTypeOf(step!).undo(step!, before, undefined, again, context, NEVER)).result).toBe(
      'failed',
    );
    bad = false;
    await stepTypeOf(step!).settle?.(step!, before, context, new Set());
    expect(systemd.isUp('app.service')).toBe(true);
  });

  test('paths of the step come back while the unit that reads them is down', async () => {
    const path = join(root, 'data');
    const systemd = memorySystemd({ 'app.service': { up: true } });
    const [step] = stepsOf({ ...units('stopServices', 'app'), snapshotPaths: [path] });
    const context = contextOf(systemd);
    const before = await prepared(step!, context);
    const after = afterOf(await done(step!, before, context));
    expect(after.resources.map(({ id }) => id)).toEqual([`path:${path}`, 'unit:app.service']);
    await nodeDisk.mkdir(path, 0o700);
    const left = [{ id: `path:${path}`, fingerprint: 'something' }];
    await stepTypeOf(step!).undo(step!, before, { resources: left }, ATTEMPT, context, NEVER);
    expect(await nodeDisk.lstat(path)).toBeUndefined();
    expect(systemd.isUp('app.service')).toBe(true);
  });
});

describe('the agent itself', () => {
  test('its restart is found done by the agent that comes after', async () => {
    const systemd = memorySystemd({ 'evenkeel.service': { up: true } }, { own: 'evenkeel.service' });
    const [step] = stepsOf(units('restartServices', 'evenkeel'));
    const context = contextOf(systemd);
    const before = await prepared(step!, context);
    const stop = new AbortController();
    const life = stepTypeOf(step!).do(step!, before, ATTEMPT, context, stop.signal);
    await systemClock.sleep(100);
    expect(systemd.asked).toEqual(['restart evenkeel.service']);
    stop.abort(new Error('stopped: halt'));
    expect(await life).toMatchObject({ result: 'interrupted' });
    expect(await done(step!, before, context)).toMatchObject({ result: 'ok' });
    expect(systemd.asked).toEqual(['restart evenkeel.service']);
  });

  test('a job that would stop it is refused before anything is done', async () => {
    const [step] = stepsOf(units('stopServices', 'evenkeel'));
    const systemd = memorySystemd({ 'evenkeel.service': { up: true } }, { own: 'evenkeel.service' });
    const { problems } = await stepTypeOf(step!).survey(step!, contextOf(systemd));
    expect(problems).toMatchObject([{ kind: 'never', reason: 'this would stop the agent itself' }]);
  });

  test('without systemd nothing is promised', async () => {
    const [step] = stepsOf(units('restartServices', 'app'));
    const { problems } = await stepTypeOf(step!).survey(step!, contextOf(noSystemd));
    expect(problems).toMatchObject([{ kind: 'never', reason: 'systemd does not run here' }]);
  });

  test.each([
    ['0::/system.slice/evenkeel.service\n', 'evenkeel.service'],
    ['2:cpu:/\n1:name=systemd:/system.slice/evenkeel.service\n0::/\n', 'evenkeel.service'],
    ['0::/user.slice/user-0.slice/session-1.scope\n', undefined],
    ['', undefined],
  ])('its own unit is read from %j', (text, unit) => {
    expect(ownUnitIn(text)).toBe(unit);
  });
});

test('what systemctl prints is read, what it does not know is empty', () => {
  const text =
    'LoadState=loaded\nActiveState=active\nNRestarts=2\nJob=17\nNeedDaemonReload=yes\nResult=success\n';
  expect(unitStateIn(text)).toMatchObject({
    load: 'loaded',
    active: 'active',
    restarts: 2,
    hasJob: true,
    needsReload: true,
    invocationId: '',
  });
});
