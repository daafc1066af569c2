import type { ResourceId } from '../document/plan.ts';
import { fingerprintAt } from './fingerprint.ts';
import { pathOf } from './own-directory.ts';
import type { Fingerprint, StepContext } from './step.ts';

/** What cannot be looked at begins like this. */
export const UNREADABLE = 'cannot be read: ';

/** The fingerprints of resources as they are now. What cannot be looked at compares equal to nothing. */
export async function observe(
  ids: readonly ResourceId[],
  context: Pick<StepContext, 'disk'>,
): Promise<Map<ResourceId, Fingerprint>> {
  const found = new Map<ResourceId, Fingerprint>();
  for (const id of ids) {
    const now = await fingerprintAt(context.disk, pathOf(id)).catch(
      (error: unknown) => `${UNREADABLE}${(error as Error).message}`,
    );
    found.set(id, now);
  }
  return found;
}
