import * as fs from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readDocument } from '../../src/document/document.ts';
import type { PlanStep } from '../../src/document/plan.ts';
import { systemClock } from '../../src/host/clock.ts';
import type { Disk } from '../../src/host/disk.ts';
import { nodeDisk } from '../../src/host/node-disk.ts';
import type { Processes } from '../../src/host/processes.ts';
import { stepTypeOf } from '../../src/steps/registry.ts';
import type { After, Before, StepContext } from '../../src/steps/step.ts';
import { type ArchiveSite, startArchiveSite } from '../support/archive-site.ts';
import { listed } from '../support/device.ts';
import { noSystemd } from '../support/memory-systemd.ts';
import { makeTar } from '../support/tar-maker.ts';

/**
 * I1, I4: a step, and its undo, end at every single operation on the disk in turn; an undo by a new life then brings
 * back the old state, to the byte.
 */

const CHANGING = [
  'openFile',
  'mkdir',
  'rmdir',
  'unlink',
  'rename',
  'link',
  'symlink',
  'chmod',
  'lchown',
  'lutimes',
  'copyAttributes',
  'clearAttributes',
];

class Crash extends Error {}

/** A disk that ends this life before its n-th change. */
function crashingDisk(atChange: number): { disk: Disk; changes: () => number } {
  let changes = 0;
  const disk = new Proxy(nodeDisk, {
    get(target, name: keyof Disk) {
      const operation = target[name] as (...args: unknown[]) => unknown;
      if (!CHANGING.includes(name)) return operation;
      return (...args: unknown[]) => {
        changes += 1;
        if (changes >= atChange) return Promise.reject(new Crash('the life ends'));
        return operation.apply(target, args);
      };
    },
  });
  return { disk, changes: () => changes };
}

async function device(): Promise<{ root: string; path: (name: string) => string }> {
  const root = await fs.mkdtemp('/var/tmp/evenkeel-crash-');
  const path = (name: string): string => join(root, 'device', name);
  await fs.mkdir(path('tree/deep'), { recursive: true });
  await fs.mkdir(join(root, 'execution'));
  await fs.writeFile(path('file'), 'old\n', { mode: 0o640 });
  await fs.writeFile(path('tree/deep/a'), 'a');
  await fs.symlink('/nowhere', path('tree/link'));
  await fs.writeFile(path('linked'), 'hard\n');
  await fs.link(path('linked'), path('other-name'));
  await fs.symlink('releases/1', path('current'));
  return { root, path };
}

let site: ArchiveSite;
beforeAll(async () => {
  site = await startArchiveSite();
});
afterAll(() => site.close());
const archive = (): string =>
  site.serve(
    'a.tar',
    makeTar([
      { name: 'bin/app', content: 'new', mode: 0o755 },
      { name: 'l', type: '2', target: 'bin' },
    ]),
  );

const STEPS: Record<string, (path: (name: string) => string) => object> = {
  'writeFile over a file': (path) => ({ type: 'writeFile', input: { path: path('file'), content: 'new' } }),
  'writeFile into new directories': (path) => ({
    type: 'writeFile',
    input: { path: path('x/y/z'), content: 'new', mode: '0600' },
  }),
  'writeFile over one of two names': (path) => ({
    type: 'writeFile',
    input: { path: path('linked'), content: 'new' },
  }),
  'removeFile of a file': (path) => ({ type: 'removeFile', input: { path: path('file') } }),
  'removeFile of a tree': (path) => ({ type: 'removeFile', input: { path: path('tree') } }),
  'extractArchive beside an old release, with its link': (path) => ({
    type: 'extractArchive',
    input: { url: archive(), path: path('releases/2'), link: path('current') },
  }),
  'extractArchive over a tree': (path) => ({
    type: 'extractArchive',
    input: { url: archive(), path: path('tree') },
  }),
  switchLink: (path) => ({ type: 'switchLink', input: { link: path('current'), target: 'releases/2' } }),
  'switchLink where none was': (path) => ({
    type: 'switchLink',
    input: { link: path('none'), target: 'releases/2' },
  }),
};

function contextOf(root: string, disk: Disk): StepContext {
  return {
    disk,
    clock: systemClock,
    processes: {} as Processes,
    systemd: noSystemd,
    key: 'k',
    directory: join(root, 'execution'),
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

const ATTEMPT = { number: 1, record: () => Promise.resolve() };
const SIGNAL = new AbortController().signal;
const CHANGES_MAX = 60;

async function lifeEnds<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof Crash) return undefined;
    throw error;
  }
}

async function planned(action: object): Promise<PlanStep> {
  const read = readDocument({ version: '1.0', steps: [{ action: { name: 's', ...action } }] }, {});
  if (!read.ok) throw new Error(JSON.stringify(read.problems));
  return read.plan.steps[0] as PlanStep;
}

describe.each(Object.entries(STEPS))('%s', (_, action) => {
  test.each(['do', 'undo'] as const)(
    'a life that ends at any change of its %s',
    { timeout: 60_000 },
    async (where) => {
      let crashes = 0;
      for (let at = 1; at <= CHANGES_MAX; at += 1) {
        const { root, path } = await device();
        const old = await listed(join(root, 'device'), '');
        const step = await planned(action(path));
        const type = stepTypeOf(step);
        const sound = contextOf(root, nodeDisk);
        const prepared = await type.prepare(step, sound);
        if (!prepared.ok) throw new Error(prepared.reason);
        const before = JSON.parse(JSON.stringify(prepared.before)) as Before;

        const { disk, changes } = crashingDisk(at);
        const dying = contextOf(root, disk);
        let after: After | undefined;
        if (where === 'do') {
          await lifeEnds(type.do(step, before, ATTEMPT, dying, SIGNAL));
        } else {
          const done = await type.do(step, before, ATTEMPT, sound, SIGNAL);
          if (done.result !== 'ok') throw new Error(done.reason);
          after = done.after;
          await lifeEnds(type.undo(step, before, after, ATTEMPT, dying, SIGNAL));
        }
        const undone = await type.undo(step, before, after, ATTEMPT, sound, SIGNAL);
        expect(undone).toMatchObject({ result: 'ok' });
        await type.discard(step, sound);
        expect({ at, files: await listed(join(root, 'device'), '') }).toEqual({ at, files: old });
        await fs.rm(root, { recursive: true });
        if (changes() < at) {
          expect(crashes).toBeGreaterThan(0);
          return;
        }
        crashes += 1;
      }
      expect.fail('the work never ended');
    },
  );
});
