/**
 * What the public sources leave open, and what goes wrong only now and then: each point is one switch. Settable at the
 * start and while the simulator runs; the code reads a switch each time that it needs it.
 */

interface Choice<T> {
  values: readonly T[];
  default: T;
  rules: string;
  meaning: string;
}

interface Range {
  min: number;
  max: number;
  default: number;
  rules: string;
  meaning: string;
}

const flag = (value: boolean, rules: string, meaning: string): Choice<boolean> => ({
  values: [true, false],
  default: value,
  rules,
  meaning,
});

const choice = <const T extends string | number>(
  values: readonly T[],
  rules: string,
  meaning: string,
): Choice<T> => ({ values, default: values[0] as T, rules, meaning });

const range = (min: number, max: number, rules: string, meaning: string): Range => ({
  min,
  max,
  default: min,
  rules,
  meaning,
});

const HOUR_MS = 3_600_000;

/** The first value of a choice is its default: what was seen most often, or is documented best. */
export const SWITCHES = {
  terminalBeforeVersion: flag(true, 'E13', 'an ended execution and a stale version: the end is named first'),
  terminalCarriesState: flag(true, 'E4', 'a refused update of an ended execution carries its state'),
  versionIncrementOnServiceChange: flag(true, 'S13', 'a cancel or a time-out moves the version, too'),
  startNextAppliesStepTimeout: flag(
    true,
    'P13',
    'start-next sets the step timer of what is in progress already',
  ),
  queuedToSucceededAccepted: flag(true, 'S2', 'a device may report SUCCEEDED without IN_PROGRESS before'),
  httpStaleVersionError: choice(
    ['InvalidStateTransitionException', 'VersionConflictException'],
    'D4',
    'how the HTTPS data plane names a stale expectedVersion',
  ),
  notifyOnRetry: choice(
    ['twice', 'once'],
    'N18c',
    'notify for the end of an attempt and again for the next one, or once for both',
  ),
  notifyQos: choice([1, 0], 'T6', 'QoS of notify and notify-next'),
  notifyNextRepeats: flag(false, 'N19', 'notify-next comes again when the front itself reports'),
  closedWindowHidesInProgress: flag(
    false,
    'N18d',
    'when a maintenance window closes, what is in progress leaves the lists, too',
  ),
  omittedTemplateParameter: choice(
    ['emptyString', 'removed'],
    'J11',
    'what an omitted optional parameter of a template leaves in the document',
  ),
  lateTimersSeconds: range(0, 60, 'S24', 'how much later than announced a timer ends an execution'),
  consistencyGapMs: range(0, HOUR_MS, 'A5', 'how long $next/get does not see what has just been queued'),
  rolloutDelayMs: range(0, HOUR_MS, 'S29', 'time from CreateJob to its first execution, and of a deletion'),
} as const;

export type SwitchName = keyof typeof SWITCHES;

type ValueOf<S> = S extends { values: readonly (infer T)[] } ? T : number;

export type Switches = { [Name in SwitchName]: ValueOf<(typeof SWITCHES)[Name]> };

export const DEFAULT_SWITCHES = Object.fromEntries(
  Object.entries(SWITCHES).map(([name, { default: value }]) => [name, value]),
) as Switches;

/** What is wrong with a value for a switch; `undefined` when nothing is. */
export function faultOfSwitch(name: string, value: unknown): string | undefined {
  if (!Object.hasOwn(SWITCHES, name)) return `no switch "${name}"`;
  const allowed: Choice<unknown> | Range = SWITCHES[name as SwitchName];
  if ('values' in allowed)
    return allowed.values.includes(value)
      ? undefined
      : `${name}: must be one of ${allowed.values.join(', ')}`;
  const whole = typeof value === 'number' && Number.isInteger(value);
  return whole && value >= allowed.min && value <= allowed.max
    ? undefined
    : `${name}: must be a whole number from ${allowed.min} to ${allowed.max}`;
}

/** Sets some switches, all or none; throws for an unknown name or value. */
export function setSwitches(switches: Switches, changes: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(changes)) {
    const fault = faultOfSwitch(name, value);
    if (fault !== undefined) throw new Error(`cannot set a switch: ${fault}`);
  }
  Object.assign(switches, changes);
}

/** A switch as a person writes it, such as `lateTimersSeconds=60`. */
export function parseSwitch(text: string): Partial<Switches> {
  const [name = '', value = ''] = text.split(/=(.*)/s);
  const meant =
    value === 'true' ? true : value === 'false' ? false : /^\d+$/.test(value) ? Number(value) : value;
  const fault = faultOfSwitch(name, meant);
  if (fault !== undefined) throw new Error(`cannot read a switch: ${fault}`);
  return { [name]: meant };
}
