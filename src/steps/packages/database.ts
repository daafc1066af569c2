import type { ResourceId } from '../../document/plan.ts';
import { readFileBounded } from '../../store/atomic-file.ts';
import { ABSENT } from '../fingerprint.ts';
import type { Fingerprint, StepContext } from '../step.ts';
import { ask, reasonOf } from './apt.ts';

/** The package database as dpkg and apt tell it. */

export interface PackageState {
  name: string;
  architecture: string;
  version: string;
  /** The selection: `install`, `hold`, `deinstall`, `purge`. */
  want: string;
  /** `ok`, or `reinstreq`. */
  error: string;
  /** `installed`, `config-files`, `half-configured`, … */
  status: string;
  /** It came as a dependency, and may go with what needed it. */
  auto: boolean;
}

export type Database = ReadonlyMap<ResourceId, PackageState>;

const FORMAT =
  '${Package}\\t${Architecture}\\t${Version}\\t${db:Status-Want}\\t${db:Status-Eflag}\\t${db:Status-Status}\\n';
const EXTENDED_STATES = '/var/lib/apt/extended_states';
const EXTENDED_STATES_BYTES_MAX = 64 * 1024 * 1024;

export function packageId({ name, architecture }: Pick<PackageState, 'name' | 'architecture'>): ResourceId {
  return `package:${name}:${architecture}`;
}

export function isPackage(id: ResourceId): boolean {
  return id.startsWith('package:');
}

/** Files of it are on the device, or may be: anything but absent and left-over configuration. */
export function isPresent(state: PackageState | null | undefined): state is PackageState {
  return state !== null && state !== undefined && state.status !== 'config-files';
}

/** All packages that the database knows, by id. */
export async function readDatabase(context: Pick<StepContext, 'disk' | 'processes'>): Promise<Database> {
  const said = await ask(['dpkg-query', '-W', '-f', FORMAT], context);
  if (said.exitCode !== 0) throw new Error(`cannot read the package database: ${reasonOf(said)}`);
  const auto = await readAutoMarks(context);
  const database = new Map<ResourceId, PackageState>();
  for (const line of said.stdout.split('\n')) {
    const [name, architecture, version, want, error, status] = line.split('\t');
    if (name === undefined || architecture === undefined || version === undefined) continue;
    if (want === undefined || error === undefined || status === undefined || status === 'not-installed')
      continue;
    const isAuto =
      auto.has(`${name}:${architecture}`) || (architecture === 'all' && auto.has(`${name}:native`));
    const state = { name, architecture, version, want, error, status, auto: isAuto };
    database.set(packageId(state), state);
  }
  return database;
}

/** Architecture-independent packages stand there under the machine's own architecture. */
async function readAutoMarks({ disk }: Pick<StepContext, 'disk'>): Promise<Set<string>> {
  const bytes = await readFileBounded(disk, EXTENDED_STATES, EXTENDED_STATES_BYTES_MAX);
  const marks = new Set<string>();
  for (const stanza of Buffer.from(bytes ?? [])
    .toString()
    .split(/\n\n+/)) {
    const field = (name: string): string =>
      new RegExp(`^${name}: *(.*)$`, 'm').exec(stanza)?.[1]?.trim() ?? '';
    if (field('Auto-Installed') !== '1') continue;
    marks.add(`${field('Package')}:${field('Architecture')}`);
    marks.add(`${field('Package')}:native`);
  }
  return marks;
}

/** One line that compares equal exactly when version, selection, state and mark do. */
export function packageFingerprint(state: PackageState | null | undefined): Fingerprint {
  if (!state) return ABSENT;
  // The version of left-over configuration means nothing any more.
  if (state.status === 'config-files') return state.status;
  const { want, error, status, version, auto } = state;
  return `${want} ${error} ${status} ${version} ${auto ? 'auto' : 'manual'}`;
}

/** The fingerprints of packages as they are now. */
export async function observePackages(
  ids: readonly ResourceId[],
  context: Pick<StepContext, 'disk' | 'processes'>,
): Promise<Map<ResourceId, Fingerprint>> {
  const database = await readDatabase(context);
  return new Map(ids.map((id) => [id, packageFingerprint(database.get(id))]));
}

/** What `dpkg --audit` finds wrong; empty on a sound device. */
export async function auditOf(context: Pick<StepContext, 'processes'>): Promise<string> {
  const said = await ask(['dpkg', '--audit'], context);
  return said.stdout.trim();
}
