import type { Fields } from './fields.ts';
import { type ACTION, HEALTH_SECONDS, type INPUTS, STEP_TIMEOUT_SECONDS } from './inputs.ts';
import type { Values } from './members.ts';
import type { Grade, PlanStep, ResourceId, StepBase, StockHandler, UnitsStep } from './plan.ts';

/** What the readers of actions and of stock handlers share: an action, and the steps that both can make of one. */

const MEGABYTE = 1_048_576;
export const REBOOT_TIMEOUT_SECONDS = 600;

export interface ActionFacts {
  index: number;
  /** The link to the credential in use, on a device that can be given another one. */
  credentialLink: string | undefined;
}

/** One action, with all that its object says, whatever its type. */
export interface Action extends ActionFacts {
  fields: Fields;
  said: Values<typeof ACTION>;
  /** It names a handler of AWS IoT Device Client. */
  stock?: StockHandler;
}

/** `others`: what the step touches besides paths. */
export function base(
  { fields, said, index, stock }: Action,
  own: Grade,
  targets: readonly string[],
  others: readonly ResourceId[] = [],
): StepBase {
  const { name, runAsUser, timeoutSeconds, undo, snapshotPaths, memoryMegabytesMax, tasksMax } = said;
  const paths = [...new Set([...targets, ...snapshotPaths])];
  return {
    index,
    path: fields.path,
    name: name ?? `step ${index + 1}`,
    ...(stock && { stock }),
    ...(runAsUser !== undefined && { runAsUser }),
    timeoutSeconds: timeoutSeconds ?? STEP_TIMEOUT_SECONDS,
    ignoreFailure: said.ignoreStepFailure,
    idempotent: said.idempotent,
    pivot: said.pivot,
    ...(memoryMegabytesMax !== undefined && { memoryBytesMax: memoryMegabytesMax * MEGABYTE }),
    ...(tasksMax !== undefined && { tasksMax }),
    ...(undo && { undo }),
    touches: [...paths.map((path) => `path:${path}`), ...others],
    grade: own === 'none' ? commandGrade(undo !== undefined, paths.length > 0) : own,
  };
}

/** `package:NAME` for each; the survey finds out what else they bring or take along. */
export function packageBase(action: Action, words: readonly string[]): StepBase {
  const planned = base(action, 'full', []);
  const named = words.map((word) => `package:${word.replace(/=.*/, '')}`);
  return { ...planned, touches: [...named, ...planned.touches] };
}

/** A command is worth what its author declared: paths can be compared, an undo command only believed. */
function commandGrade(hasUndo: boolean, hasPaths: boolean): Grade {
  if (hasPaths) return 'full';
  return hasUndo ? 'bestEffort' : 'none';
}

export function stderrLimit({ said }: Action): { stderrLinesMax?: number } {
  return said.allowStdErr === undefined ? {} : { stderrLinesMax: said.allowStdErr };
}

/** Touches nothing that could be put back. */
export const neutral = (action: Action) => ({ ...base(action, 'full', []), touches: [], idempotent: true });

export function rebootStep(action: Action): PlanStep & { type: 'reboot' } {
  return {
    ...neutral(action),
    type: 'reboot',
    endsBoot: true,
    timeoutSeconds: action.said.timeoutSeconds ?? REBOOT_TIMEOUT_SECONDS,
  };
}

export function shutdownStep(action: Action): PlanStep & { type: 'shutdown' } {
  return { ...neutral(action), type: 'shutdown', finishEndsBoot: true };
}

export function unitsStep(
  type: UnitsStep['type'],
  action: Action,
  { services, healthSeconds = HEALTH_SECONDS }: Values<(typeof INPUTS)['startServices']>,
): UnitsStep {
  const touched = services.map((unit) => `unit:${unit}`);
  return { ...base(action, 'full', [], touched), type, idempotent: true, units: services, healthSeconds };
}

export function download(action: Action, from: string, target: string): PlanStep & { type: 'downloadFile' } {
  return {
    ...base(action, 'full', [target]),
    type: 'downloadFile',
    url: from,
    urlHasQuery: hasQuery(from),
    target,
  };
}

export function hasQuery(from: string): boolean {
  return URL.canParse(from) && new URL(from).search !== '';
}
