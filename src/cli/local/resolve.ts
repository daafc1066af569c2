import type { Resolution, ResolvedJob } from '../../agent/resolve.ts';
import { resourceOf } from '../../document/plan.ts';
import { CommandFailed } from '../command-failed.ts';
import { readConfig } from '../settings.ts';
import { ask, EXIT, type LocalOptions, print, printJson } from './ask.ts';

export interface ResolveOptions extends LocalOptions {
  accept?: boolean;
  reason?: string;
  look?: boolean;
}

/** `evenkeel resolve`: answers for an INCONSISTENT device. */
export async function resolve(options: ResolveOptions): Promise<void> {
  const { accept = false, reason, look = false } = options;
  if (accept && reason === undefined) {
    throw new CommandFailed(
      'cannot accept without --reason: it goes into the receipt, for whoever asks later',
    );
  }
  if (accept && look) throw new CommandFailed('cannot accept and only look');
  const resolution = await ask<Resolution>(readConfig(options.config), {
    command: 'resolve',
    lookOnly: look,
    ...(accept && { accept: reason }),
  });
  if (options.json) printJson(resolution);
  else for (const line of resolutionWords(resolution)) print(line);
  const { jobs, corrupt } = resolution;
  const isLeft = jobs.some(({ resolved }) => !resolved) || corrupt.some(({ setAside }) => !setAside);
  if (isLeft) process.exitCode = EXIT.inconsistent;
}

const NOW = { old: 'as before the job', new: 'as the job left it', neither: 'neither old nor new' } as const;

function resolutionWords({ jobs, corrupt }: Resolution): string[] {
  if (jobs.length + corrupt.length === 0) return ['nothing to resolve: the device is not INCONSISTENT'];
  const journals = corrupt.map(({ key, reason, setAside }) =>
    setAside
      ? `journal ${key} is set aside as ${key}.corrupt`
      : `journal ${key} tells nothing certain (${reason}); only --accept sets it aside`,
  );
  return [...jobs.flatMap(jobWords), ...journals];
}

function jobWords({ jobId, executionNumber, items, undone, resolved }: ResolvedJob): string[] {
  const left = items.filter(({ now }) => now === 'neither');
  return [
    `${jobId}#${executionNumber}`,
    ...undone.map(({ step, failed }) => `  undo of ${step} tried again: ${failed ?? 'done'}`),
    ...items.map(({ id, now }) => `  ${resourceOf(id).name}: ${NOW[now]}`),
    ...verdictWords(left.length, resolved),
  ];
}

function verdictWords(left: number, resolved: boolean): string[] {
  if (resolved) {
    return [left === 0 ? '  resolved; jobs are begun again' : '  accepted as it is; jobs are begun again'];
  }
  if (left === 0) return ['  nothing is left: evenkeel resolve lifts the mark'];
  return [
    '  Put it right by hand and run evenkeel resolve again, or send a job with repair: true;',
    '  or take it as it is: evenkeel resolve --accept --reason "..."',
  ];
}
