import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type FileHandle, open } from 'node:fs/promises';
import { Readable, type Writable } from 'node:stream';
import type { Clock } from './clock.ts';
import { awaitGroup, type Ending, endFamily } from './process-ending.ts';
import { drain, drained, firstEnd, letFlow, neverBegun, tailOf } from './process-run.ts';
import { GO, refusalIn, type ShimCommand, shimCommand } from './process-shim.ts';
import { findFamily, readRow } from './process-table.ts';
import {
  CannotRunError,
  type Processes,
  type ProcessIdentity,
  type ProcessResult,
  type ProcessSpec,
} from './processes.ts';
import { type FindUser, findUser } from './users.ts';

/** Children that are just ending with the program are not survivors. */
const SURVIVOR_LOOK_MS = 50;
const SURVIVED_RUNS_MAX = 256;

export interface ProcessGroupDeps {
  clock: Clock;
  /** Of this boot (`bootId()`). */
  bootId: string;
  log?: Ending['log'];
  findUser?: FindUser;
}

/**
 * Processes for a machine without systemd: a step is a process group of its own, known by pid, start time and boot
 * id, and by a random token in its environment. What both leaves the session and drops the token while its parent
 * dies is out of reach.
 */
export function createProcessGroups(deps: ProcessGroupDeps): Processes {
  const ending: Ending = { clock: deps.clock, log: deps.log };
  /** By token: what runs of this life left running, to be known also where it has dropped its token. */
  const survived = new Map<string, Set<string>>();
  return {
    async run(spec, record, signal) {
      const token = deps.clock.uuid();
      const command = await shimCommand(spec, token, deps.findUser ?? findUser);
      if (signal.aborted) return neverBegun();
      const shim = await startShim(spec, command);
      const identity = await identify(spec, shim, token, deps.bootId);
      try {
        await record(identity);
      } catch (error) {
        await holdBack(shim);
        throw error;
      }
      if (signal.aborted) {
        await holdBack(shim);
        return neverBegun();
      }
      shim.gate.end(GO);
      const known = new Set<string>();
      const result = await follow({ spec, command, shim, identity, signal, known, ending });
      if (result.survivors > 0) remember(survived, token, known);
      return result;
    },

    async fence(identity, graceMs) {
      // Another boot: nothing of it can be alive, and its pids are other processes now.
      if (identity.bootId !== deps.bootId) return { ended: 0 };
      const known = survived.get(identity.token) ?? new Set();
      if (identity.patienceMs !== undefined) {
        await awaitGroup(identity, identity.patienceMs, known, ending);
      }
      const ended = await endFamily(identity, graceMs, known, ending);
      survived.delete(identity.token);
      return { ended };
    },
  };
}

function remember(survived: Map<string, Set<string>>, token: string, known: Set<string>): void {
  survived.set(token, known);
  const [oldest] = survived.keys();
  if (survived.size > SURVIVED_RUNS_MAX && oldest !== undefined) survived.delete(oldest);
}

interface Shim {
  child: ChildProcess;
  gate: Writable;
  stdout: Readable;
  stderr: Readable;
  exited: Promise<{ exitCode: number | null; signal: string | null }>;
}

interface Following {
  spec: ProcessSpec;
  command: ShimCommand;
  shim: Shim;
  identity: ProcessIdentity;
  signal: AbortSignal;
  /** All processes of it that were ever seen. */
  known: Set<string>;
  ending: Ending;
}

async function startShim(spec: ProcessSpec, { file, args, cwd, env }: ShimCommand): Promise<Shim> {
  const name = spec.argv[0] ?? '';
  let output: FileHandle | undefined;
  try {
    output = spec.unbroken && (await open(spec.unbroken.outputPath, 'w', 0o600));
    const to = output?.fd ?? 'pipe';
    // A group and a session of its own; the fourth pipe is what the shim waits on.
    const child = spawn(file, args, { cwd, env, detached: true, stdio: ['ignore', to, to, 'pipe'] });
    await once(child, 'spawn');
    child.on('error', () => undefined);
    const gate = child.stdio[3] as Writable;
    const stdout = child.stdout ?? Readable.from([]);
    const stderr = child.stderr ?? Readable.from([]);
    for (const stream of [stdout, stderr, gate]) stream.on('error', () => undefined);
    const exited = once(child, 'exit').then((end) => {
      const [exitCode, signal] = end as [number | null, string | null];
      return { exitCode, signal };
    });
    return { child, gate, stdout, stderr, exited };
  } catch (error) {
    throw new CannotRunError(name, (error as Error).message, error);
  } finally {
    await output?.close();
  }
}

async function identify(
  spec: ProcessSpec,
  shim: Shim,
  token: string,
  bootId: string,
): Promise<ProcessIdentity> {
  const pid = shim.child.pid ?? 0;
  const row = readRow(pid);
  if (row) {
    const patience = spec.unbroken && { patienceMs: spec.timeoutMs };
    return { name: spec.name, pid, startTime: String(row.startTime), bootId, token, ...patience };
  }
  await holdBack(shim);
  throw new CannotRunError(spec.argv[0] ?? '', 'its process cannot be seen in /proc');
}

/** The program never begins: the shim ends as its pipe closes, and by KILL in any case. */
async function holdBack(shim: Shim): Promise<void> {
  shim.gate.destroy();
  shim.child.kill('SIGKILL');
  await shim.exited;
  shim.stdout.destroy();
  shim.stderr.destroy();
}

async function follow(following: Following): Promise<ProcessResult> {
  const { spec, command, shim, identity, signal, known, ending } = following;
  const stdout = drain(shim.stdout, spec.outputBytesMax);
  const stderr = drain(shim.stderr, spec.outputBytesMax);
  const ended = await firstEnd(spec, shim.exited, signal, ending.clock);
  // Before the drain: here, what left both leader and token behind is still found by the number of their group.
  await findFamily(identity, known, ended === null);
  if (ended) await endFamily(identity, spec.graceMs, known, ending);
  const exit = await shim.exited;
  await drained([stdout, stderr], ending.clock);
  const survivors = ended ? 0 : await countSurvivors(identity, known, ending.clock);
  for (const stream of [shim.stdout, shim.stderr]) letFlow(stream);
  const stdoutTail = spec.unbroken ? await tailOf(spec.unbroken.outputPath, spec) : stdout.tail.text();
  const stderrTail = stderr.tail.text();
  const refusal = ended
    ? undefined
    : refusalIn(exit.exitCode, spec.unbroken ? stdoutTail : stderrTail, command);
  if (refusal !== undefined) throw new CannotRunError(spec.argv[0] ?? '', refusal);
  return {
    ...exit,
    ended,
    stdoutTail,
    stderrTail,
    stderrLines: stderr.tail.lines(),
    survivors,
  };
}

async function countSurvivors(identity: ProcessIdentity, known: Set<string>, clock: Clock): Promise<number> {
  if ((await findFamily(identity, known)).length === 0) return 0;
  await clock.sleep(SURVIVOR_LOOK_MS);
  return (await findFamily(identity, known)).length;
}
