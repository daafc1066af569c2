import type { PlanStep } from '../../document/plan.ts';
import type { StepContext } from '../step.ts';
import { APT_GET, ask, reasonOf } from './apt.ts';
import { type Database, type PackageState, packageId } from './database.ts';

export type PackageStep = PlanStep & { type: 'installPackages' | 'removePackages' };

export interface Arrival {
  name: string;
  architecture: string;
  version: string;
}

/** What apt would do, to the last package. */
export interface PackagePlan {
  arrivals: readonly Arrival[];
  /** Of installed packages that arrivals replace. */
  replaced: readonly PackageState[];
  removed: readonly PackageState[];
  /** Named by the document and installed already: at most their mark changes. */
  named: readonly PackageState[];
}

export type Simulation = { ok: true; plan: PackagePlan } | { ok: false; reason: string };

const NAME = '([a-z0-9][a-z0-9.+-]*)(?::([a-z0-9-]+))?';
const ARRIVAL = new RegExp(`^Inst ${NAME} (?:\\[[^\\]]*\\] )?\\(([^ )]+) (?:.* )?\\[([a-z0-9-]+)\\]\\)`);
const REMOVAL = new RegExp(`^(?:Remv|Purg) ${NAME} `);

/** The words of the command that does the step; `exact` are versions that a plan has settled on. */
export function commandOf(step: PackageStep, exact: readonly Arrival[] = []): string[] {
  if (step.type === 'removePackages') return ['remove', '--', ...step.packages];
  const words = step.packages.map((word) => {
    const [asked = '', version] = word.split('=');
    const [name, architecture] = asked.split(':');
    const settled = exact.find((one) => one.name === name && isOf(one.architecture, architecture));
    return version === undefined && settled ? `${asked}=${settled.version}` : word;
  });
  return ['install', '--', ...words];
}

/** Asks apt for the exact plan. Changes nothing, and needs no lock. */
export async function simulate(
  step: PackageStep,
  database: Database,
  context: Pick<StepContext, 'processes'>,
): Promise<Simulation> {
  const said = await ask([...APT_GET, '-s', ...commandOf(step)], context);
  if (said.exitCode !== 0) return { ok: false, reason: `apt cannot do it: ${reasonOf(said)}` };
  return readPlan(step, said.stdout, database);
}

function readPlan(step: PackageStep, text: string, database: Database): Simulation {
  const arrivals: Arrival[] = [];
  const replaced: PackageState[] = [];
  const removed: PackageState[] = [];
  for (const line of text.split('\n')) {
    if (/^(Remv|Purg) /.test(line)) {
      const [, name = '', architecture] = REMOVAL.exec(line) ?? [];
      const known = installed(database, name, architecture);
      if (!known) return { ok: false, reason: `apt would remove what is not installed: "${line}"` };
      removed.push(known);
    } else if (line.startsWith('Inst ')) {
      const [, name = '', foreign, version = '', architecture = ''] = ARRIVAL.exec(line) ?? [];
      if (name === '') return { ok: false, reason: `cannot understand apt: "${line}"` };
      arrivals.push({ name, architecture, version });
      const known = installed(database, name, foreign ?? architecture);
      if (known) replaced.push(known);
    }
  }
  const plan = { arrivals, replaced, removed: removed.filter((one) => !replaced.includes(one)), named: [] };
  return withNamed(step, plan, database);
}

/** What the document names must be what apt understood: a package of exactly that name. */
function withNamed(step: PackageStep, plan: PackagePlan, database: Database): Simulation {
  if (step.type === 'removePackages' && plan.arrivals.length > 0) {
    return {
      ok: false,
      reason: `removing would install ${plan.arrivals.map(({ name }) => name).join(', ')}`,
    };
  }
  const named: PackageState[] = [];
  for (const word of step.packages) {
    const [name = '', architecture] = word.replace(/=.*/, '').split(':');
    const known = installed(database, name, architecture);
    const arrives = plan.arrivals.some((one) => one.name === name && isOf(one.architecture, architecture));
    if (known && ![...plan.replaced, ...plan.removed].includes(known)) named.push(known);
    if (!known && !arrives && step.type === 'installPackages') {
      return { ok: false, reason: `apt takes "${word}" for something else than a package of that name` };
    }
  }
  return { ok: true, plan: { ...plan, named } };
}

function installed(
  database: Database,
  name: string,
  architecture: string | undefined,
): PackageState | undefined {
  const ofName = [...database.values()].filter(
    (one) => one.name === name && one.status !== 'config-files' && isOf(one.architecture, architecture),
  );
  return ofName[0];
}

/** Packages for all architectures count as being of any. */
function isOf(architecture: string, wanted: string | undefined): boolean {
  return wanted === undefined || wanted === 'all' || architecture === 'all' || architecture === wanted;
}

/** Everything that the plan touches: its state before, and what it becomes. */
export function touchedBy(plan: PackagePlan, database: Database): Map<string, PackageState | null> {
  const touched = new Map<string, PackageState | null>();
  for (const state of [...plan.replaced, ...plan.removed, ...plan.named])
    touched.set(packageId(state), state);
  for (const arrival of plan.arrivals) {
    const id = packageId(arrival);
    if (!touched.has(id)) touched.set(id, database.get(id) ?? null);
  }
  return touched;
}

/** The same to apt, whatever else may have happened meanwhile. */
export function samePlan(a: PackagePlan, b: PackagePlan): boolean {
  return describePlan(a) === describePlan(b);
}

export function describePlan({ arrivals, removed }: Pick<PackagePlan, 'arrivals' | 'removed'>): string {
  const lines = [
    ...arrivals.map(({ name, architecture, version }) => `install ${name}:${architecture} ${version}`),
    ...removed.map(({ name, architecture, version }) => `remove ${name}:${architecture} ${version}`),
  ];
  return lines.sort().join('\n');
}
