import type { Summary } from '../../agent/summary.ts';
import type { Config } from '../../config/config.ts';
import { systemClock } from '../../host/clock.ts';
import { CommandFailed } from '../command-failed.ts';
import { ask, EXIT } from './ask.ts';

const LOOK_MS = 300;
/** An agent that ended is started again by systemd, and goes on from its journal. */
const AGENT_WAIT_MS = 60_000;

/**
 * Looks at an execution until it is closed, over restarts of the agent. `onLook` sees each look, and may say that it
 * has seen enough. `undefined` when `signal` aborts first.
 */
export async function follow(
  config: Config,
  key: string,
  onLook: (summary: Summary | 'noAgent') => unknown,
  signal: AbortSignal,
): Promise<Summary | undefined> {
  let lastSeenMs = systemClock.monotonicMs();
  while (!signal.aborted) {
    const seen = await look(config, key);
    const enough = (await onLook(seen)) === 'enough';
    if (seen !== 'noAgent') {
      if (enough || seen.phase === 'closed') return seen;
      lastSeenMs = systemClock.monotonicMs();
    } else if (systemClock.monotonicMs() - lastSeenMs > AGENT_WAIT_MS) {
      const reason = 'the agent has ended and does not come back; it goes on with the job when it starts';
      throw new CommandFailed(reason, EXIT.noAgent);
    }
    await systemClock.sleep(LOOK_MS, signal).catch(() => undefined);
  }
  return undefined;
}

async function look(config: Config, key: string): Promise<Summary | 'noAgent'> {
  try {
    return await ask<Summary>(config, { command: 'summary', key });
  } catch (error) {
    // Also while an agent that has just started is still opening its journals.
    if (error instanceof CommandFailed) return 'noAgent';
    throw error;
  }
}

/** How an execution ended, in a line. */
export function endWords({
  jobId,
  executionNumber,
  outcome,
  deviceState,
  verified,
  ...rest
}: Summary): string {
  const name = `${jobId}#${executionNumber}`;
  const { items = [], notUndone = [], cause } = rest;
  const why = cause === undefined ? '' : ` (${cause})`;
  switch (outcome) {
    case 'committed':
      return `${name} has succeeded; the device is new`;
    case 'rolledBack':
      return `${name} is rolled back${why}; the device is ${deviceState ?? 'unknown'}${verified ? ', every file compared' : ', not verified'}`;
    case 'notReversed':
      return `${name} is not fully reversed${why}: ${[...notUndone, ...items].join(', ')}`;
    case 'inconsistent':
      return `${name} left the device INCONSISTENT${why}, neither old nor new: ${items.join(' ')}; see evenkeel resolve`;
    default:
      return `${name} has not ended`;
  }
}
