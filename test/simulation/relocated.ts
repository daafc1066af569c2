import { listDevice, type Scenario, scenarioFrom } from '../execution/power-scenario.ts';
import type { Files } from '../support/forgetful-files.ts';
import type { Random } from '../support/random.ts';

/** Where a scenario has its device by itself. */
const ROOTS = /(^|[^\w/])\/(device|other)(?=\/|$|\s)/g;

/** A job on a part of the device that is its own. */
export interface JobScenario extends Omit<Scenario, 'plan'> {
  home: string;
  /** Every entry of that part, as `old` and `new` have them. */
  list(files: Files): string[];
}

/** A scenario whose device stands below `home`, so that several of them share one disk. */
export function relocatedScenario(random: Random, home: string): JobScenario {
  const scenario = scenarioFrom(random);
  const moved = (text: string): string => text.replaceAll(ROOTS, `$1${home}/$2`);
  const document = JSON.parse(JSON.stringify(scenario.document), (_, value: unknown) => {
    // A program is told whose it is.
    if (Array.isArray(value) && value[0] === '/bin/program') return [...(value as unknown[]), home];
    return typeof value === 'string' ? moved(value) : value;
  }) as object;
  const programs = new Map(
    [...scenario.programs].map(([step, { program }]) => [
      step,
      { program: (files: Files) => program(below(files, home)) },
    ]),
  );
  return {
    ...scenario,
    document,
    programs,
    build: (files) => scenario.build(below(files, home)),
    home,
    list: (files) => listDevice(below(files, home)),
  };
}

/** The same files, seen from `home`; targets of links stay what they are. */
function below(files: Files, home: string): Files {
  const moved = (value: unknown): unknown =>
    typeof value === 'string' && /^\/(device|other)(\/|$)/.test(value) ? home + value : value;
  return new Proxy(files, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]): unknown => Reflect.apply(value, target, args.map(moved));
    },
  });
}
