import type { ResourceId } from '../../document/plan.ts';
import type { Before, Json } from '../step.ts';
import { isPackage, isPresent, type PackageState, packageFingerprint, packageId } from './database.ts';
import { debName } from './debs.ts';
import { type Arrival, type PackagePlan, touchedBy } from './simulation.ts';

/** What the undo of one package needs, as it stands in the before-image. */
export interface PackageImage {
  name: string;
  architecture: string;
  /** `null`: it was absent. */
  before: PackageState | null;
  /** The file of its old archive, where the step replaces or removes it. */
  archive: string | null;
  arrival: Arrival | null;
  removed: boolean;
}

/** The before-image of all packages of a plan. */
export function imagesOf(
  plan: PackagePlan,
  database: ReadonlyMap<ResourceId, PackageState>,
): Before['resources'] {
  return [...touchedBy(plan, database)].map(([id, before]) => {
    const arrival = plan.arrivals.find((one) => packageId(one) === id) ?? null;
    const removed = plan.removed.some((one) => packageId(one) === id);
    const leaves =
      isPresent(before) && before !== undefined && [...plan.replaced, ...plan.removed].includes(before);
    const { name, architecture } = before ?? (arrival as Arrival);
    const image: PackageImage = {
      name,
      architecture,
      before,
      archive: leaves ? debName(before) : null,
      arrival,
      removed,
    };
    return { id, fingerprint: packageFingerprint(before), image: image as unknown as Json };
  });
}

export function readImages(before: Before): Map<ResourceId, PackageImage> {
  const packages = before.resources.filter(({ id }) => isPackage(id));
  return new Map(packages.map(({ id, image }) => [id, image as unknown as PackageImage]));
}

export function plannedIn(before: Before): Pick<PackagePlan, 'arrivals' | 'removed'> {
  const images = [...readImages(before).values()];
  return {
    arrivals: images.flatMap(({ arrival }) => (arrival ? [arrival] : [])),
    removed: images.flatMap(({ removed, before: state }) => (removed && state ? [state] : [])),
  };
}
