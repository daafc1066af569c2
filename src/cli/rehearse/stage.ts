import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { readDocument } from '../../document/document.ts';
import { CommandFailed } from '../command-failed.ts';
import { readConfig } from '../settings.ts';
import type { Judgement } from './judge.ts';
import { judgeRun } from './judge.ts';
import { type Rehearsal, runOnce } from './one-run.ts';
import { backwardPoints, forwardPoints, latestCancel, type Point } from './points.ts';
import { type Report, reportOf } from './report.ts';

/** What `evenkeel rehearse` hands to its part in a mount namespace of its own. */
export interface StageOrder {
  path: string;
  config: string | undefined;
  program: string;
  /** An empty directory. */
  scratch: string;
  network: boolean;
  quick: boolean;
  ignored: readonly string[];
}

const run = promisify(execFile);

/** Runs the whole rehearsal; `progress` hears before each run. Needs to be root in its own mount namespace. */
export async function stage(
  order: StageOrder,
  progress: (count: number, of: number, title: string) => void,
): Promise<Report> {
  const document = readFileSync(order.path, 'utf8');
  const read = readDocument(JSON.parse(document), { thing: readConfig(order.config).thing });
  if (!read.ok)
    throw new CommandFailed(read.problems.map(({ path, reason }) => `${path}: ${reason}`).join('\n'));
  await run('mount', ['-t', 'tmpfs', '-o', 'mode=700', 'tmpfs', order.scratch]);
  const rehearsal: Rehearsal = { ...order, document };

  progress(1, 1, 'to the end');
  const first = await runOnce(rehearsal, [], true);
  if (!first.progress)
    throw new CommandFailed(`cannot rehearse ${order.path}: ${first.failed ?? 'it did not end'}`);
  // A job that fails by itself has shown what its undo leaves behind, and has no points to be interrupted at.
  if (!first.progress.commit) {
    const failing: Point = { kind: 'cancelled', title: 'by its own failure', stops: [] };
    return reportOf(order.path, read.plan, first, first, [judgeRun(failing, first, first, read.plan)]);
  }
  const cancel = latestCancel(first);
  const back = cancel && (await runOnce(rehearsal, [cancel]));
  const points = [...forwardPoints(first, order), ...(back ? backwardPoints(back, cancel, order) : [])];
  const judgements: Judgement[] = [];
  for (const [index, point] of points.entries()) {
    progress(index + 1, points.length, point.title);
    judgements.push(judgeRun(point, await runOnce(rehearsal, point.stops), first, read.plan));
  }
  return reportOf(order.path, read.plan, first, back, judgements);
}
