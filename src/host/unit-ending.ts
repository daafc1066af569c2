import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Ending } from './process-ending.ts';
import { call, propertiesIn } from './systemd.ts';

/** TERM, grace, KILL, until nothing of one transient service is alive. */

const POLL_MIN_MS = 5;
const POLL_MAX_MS = 200;
const COMPLAIN_EVERY_MS = 60_000;
const ASK_AGAIN_MS = 1000;
const READ_RESULT_MS = 1000;
const PROPERTIES =
  'LoadState,ActiveState,SubState,Result,MainPID,ExecMainCode,ExecMainStatus,ControlGroup,InvocationID';
/** Where the hierarchy that systemd keeps its units in is mounted: v2, and v1 or the two together. */
const CGROUPS = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified', '/sys/fs/cgroup/systemd'];

/** A transient service as systemd knows it now. */
export interface RunningUnit {
  loaded: boolean;
  active: string;
  sub: string;
  result: string;
  mainPid: number;
  exitCode: number;
  exitStatus: number;
  controlGroup: string;
}

/** Asks until systemd answers: what cannot be seen is not known to have ended. */
export async function showUnit(unit: string): Promise<RunningUnit> {
  const { code, stdout, stderr } = await call('systemctl', [
    'show',
    '--no-pager',
    `--property=${PROPERTIES}`,
    '--',
    unit,
  ]);
  if (code !== 0) throw new Error(`cannot look at ${unit}: ${stderr.trim()}`);
  const said = propertiesIn(stdout);
  const of = (name: string): string => said.get(name) ?? '';
  return {
    loaded: of('LoadState') === 'loaded',
    active: of('ActiveState'),
    sub: of('SubState'),
    result: of('Result'),
    mainPid: Number(of('MainPID')) || 0,
    exitCode: Number(of('ExecMainCode')) || 0,
    exitStatus: Number(of('ExecMainStatus')) || 0,
    controlGroup: of('ControlGroup'),
  };
}

/** Its program has ended, and systemd has nothing to do with it any more. */
export function isAtRest({ active, sub }: RunningUnit): boolean {
  return active === 'failed' || active === 'inactive' || (active === 'active' && sub === 'exited');
}

/** The processes in a control group and in those below it. */
export async function pidsIn(controlGroup: string): Promise<number[]> {
  if (controlGroup === '' || controlGroup === '/') return [];
  for (const mount of CGROUPS) {
    const pids = await pidsBelow(join(mount, controlGroup));
    if (pids) return pids;
  }
  return [];
}

async function pidsBelow(path: string): Promise<number[] | undefined> {
  try {
    const own = (await readFile(join(path, 'cgroup.procs'), 'utf8')).split('\n').map(Number);
    const entries = await readdir(path, { withFileTypes: true });
    const below = await Promise.all(
      entries.filter((entry) => entry.isDirectory()).map(({ name }) => pidsBelow(join(path, name))),
    );
    return [...own.filter((pid) => pid > 0), ...below.flatMap((pids) => pids ?? [])];
  } catch {
    return undefined;
  }
}

/** Ends all processes of the service and resolves when none is alive, with how many there were; frees its name. */
export async function endUnit(unit: string, graceMs: number, { clock, log }: Ending): Promise<number> {
  const begunMs = clock.monotonicMs();
  const seen = new Set<number>();
  let group = '';
  let complainedMs = begunMs;
  let asked = false;
  for (let pauseMs = POLL_MIN_MS; ; pauseMs = Math.min(pauseMs * 2, POLL_MAX_MS)) {
    const state = await showUnit(unit).catch(() => undefined);
    if (!state) {
      await clock.sleep(ASK_AGAIN_MS);
      continue;
    }
    // A unit that has ended has no control group any more, and its processes may still be in it.
    if (state.controlGroup !== '') group = state.controlGroup;
    const pids = await pidsIn(group);
    for (const pid of pids) seen.add(pid);
    if (['inactive', 'failed'].includes(state.active) && pids.length === 0) break;
    // systemd itself sends TERM and CONT now, and KILL after the grace of the unit, also if this process ends.
    if (!asked) await call('systemctl', ['stop', '--no-block', '--no-ask-password', '--', unit]);
    asked = true;
    const nowMs = clock.monotonicMs();
    if (nowMs - begunMs >= graceMs) await kill(unit, pids);
    if (nowMs - complainedMs >= COMPLAIN_EVERY_MS) {
      complainedMs = nowMs;
      log?.warn({ unit, pids }, 'processes outlive KILL');
    }
    await clock.sleep(pauseMs);
  }
  await call('systemctl', ['reset-failed', '--', unit]);
  return seen.size;
}

/** Waits until the program of the service has ended, for `patienceMs` at most; what it has started is not waited for. */
export async function awaitUnit(unit: string, patienceMs: number, { clock, log }: Ending): Promise<void> {
  const begunMs = clock.monotonicMs();
  for (let pauseMs = POLL_MIN_MS; ; pauseMs = Math.min(pauseMs * 2, POLL_MAX_MS)) {
    const state = await showUnit(unit).catch(() => undefined);
    if (state && isAtRest(state)) {
      // Whoever still follows it reads its result first.
      await clock.sleep(READ_RESULT_MS);
      return;
    }
    if (clock.monotonicMs() - begunMs >= patienceMs) break;
    await clock.sleep(pauseMs);
  }
  log?.warn({ unit, patienceMs }, 'it does not end by itself');
}

async function kill(unit: string, pids: readonly number[]): Promise<void> {
  await call('systemctl', ['kill', '--signal=SIGKILL', '--', unit]);
  for (const pid of pids) {
    try {
      // Just seen in the control group of this unit, and nowhere else.
      process.kill(pid, 'SIGKILL');
    } catch {
      // Gone meanwhile.
    }
  }
}
