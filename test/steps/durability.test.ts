import { constants } from 'node:fs';
import { dirname } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readDocument } from '../../src/document/document.ts';
import type { PlanStep } from '../../src/document/plan.ts';
import { systemClock } from '../../src/host/clock.ts';
import type { Disk } from '../../src/host/disk.ts';
import type { Processes } from '../../src/host/processes.ts';
import { stepTypeOf } from '../../src/steps/registry.ts';
import type { Attempt, Before, StepContext, StepType } from '../../src/steps/step.ts';
import { listDevice } from '../execution/power-scenario.ts';
import { createForgetfulDisk, type ForgetfulDisk, type Life } from '../support/forgetful-disk.ts';
import { noSystemd } from '../support/memory-systemd.ts';
import { randomFrom } from '../support/random.ts';

/**
 * I4: what a step says is done, is done after any power cut. Each test here was a fault that the power-loss property
 * found.
 */
const CUTS = 60;

interface Bench {
  forgetful: ForgetfulDisk;
  disk: Disk;
  context: StepContext;
  step: PlanStep;
  type: StepType;
  /** Of the device before the step. */
  old: string[];
  before: Before;
}

const SIGNAL = new AbortController().signal;
const ATTEMPT: Attempt = { number: 1, record: () => Promise.resolve() };

function contextOn(disk: Disk): StepContext {
  return {
    disk,
    clock: systemClock,
    processes: {} as Processes,
    systemd: noSystemd,
    key: 'k',
    directory: '/state',
    settings: {
      handlerDirectory: '/',
      allowHttp: true,
      graceMs: 1,
      outputBytesMax: 1,
      treeEntriesMax: 1000,
      treeBytesMax: 1_000_000,
      archiveRatioMax: 200,
    },
    homeOf: dirname,
    freshUrl: (step) => Promise.resolve(step.url),
  };
}

/** A device at rest, and a step on it whose before-image is taken. */
async function bench(
  action: object,
  change: (disk: Disk) => Promise<void> = async () => undefined,
): Promise<Bench> {
  const forgetful = createForgetfulDisk();
  const { files } = forgetful;
  const { disk } = forgetful.begin();
  for (const path of ['/device', '/other', '/state', '/device/tree']) await disk.mkdir(path, 0o755);
  for (const [path, mode] of [
    ['/device/file', 0o640],
    ['/device/tree/inner', 0o600],
    ['/device/name', 0o644],
  ] as const) {
    const inode = files.open(path, constants.O_RDWR | constants.O_CREAT, mode);
    inode.write(Buffer.from(`old content of ${path}`), 0);
    files.chown(inode, 7, 8);
  }
  await disk.chmod('/device/tree', 0o750);
  await disk.link('/device/name', '/device/other-name');
  await change(disk);
  await disk.syncAll();
  const read = readDocument({ version: '1.0', steps: [{ action: { name: 's', ...action } }] }, {});
  if (!read.ok) throw new Error(JSON.stringify(read.problems));
  const step = read.plan.steps[0]!;
  const type = stepTypeOf(step);
  const old = listDevice(files);
  const context = contextOn(disk);
  const prepared = await type.prepare(step, context);
  if (!prepared.ok) throw new Error(prepared.reason);
  return { forgetful, disk, context, step, type, old, before: prepared.before };
}

/** The device after a power cut, and a context of the boot that follows. */
function cut({ forgetful }: Bench, seed: number): { context: StepContext; files: ForgetfulDisk['files'] } {
  forgetful.cut(randomFrom(seed));
  return { context: contextOn(forgetful.begin().disk), files: forgetful.files };
}

async function eachCut(work: (seed: number) => Promise<void>): Promise<void> {
  for (let seed = 1; seed <= CUTS; seed += 1) await work(seed);
}

const WRITE = { type: 'writeFile', input: { path: '/device/file', content: 'new' } };
const WRITE_DEEP = { type: 'writeFile', input: { path: '/device/new/deep/file', content: 'new' } };
const NAMED = {
  type: 'writeFile',
  target: '/device/name',
  contentBase64: Buffer.from('another').toString('base64'),
  name: 's',
  timeoutSeconds: 60,
  ignoreFailure: false,
  idempotent: false,
  pivot: false,
  touches: ['path:/device/name'],
  grade: 'full',
};
const REMOVE = { type: 'removeFile', input: { path: '/device/file' } };
const REMOVE_TREE = { type: 'removeFile', input: { path: '/device/tree' } };

describe('a before-image', () => {
  test.each([REMOVE, REMOVE_TREE])(
    'outlives a power cut with mode and owner: $input.path',
    async (action) => {
      await eachCut(async (seed) => {
        const made = await bench(action);
        const { type, step, before, old } = made;
        const { context, files } = cut(made, seed);
        await type.do(step, before, ATTEMPT, context, SIGNAL);
        expect(await type.undo(step, before, undefined, ATTEMPT, context, SIGNAL)).toMatchObject({
          result: 'ok',
        });
        await type.discard(step, context);
        expect({ seed, device: listDevice(files) }).toEqual({ seed, device: old });
      });
    },
  );
});

test('a file that was written is durable with its content, mode and owner', async () => {
  await eachCut(async (seed) => {
    const made = await bench(WRITE);
    await made.type.do(made.step, made.before, ATTEMPT, made.context, SIGNAL);
    const done = listDevice(made.forgetful.files);
    const { files } = cut(made, seed);
    expect({ seed, device: ownPathsOut(listDevice(files)) }).toEqual({ seed, device: ownPathsOut(done) });
  });
});

test.each([WRITE, REMOVE, REMOVE_TREE])(
  'a step that is tried again is undone again, from the same before-image: $type $input.path',
  async (action) => {
    const { type, step, before, context, forgetful, old } = await bench(action);
    for (const triedAgain of [true, true, false]) {
      await type.do(step, before, ATTEMPT, context, SIGNAL);
      const attempt = { ...ATTEMPT, triedAgain };
      expect(await type.undo(step, before, undefined, attempt, context, SIGNAL)).toMatchObject({
        result: 'ok',
      });
      expect(ownPathsOut(listDevice(forgetful.files))).toEqual(old);
    }
  },
);

test.each([WRITE, WRITE_DEEP, REMOVE, REMOVE_TREE])(
  'an undo that a killed life began is durable when the next one calls it done: $type $input.path',
  { timeout: 120_000 },
  async (action) => {
    const operations = await undoOperations(action);
    expect(operations).toBeGreaterThan(10);
    for (let at = 1; at <= operations; at += 1) {
      for (let seed = 1; seed <= 8; seed += 1) {
        const made = await bench(action);
        const { type, step, before, context, forgetful, old } = made;
        await type.do(step, before, ATTEMPT, context, SIGNAL);
        await made.disk.syncAll();
        let count = 0;
        await new Promise<void>((resolve) => {
          const life = forgetful.begin(() => {
            count += 1;
            if (count !== at) return undefined;
            return { kind: 'end', when: 'after', finish: () => end(life, resolve) };
          });
          void type
            .undo(step, before, undefined, ATTEMPT, contextOn(life.disk), SIGNAL)
            .then(() => resolve());
        });
        expect(await type.undo(step, before, undefined, ATTEMPT, context, SIGNAL)).toMatchObject({
          result: 'ok',
        });
        const { files } = cut(made, seed);
        expect({ at, seed, device: ownPathsOut(listDevice(files)) }).toEqual({ at, seed, device: old });
      }
    }
  },
);

function end(life: Life, then: () => void): void {
  life.end();
  then();
}

async function undoOperations(action: object): Promise<number> {
  const { type, step, before, context, forgetful } = await bench(action);
  await type.do(step, before, ATTEMPT, context, SIGNAL);
  let count = 0;
  const { disk } = forgetful.begin(() => {
    count += 1;
    return undefined;
  });
  await type.undo(step, before, undefined, ATTEMPT, contextOn(disk), SIGNAL);
  return count;
}

test('the other name of a file gets its old content back, also when a later step has replaced the first', async () => {
  const { context, forgetful, old } = await bench(WRITE);
  const [inPlace, replace] = [1, 2].map((index) => ({ ...NAMED, index, path: `steps[${index}].action` }));
  const steps: { step: PlanStep; before: Before }[] = [];
  for (const step of [inPlace, replace] as unknown as PlanStep[]) {
    const prepared = await stepTypeOf(step).prepare(step, context);
    if (!prepared.ok) throw new Error(prepared.reason);
    steps.unshift({ step, before: prepared.before });
    if (step.index === 1) forgetful.files.open('/device/name', constants.O_RDWR).write(Buffer.from('NEW'), 0);
    else await stepTypeOf(step).do(step, prepared.before, ATTEMPT, context, SIGNAL);
  }
  for (const { step, before } of steps) {
    const undone = await stepTypeOf(step).undo(step, before, undefined, ATTEMPT, context, SIGNAL);
    expect(undone).toMatchObject({ result: 'ok' });
  }
  expect(ownPathsOut(listDevice(forgetful.files))).toEqual(old);
  expect((await context.disk.lstat('/device/name'))?.ino).toBe(
    (await context.disk.lstat('/device/other-name'))?.ino,
  );
});

test('a discarded before-image does not come back', async () => {
  await eachCut(async (seed) => {
    const made = await bench(WRITE);
    await made.type.discard(made.step, made.context);
    const { files } = cut(made, seed);
    expect({ seed, device: listDevice(files) }).toEqual({ seed, device: made.old });
  });
});

const ownPathsOut = (lines: string[]): string[] => lines.filter((line) => !line.includes('.evenkeel-'));
