import { createHash } from 'node:crypto';
import * as fs from 'node:fs/promises';
import { join } from 'node:path';
import { readDocument } from '../../src/document/document.ts';
import type { PlanStep } from '../../src/document/plan.ts';
import { bootId } from '../../src/host/boot.ts';
import { systemClock } from '../../src/host/clock.ts';
import type { Disk } from '../../src/host/disk.ts';
import { nodeDisk } from '../../src/host/node-disk.ts';
import { createProcessGroups } from '../../src/host/process-group.ts';
import { homesOf } from '../../src/steps/own-directory.ts';
import { stepTypeOf } from '../../src/steps/registry.ts';
import type { After, Attempt, Before, DoOutcome, StepContext, StepSurvey } from '../../src/steps/step.ts';
import { noSystemd } from '../support/memory-systemd.ts';

/** One step on this machine's real disk, with real processes, in a directory of its own. */
export interface Bench {
  root: string;
  path(name: string): string;
  /** Every entry with its inode's names, mode, owner, times and content: two that are equal are the same tree. */
  tree(): Promise<string[]>;
  step(action: object): PlanStep;
  context(step: PlanStep): StepContext;
  survey(step: PlanStep): Promise<StepSurvey>;
  prepare(step: PlanStep): Promise<Before>;
  do(step: PlanStep, before: Before, signal?: AbortSignal): Promise<DoOutcome>;
  /** Undo and discard; throws where the undo fails. */
  undo(step: PlanStep, before: Before, after?: After): Promise<{ keptAs: string }[]>;
  remove(): Promise<void>;
}

const ATTEMPT: Attempt = { number: 1, record: () => Promise.resolve() };

export async function createBench(
  settings: Partial<StepContext['settings']> = {},
  disk: Disk = nodeDisk,
): Promise<Bench> {
  // Not /tmp, where it may be tmpfs.
  const root = await fs.mkdtemp('/var/tmp/evenkeel-bench-');
  const path = (name: string): string => join(root, 'device', name);
  await fs.mkdir(path('.'));
  await fs.mkdir(join(root, 'execution'), { mode: 0o700 });
  const processes = createProcessGroups({ clock: systemClock, bootId: await bootId() });
  const context = (step: PlanStep): StepContext => ({
    disk,
    clock: systemClock,
    processes,
    systemd: noSystemd,
    key: 'k',
    directory: join(root, 'execution'),
    settings: {
      handlerDirectory: join(root, 'handlers'),
      allowHttp: true,
      graceMs: 500,
      outputBytesMax: 4096,
      treeEntriesMax: 1000,
      treeBytesMax: 10_000_000,
      archiveRatioMax: 200,
      ...settings,
    },
    homeOf: homesOf({ steps: [step] }),
    freshUrl: ({ url }) => Promise.resolve(url),
  });
  return {
    root,
    path,
    context,
    tree: () => treeOf(path('.')),
    step(action) {
      const read = readDocument({ version: '1.0', steps: [{ action: { name: 's', ...action } }] }, {});
      if (!read.ok) throw new Error(JSON.stringify(read.problems));
      return read.plan.steps[0]!;
    },
    survey: (step) => stepTypeOf(step).survey(step, context(step)),
    async prepare(step) {
      const prepared = await stepTypeOf(step).prepare(step, context(step));
      if (!prepared.ok) throw new Error(prepared.reason);
      return JSON.parse(JSON.stringify(prepared.before)) as Before;
    },
    do: (step, before, signal = new AbortController().signal) =>
      stepTypeOf(step).do(step, before, ATTEMPT, context(step), signal),
    async undo(step, before, after) {
      const { signal } = new AbortController();
      const undone = await stepTypeOf(step).undo(step, before, after, ATTEMPT, context(step), signal);
      if (undone.result !== 'ok') throw new Error(undone.reason);
      await stepTypeOf(step).discard(step, context(step));
      return [...undone.kept];
    },
    remove: () => fs.rm(root, { recursive: true, force: true }),
  };
}

/** Every entry below a directory, as lines; hard links are told by the first name of their inode. */
export async function treeOf(directory: string): Promise<string[]> {
  const first = new Map<number, string>();
  const lines: string[] = [];
  const visit = async (path: string, shown: string): Promise<void> => {
    const stat = await fs.lstat(path);
    const twin = stat.isDirectory() ? shown : (first.get(stat.ino) ?? shown);
    first.set(stat.ino, twin);
    const facts = `${shown} = ${twin} ${stat.mode.toString(8)} ${stat.uid}:${stat.gid}`;
    const time = Math.round(stat.mtimeMs);
    if (stat.isDirectory()) {
      // The time of the outermost one changes with every image that is laid beside.
      lines.push(path === directory ? facts : `${facts} ${time}`);
      for (const name of (await fs.readdir(path)).sort()) await visit(join(path, name), join(shown, name));
    } else if (stat.isSymbolicLink()) lines.push(`${facts} -> ${await fs.readlink(path)}`);
    else if (stat.isFile()) {
      const hash = createHash('sha256').update(await fs.readFile(path));
      lines.push(`${facts} ${time} ${hash.digest('hex')}`);
    } else lines.push(`${facts} special`);
  };
  await visit(directory, '/');
  return lines;
}
