import { bootId } from './boot.ts';
import type { Clock } from './clock.ts';
import type { Ending } from './process-ending.ts';
import { createProcessGroups } from './process-group.ts';
import { createProcessUnits, systemdVersion } from './process-unit.ts';
import type { Processes } from './processes.ts';
import type { Systemd } from './systemd.ts';

/** Which adapter runs the steps' processes; `auto` is for the configuration. */
export type ProcessesChoice = 'auto' | 'systemd' | 'group';

export interface ChosenProcesses {
  kind: 'systemd' | 'group';
  /** Why, for people. */
  reason: string;
}

/** Transient services need systemd as PID 1 and root; `auto` takes them only where the agent itself is a service. */
export async function chooseProcesses(
  choice: ProcessesChoice,
  systemd: Pick<Systemd, 'booted' | 'ownUnit'>,
  euid: number,
): Promise<ChosenProcesses> {
  if (choice === 'group') return { kind: 'group', reason: 'steps.processes says so' };
  if (!(await systemd.booted())) return { kind: 'group', reason: 'PID 1 is not systemd' };
  if (euid !== 0) return { kind: 'group', reason: 'the agent is not root' };
  if (choice === 'systemd') return { kind: 'systemd', reason: 'steps.processes says so' };
  const own = await systemd.ownUnit();
  return own === undefined
    ? { kind: 'group', reason: 'the agent runs in no service' }
    : { kind: 'systemd', reason: `the agent runs as ${own}` };
}

/** The adapter that was chosen; it also ends what the other one has left. */
export async function createProcesses(
  { kind }: ChosenProcesses,
  systemd: Systemd,
  deps: { clock: Clock; log?: Ending['log'] },
): Promise<Processes> {
  const boot = await bootId();
  const groups = createProcessGroups({ ...deps, bootId: boot });
  const version = (await systemd.booted()) ? await systemdVersion() : 0;
  const units = createProcessUnits({ ...deps, bootId: boot, version, ownUnit: await systemd.ownUnit() });
  return {
    run: kind === 'systemd' ? units.run : groups.run,
    fence: (identity, graceMs) =>
      identity.unit === undefined ? groups.fence(identity, graceMs) : units.fence(identity, graceMs),
  };
}
