import type { AgentStatus } from '../../agent/agent.ts';
import type { Inhibition } from '../../agent/inhibition.ts';
import { CommandFailed } from '../command-failed.ts';
import type { LiveStatus } from '../control/commands.ts';
import { readConfig } from '../settings.ts';
import { duration } from '../story/words.ts';
import { ask, type LocalOptions, print, printJson } from './ask.ts';
import { durationMs } from './duration.ts';

export interface InhibitOptions extends LocalOptions {
  reason: string;
  for: string;
  steps?: boolean;
}

/** `evenkeel inhibit`: a local application is busy; no job is begun, and with `--steps` no step. */
export async function inhibit(options: InhibitOptions): Promise<void> {
  const forMs = durationMs(options.for);
  if (forMs === undefined) {
    throw new CommandFailed(
      `cannot inhibit for ${options.for}: say it like 90s, 30m, 12h or 7d, which is the longest`,
    );
  }
  const config = readConfig(options.config);
  const { reason, steps = false } = options;
  const inhibition = await ask<Inhibition>(config, { command: 'inhibit', reason, steps, forMs });
  const { agent } = await ask<LiveStatus>(config, { command: 'status' });
  if (options.json) printJson({ inhibition, ...(agent.job && { job: agent.job }) });
  else for (const line of inhibitionWords(inhibition, agent.job)) print(line);
}

function inhibitionWords({ leftMs, steps }: Inhibition, job: AgentStatus['job']): string[] {
  const what = steps ? 'no job and no step is begun' : 'no job is begun';
  const lines = [`${what} for ${duration(leftMs)}, or until evenkeel allow`];
  if (!job) return lines;
  const name = `${job.jobId}#${job.executionNumber}`;
  if (!steps)
    return [...lines, `${name} runs already and is not held back; --steps would, behind its present step`];
  return [
    ...lines,
    `${name} is held back behind its present step, for half of the time at most that its timers leave it; a rollback is never held back`,
  ];
}

/** `evenkeel allow`: it is busy no more. */
export async function allow(options: LocalOptions): Promise<void> {
  const lifted = await ask<boolean>(readConfig(options.config), { command: 'allow' });
  if (options.json) printJson({ lifted });
  else print(lifted ? 'jobs are begun again' : 'nothing was inhibited');
}
