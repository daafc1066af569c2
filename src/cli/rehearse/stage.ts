import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { promisify } from 'node:util';
import { readDocument } from '../../document/document.ts';
import { CommandFailed } from '../command-failed.ts';
import { agentSettings, readConfig, stepSettings } from '../settings.ts';
import type { Judgement } from './judge.ts';
import { judgeRun } from './judge.ts';
import { fileMounts } from './mounts.ts';
import { type Rehearsal, runOnce } from './one-run.ts';
import { backwardPoints, forwardPoints, latestCancel, type Point } from './points.ts';
import { type Report, reportOf } from './report.ts';

/** What `evenkeel rehearse` hands to its part in a mount namespace of its own. */
export interface StageOrder {
  /** As the user wrote it, and absolute. */
  document: string;
  path: string;
  config: string | undefined;
  program: string;
  /** An empty directory. */
  scratch: string;
  network: boolean;
  quick: boolean;
  ignored: readonly string[];
}

/** Views are apart from each other, but share memory. */
const AT_ONCE_MAX = 4;

const run = promisify(execFile);

/** Runs the whole rehearsal; `progress` hears before each run. Needs to be root in its own mount namespace. */
export async function stage(
  order: StageOrder,
  progress: (count: number, of: number, title: string) => void,
): Promise<Report> {
  const config = readConfig(order.config);
  const { thing } = config;
  const document = readFileSync(order.path, 'utf8');
  const read = readDocument(JSON.parse(document), { thing });
  if (!read.ok)
    throw new CommandFailed(read.problems.map(({ path, reason }) => `${path}: ${reason}`).join('\n'));
  const mounts = fileMounts(readFileSync('/proc/self/mountinfo', 'utf8'));
  await run('mount', ['-t', 'tmpfs', '-o', 'mode=700', 'tmpfs', order.scratch]);
  const device = { thing, agent: agentSettings(config, order.config), steps: stepSettings(config) };
  const rehearsal: Rehearsal = {
    ...order,
    device,
    document,
    mounts,
    ignored: [...order.ignored, order.scratch],
  };

  progress(1, 1, 'to the end');
  const first = await runOnce(rehearsal, [], true);
  if (!first.progress)
    throw new CommandFailed(`cannot rehearse ${order.document}: ${first.failed ?? 'it did not end'}`);
  // A job that fails by itself has shown what its undo leaves behind, and has no points to be interrupted at.
  if (!first.progress.commit) {
    const failing: Point = { kind: 'cancelled', title: 'by its own failure', stops: [] };
    return reportOf(order.document, read.plan, first, first, [judgeRun(failing, first, first, read.plan)]);
  }
  const cancel = latestCancel(first);
  const back = cancel && (await runOnce(rehearsal, [cancel]));
  const points = [...forwardPoints(first, order), ...(back ? backwardPoints(back, cancel, order) : [])];
  const judgements: Judgement[] = [];
  const left = points.entries();
  const worker = async (): Promise<void> => {
    for (const [index, point] of left) {
      progress(index + 1, points.length, point.title);
      judgements[index] = judgeRun(point, await runOnce(rehearsal, point.stops), first, read.plan);
    }
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE_MAX, availableParallelism()) }, worker));
  return reportOf(order.document, read.plan, first, back, judgements);
}
