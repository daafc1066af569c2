import { basename } from 'node:path';
import type { PlanStep } from '../../document/plan.ts';
import { stepTypeOf } from '../../steps/registry.ts';
import type { StepType } from '../../steps/step.ts';

/** What cannot be done in a view without leaving it: there is no init, no other device, and no clock to set there. */
const TYPES: ReadonlySet<string> = new Set([
  'startServices',
  'stopServices',
  'restartServices',
  'reboot',
  'shutdown',
]);
const PROGRAMS: ReadonlySet<string> = new Set([
  'date',
  'halt',
  'hostnamectl',
  'hwclock',
  'insmod',
  'ip',
  'iptables',
  'loginctl',
  'modprobe',
  'mount',
  'nft',
  'nmcli',
  'poweroff',
  'reboot',
  'service',
  'shutdown',
  'sysctl',
  'systemctl',
  'timedatectl',
  'umount',
]);

/** The step is played by a stand-in, which does nothing and succeeds. */
export function isStoodIn(step: PlanStep): boolean {
  if (TYPES.has(step.type)) return true;
  if (step.type === 'check') return step.check.kind === 'http' || isPlayed(programOf(step));
  return isPlayed(programOf(step));
}

function isPlayed(program: string | undefined): boolean {
  return program !== undefined && PROGRAMS.has(basename(program));
}

function programOf(step: PlanStep): string | undefined {
  if (step.type === 'runCommand') return step.argv[0];
  return step.type === 'check' && step.check.kind === 'command' ? step.check.argv[0] : undefined;
}

/** The step type that a rehearsal runs. */
export function rehearsedTypeOf(step: PlanStep): StepType {
  const real = stepTypeOf(step);
  return isStoodIn(step) ? { ...STAND_IN, survey: real.survey.bind(real) } : real;
}

const STAND_IN: Omit<StepType, 'survey'> = {
  prepare: () => Promise.resolve({ ok: true, before: { resources: [] } }),
  do: () => Promise.resolve({ result: 'ok', after: { resources: [] } }),
  undo: () => Promise.resolve({ result: 'ok', kept: [] }),
  discard: () => Promise.resolve(),
};
