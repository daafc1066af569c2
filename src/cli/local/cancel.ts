import type { Cancelled } from '../../agent/agent.ts';
import type { Summary } from '../../agent/summary.ts';
import { readConfig } from '../settings.ts';
import { ask, EXIT, type LocalOptions, print, printJson } from './ask.ts';
import { endWords, follow } from './follow.ts';

export interface CancelOptions extends LocalOptions {
  reason: string;
  /** False: return as soon as it is durable. */
  wait: boolean;
}

type Taken = Extract<Cancelled, { ok: true }>;

/** `evenkeel cancel [JOB]`: turns the running job back, says how, and waits for what becomes of it. */
export async function cancel(jobId: string | undefined, options: CancelOptions): Promise<void> {
  const config = readConfig(options.config);
  const request = { command: 'cancel', reason: options.reason, ...(jobId !== undefined && { jobId }) };
  const taken = await ask<Taken>(config, request);
  if (!options.json) print(outlookWords(taken));
  let wasGone = false;
  const onLook = async (seen: Summary | 'noAgent'): Promise<unknown> => {
    if (seen === 'noAgent') {
      wasGone = true;
      return undefined;
    }
    if (seen.turned && !options.wait) return 'enough';
    // Killed between its answer and its journal, the agent knows nothing of it.
    if (wasGone && !seen.turned && seen.outcome === undefined) await ask<Taken>(config, request);
    wasGone = false;
    return undefined;
  };
  const seen = await follow(config, taken.key, onLook, new AbortController().signal);
  if (!seen) return;
  const hasEnded = seen.phase === 'closed';
  if (options.json) printJson({ ...taken, [hasEnded ? 'end' : 'seen']: seen });
  else if (hasEnded) print(endWords(seen));
  if (hasEnded) process.exitCode = exitAfterCancel(seen);
}

function outlookWords({ jobId, executionNumber, how, linkUp }: Taken): string {
  const name = `${jobId}#${executionNumber}`;
  if (how === 'rollsBack') {
    return `${name} is cancelled: its processes are ended, every step that has begun is undone and compared, and the cloud hears FAILED (localCancel).`;
  }
  const offline = linkUp ? '' : ' There is no link now: nothing is undone until the cloud has answered.';
  return `${name} has voted SUCCEEDED. That is taken back first: where the cloud takes an IN_PROGRESS before it, the job is rolled back; where it had accepted the vote, the job stands.${offline}`;
}

function exitAfterCancel({ outcome }: Summary): number {
  switch (outcome) {
    case 'rolledBack':
      return EXIT.done;
    case 'notReversed':
      return EXIT.notReversed;
    case 'inconsistent':
      return EXIT.inconsistent;
    default:
      return EXIT.otherwise;
  }
}
