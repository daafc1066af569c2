import { namesOf } from '../document/plan.ts';
import { SystemdFailed } from '../host/systemd.ts';
import { holds } from './own-directory.ts';
import type { StepType } from './step.ts';

const UNIT_DIRECTORIES = [
  '/etc/systemd/system',
  '/usr/local/lib/systemd/system',
  '/usr/lib/systemd/system',
  '/lib/systemd/system',
];
const RELOADED = 'systemd:reload';

/** Behind all undos the service manager reads anew what has been put back under it, once. */
export const settleManager: NonNullable<StepType['settle']> = async (step, _before, { systemd }, settled) => {
  const touched = namesOf('path', step.touches);
  const concerns = touched.some((path) =>
    UNIT_DIRECTORIES.some((root) => path === root || holds(root, path) || holds(path, root)),
  );
  if (!concerns || settled.has(RELOADED) || !(await systemd.booted())) return { result: 'ok', kept: [] };
  settled.add(RELOADED);
  try {
    await systemd.reload();
    return { result: 'ok', kept: [] };
  } catch (error) {
    if (error instanceof SystemdFailed) return { result: 'failed', reason: error.message };
    throw error;
  }
};
