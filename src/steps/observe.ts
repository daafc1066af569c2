import { type ResourceId, resourceOf } from '../document/plan.ts';
import { ABSENT, fingerprintAt } from './fingerprint.ts';
import { isPackage, observePackages } from './packages/database.ts';
import type { Fingerprint, StepContext } from './step.ts';
import { unitFingerprint } from './units.ts';

/** What cannot be looked at begins like this. */
export const UNREADABLE = 'cannot be read: ';

export type ObserveContext = Pick<StepContext, 'disk' | 'systemd' | 'clock' | 'processes'>;

/** How each kind of resource is looked at, by its name within the kind. */
const LOOKS: Readonly<Record<string, (name: string, context: ObserveContext) => Promise<Fingerprint>>> = {
  path: (path, { disk }) => fingerprintAt(disk, path),
  unit: unitFingerprint,
};

/** The fingerprints of resources as they are now. What cannot be looked at compares equal to nothing. */
export async function observe(
  ids: readonly ResourceId[],
  context: ObserveContext,
): Promise<Map<ResourceId, Fingerprint>> {
  const found = new Map<ResourceId, Fingerprint>();
  const packages = ids.filter(isPackage);
  if (packages.length > 0) {
    const states = await observePackages(packages, context).catch((error: unknown) => error as Error);
    for (const id of packages) {
      found.set(id, states instanceof Error ? `${UNREADABLE}${states.message}` : (states.get(id) ?? ABSENT));
    }
  }
  for (const id of ids) {
    if (found.has(id)) continue;
    const now = await look(id, context).catch((error: unknown) => `${UNREADABLE}${(error as Error).message}`);
    found.set(id, now);
  }
  return found;
}

async function look(id: ResourceId, context: ObserveContext): Promise<Fingerprint> {
  const { kind, name } = resourceOf(id);
  const how = LOOKS[kind];
  if (!how) throw new Error(`this version knows no resources of the kind ${kind}`);
  return await how(name, context);
}
