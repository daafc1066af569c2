import { join } from 'node:path';
import type { RotateCertificateStep } from '../document/plan.ts';
import { withPlace } from '../host/safe-paths.ts';
import { within } from '../host/within.ts';
import { removeTree } from '../store/atomic-file.ts';
import { afterOf, filePaths, withStaging } from './place-file.ts';
import type { DoOutcome, StepContext, StepType, UndoOutcome } from './step.ts';

/**
 * A new key and certificate for the device. The resource is the link to the ones in use: it changes in one rename, its
 * undo is the way back, and since the link to the cloud depends on it the agent connects anew before the vote (design
 * section 4). What it led to before is removed after the commit, and what it leads to now after a rollback.
 */
export const rotateCertificate: StepType<RotateCertificateStep> = {
  ...filePaths,
  async survey(step, context) {
    const survey = await filePaths.survey(step, context);
    if (step.link !== undefined && context.certificates) return survey;
    const reason = 'this device has no provisioning.rotationTemplate to get a certificate by';
    return { ...survey, problems: [...survey.problems, { kind: 'never', path: step.path, reason }] };
  },
  async do(step, before, _attempt, context, signal): Promise<DoOutcome> {
    const { certificates, clock, key } = context;
    const { link } = step;
    if (link === undefined || !certificates) return { result: 'failed', reason: 'nothing to rotate' };
    const name = nameOf(step, key);
    const obtained = await within(step.timeoutSeconds * 1000, clock, signal, (both) =>
      certificates.obtain(name, both),
    );
    if (signal.aborted) return { result: 'interrupted', reason: 'stopped while a certificate was asked for' };
    if (!obtained.ok) return { result: 'failed', reason: obtained.reason };
    await switchTo(name, link, step.index, context);
    const output = { stdout: `new certificate ${obtained.certificateId}`, stderr: '' };
    return { result: 'ok', after: await afterOf(before, context), output };
  },
  // The device cannot take its rights away in the cloud (that is an API of the account), so it is named to those who can.
  async undo(step, before, after, attempt, context): Promise<UndoOutcome> {
    const undone = await filePaths.undo(step, before, after, attempt, context);
    if (undone.result !== 'ok' || attempt.triedAgain) return undone;
    const made = await context.certificates?.made(nameOf(step, context.key));
    if (!made) return undone;
    const keptAs = made.registered ? 'registered in the cloud' : 'in the cloud, perhaps registered';
    return { ...undone, kept: [...undone.kept, { id: `certificate:${made.certificateId}`, keptAs }] };
  },
  settle(_step, _before, { certificates }) {
    certificates?.follow();
    return Promise.resolve({ result: 'ok', kept: [] });
  },
  async discard(step, context) {
    await filePaths.discard(step, context);
    await context.certificates?.prune();
  },
};

function nameOf({ index }: RotateCertificateStep, key: string): string {
  return `${key}-${index}`;
}

async function switchTo(name: string, link: string, index: number, context: StepContext): Promise<void> {
  const { disk } = context;
  await withStaging(link, context, async (own) => {
    const staged = join(own.path, `${index}-staged`);
    await removeTree(disk, staged);
    await disk.symlink(name, staged);
    await withPlace(disk, link, async (place) => {
      await disk.rename(staged, place.path);
      await place.directory.sync();
    });
  });
}
