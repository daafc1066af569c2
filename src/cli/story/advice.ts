import { resourceOf } from '../../document/plan.ts';
import type { Progress } from '../../execution/progress.ts';
import type { StorySummary } from './story.ts';

/** What a person should do about an execution, most urgent first; nothing where all is as it should be. */
export function adviceFor(summary: StorySummary, progress: Progress | undefined): string[] {
  const { jobId, state, outcome, resolved, wrong } = summary;
  if (state === 'unreadable') return unreadableAdvice(wrong ?? '');
  if (!progress) return [];
  const kept = progress.steps.flatMap((step) => step.kept.map(({ keptAs }) => keptAs));
  const keptAdvice =
    kept.length === 0
      ? []
      : [`found neither old nor new, and kept in the execution's directory: ${kept.join(' ')}`];
  switch (outcome) {
    case 'inconsistent':
      if (resolved) return keptAdvice;
      return [
        `the device starts nothing but a repair until these are answered for: ${itemsOf(progress)}`,
        `put them right by a job with "repair": true, or by hand, and then: evenkeel resolve ${jobId}`,
        ...keptAdvice,
      ];
    case 'notReversed':
      return [
        progress.verdict && progress.verdict.notUndone.length > 0
          ? `look at what these steps do outside of what they declare: ${progress.verdict.notUndone.map((step) => step + 1).join(', ')} (their effects may still be there)`
          : `still as the job left them: ${itemsOf(progress)}`,
        'the next job is not held up by this',
        ...keptAdvice,
      ];
    case 'rolledBack':
      return [
        ...(progress.verdict?.verified === false
          ? ['an undo of a step cannot be compared with what was before: look whether it did its work']
          : []),
        ...keptAdvice,
      ];
    case 'committed':
      return exceptionAdvice(summary);
    case 'underWay':
    case 'unknown':
      return [];
  }
}

function unreadableAdvice(wrong: string): string[] {
  if (wrong.includes('newer version')) {
    return ['install the newer version again: this one touches nothing'];
  }
  return [
    'the disk lost what was written (dmesg, smartctl, a worn card?); the device starts nothing but a repair',
    'evenkeel bundle collects what support wants to see',
  ];
}

function exceptionAdvice({ exception, jobId }: StorySummary): string[] {
  switch (exception) {
    case undefined:
      return [];
    case 'endedInDoubt':
      return [
        'nobody could say whether SUCCEEDED was accepted, and the new state was kept (commit.inDoubt): does the device run what the fleet should run?',
      ];
    case 'keptAfterVote':
      return [
        'the cloud had timed out or removed the job, and the new state was kept (commit.timedOutAfterVote)',
      ];
    case 'pivotPassed':
      return ['the cloud ended it past its pivot, so it was finished forward: the new state stays'];
    default:
      return [`the job is done, but not what was put off behind it; look with: evenkeel show ${jobId}`];
  }
}

function itemsOf({ verdict }: Progress): string {
  return (verdict?.items ?? []).map(({ id }) => nameOf(id)).join(' ');
}

/** A path by itself, everything else with its kind. */
export function nameOf(id: string): string {
  const { kind, name } = resourceOf(id);
  return kind === 'path' ? name : `${kind} ${name}`;
}
