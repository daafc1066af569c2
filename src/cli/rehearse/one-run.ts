import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Writable } from 'node:stream';
import type { Progress } from '../../execution/progress.ts';
import type { ExecutionRecord } from '../../execution/records.ts';
import { systemClock } from '../../host/clock.ts';
import { nodeDisk } from '../../host/node-disk.ts';
import { type Change, changesOf } from './changes.ts';
import { type LifeExit, WAIT_DESCRIPTOR } from './inside.ts';
import type { LifeLine, LifeOrder, Stop } from './life.ts';
import type { MountPoint } from './mounts.ts';
import { createView, type View } from './view.ts';

/** One run of the job in a view of its own, from nothing to the end of the execution. */

export interface Rehearsal {
  /** The program that is run inside, with its own arguments before ours. */
  program: string;
  device: Pick<LifeOrder, 'thing' | 'agent' | 'steps'>;
  document: string;
  /** An empty directory on a file system in memory. */
  scratch: string;
  network: boolean;
  /** Of the machine, without views. */
  mounts: readonly MountPoint[];
  ignored: readonly string[];
}

export interface RunOutcome {
  records: readonly RunRecord[];
  /** Absent where it did not come to an end; `failed` says why. */
  progress?: Progress;
  failed?: string;
  /** What is different from the machine now. */
  changes: readonly Change[];
  /** After each finished step, in their order; only where they were asked for. */
  changesAfter: readonly { step: number; changes: readonly Change[] }[];
  readOnly: readonly string[];
}

export interface RunRecord {
  record: ExecutionRecord;
  /** Since the start of the run. */
  atMs: number;
}

const OWN = '/run/evenkeel-rehearsal';
/** A life that is killed at one record begins again; it is not killed twice. */
const LIVES_MAX = 3;

/** Runs the job, with its stops; `looks`: stands still after each finished step and looks at what has changed. */
export async function runOnce(
  rehearsal: Rehearsal,
  stops: readonly Stop[],
  looks = false,
): Promise<RunOutcome> {
  const scratch = await mkdtemp(join(rehearsal.scratch, 'view-'));
  const view = await createView(scratch, rehearsal);
  try {
    await mkdir(join(view.root, OWN, 'state'), { recursive: true, mode: 0o700 });
    await writeFile(join(view.root, OWN, 'document.json'), rehearsal.document, { mode: 0o600 });
    const told = await lives(rehearsal, view, stops, looks);
    return { ...told, changes: await changesOf(view, rehearsal.ignored, nodeDisk), readOnly: view.readOnly };
  } finally {
    await view.remove();
    await rm(scratch, { recursive: true, force: true });
  }
}

type Told = Omit<RunOutcome, 'changes' | 'readOnly'>;

async function lives(
  rehearsal: Rehearsal,
  view: View,
  stops: readonly Stop[],
  looks: boolean,
): Promise<Told> {
  const child = enter(rehearsal, view.root);
  try {
    return await follow(child, rehearsal, view, stops, looks);
  } finally {
    // Its stdin is what it lives by; the view can be taken down once nobody is in it.
    child.stdin?.destroy();
    (child.stdio[WAIT_DESCRIPTOR] as Writable).destroy();
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
  }
}

async function follow(
  child: ChildProcess,
  rehearsal: Rehearsal,
  view: View,
  stops: readonly Stop[],
  looks: boolean,
): Promise<Told> {
  const startedMs = systemClock.monotonicMs();
  const records: RunRecord[] = [];
  const changesAfter: { step: number; changes: readonly Change[] }[] = [];
  const order: LifeOrder = {
    ...rehearsal.device,
    document: join(OWN, 'document.json'),
    state: join(OWN, 'state'),
    life: 'new',
    cancelled: false,
    stops,
    ...(looks && { waitsOn: WAIT_DESCRIPTOR }),
  };
  let ended: Pick<Told, 'progress' | 'failed'> = {};
  let lifeCount = 1;
  tell(child, order);
  for await (const text of createInterface({ input: child.stdout! })) {
    const line = JSON.parse(text) as LifeLine | LifeExit;
    if ('record' in line) {
      const { record } = line;
      records.push({ record, atMs: systemClock.monotonicMs() - startedMs });
      if (!looks) continue;
      if (record.type === 'done') {
        changesAfter.push({ step: record.step, changes: await changesOf(view, rehearsal.ignored, nodeDisk) });
      }
      (child.stdio[WAIT_DESCRIPTOR] as Writable).write('.');
    } else if ('end' in line) {
      ended = { progress: line.end };
    } else if ('refused' in line) {
      ended = { failed: line.refused };
    } else {
      const killed = line.exited.signal === 'SIGKILL' || line.exited.code === 137;
      if (ended.progress || ended.failed || !killed || lifeCount === LIVES_MAX) {
        if (!ended.progress && !ended.failed) ended = { failed: lastLine(line.exited.stderr) };
        child.stdin!.end();
        continue;
      }
      lifeCount += 1;
      const cancelled = stops.some(({ act, record }) => act === 'cancel' && record <= records.length);
      tell(child, { ...order, life: 'resumed', cancelled, stops: [] });
    }
  }
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  return {
    records,
    changesAfter,
    ...ended,
    ...(!ended.progress && !ended.failed && { failed: 'the view ended early' }),
  };
}

function tell(child: ChildProcess, order: LifeOrder): void {
  child.stdin?.write(`${JSON.stringify(order)}\n`);
}

/** Name spaces of its own for everything; the view's root is all that there is. */
function enter({ program, network }: Rehearsal, root: string): ChildProcess {
  const spaces = ['--mount', '--pid', '--ipc', '--uts', '--cgroup', ...(network ? [] : ['--net'])];
  const child = spawn(
    'unshare',
    [
      ...spaces,
      '--fork',
      '--kill-child=SIGKILL',
      `--root=${root}`,
      '--wd=/',
      '--mount-proc',
      process.execPath,
      program,
      'rehearse-part',
      'inside',
    ],
    { stdio: ['pipe', 'pipe', 'inherit', 'pipe'] },
  );
  child.stdin?.on('error', () => undefined);
  return child;
}

function lastLine(stderr: string): string {
  return (
    stderr
      .trim()
      .split('\n')
      .find((line) => /Error/.test(line)) ??
    (stderr.trim() || 'the process ended without a word')
  );
}
