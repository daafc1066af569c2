import type { Config } from '../config/config.ts';
import { systemClock } from '../host/clock.ts';
import { nodeDisk } from '../host/node-disk.ts';
import { countReceipts } from '../receipts/outbox.ts';
import { type Refusals, readRefusals } from '../receipts/refusals.ts';
import { askAgent } from './control/client.ts';
import type { LiveStatus } from './control/commands.ts';
import { isDenied, print, readStories, readSummaries } from './reading.ts';
import { readConfig } from './settings.ts';
import { paintFor } from './story/paper.ts';
import { statusLines } from './story/status-lines.ts';
import type { Story, StorySummary } from './story/story.ts';
import { watch } from './watch.ts';

/**
 * `evenkeel status`: what the agent does now and what the device needs of a person. What is not in any file (link,
 * move) is asked for; all else is in the state directory, so it tells something without an agent, too.
 */
export interface StatusReport {
  format: 1;
  /** Absent: none runs. `mute`: one runs and does not answer, for this reason. */
  agent?: LiveStatus | { mute: string };
  /** The job that is under way or was left open. */
  current?: Story;
  /** Newest first, at most ten. */
  jobs: StorySummary[];
  /** Executions that a person has to answer for, and journals that cannot be read. */
  needsHelp: StorySummary[];
  /** Receipts that the cloud has not taken yet. */
  receiptsWaiting: number;
  refusedChannels: Refusals;
}

export const STATUS_EXIT = { well: 0, cannotTell: 1, noAgent: 3, needsHelp: 4 } as const;

const HERE = { disk: nodeDisk, clock: systemClock };
const STATUS_LIMIT_MS = 5000;
const JOBS_MAX = 10;

export async function status(options: { config?: string; json?: boolean; watch?: boolean }): Promise<void> {
  const config = readConfig(options.config);
  if (options.watch) {
    await watch(() => gather(config), { json: options.json === true });
    return;
  }
  const report = await gather(config);
  if (options.json) print(JSON.stringify(report, null, 2));
  else for (const line of statusLines(report, systemClock.wallMs(), paintFor(process.stdout))) print(line);
  process.exitCode = exitCodeOf(report);
}

export function exitCodeOf({ agent, needsHelp }: StatusReport): number {
  if (needsHelp.length > 0) return STATUS_EXIT.needsHelp;
  if (!agent) return STATUS_EXIT.noAgent;
  return 'mute' in agent ? STATUS_EXIT.cannotTell : STATUS_EXIT.well;
}

export async function gather(config: Config): Promise<StatusReport> {
  const { directory } = config.state;
  const agent = await liveStatus(config);
  const summaries = await readSummaries(config);
  const open = summaries.find(({ state }) => state === 'underWay');
  const current =
    open && (await readStories(config, open.jobId).catch(() => [])).find(({ key }) => key === open.key);
  const live = agent && !('mute' in agent) ? agent : undefined;
  return {
    format: 1,
    ...(agent && { agent }),
    ...(current && { current }),
    jobs: [...summaries].reverse().slice(0, JOBS_MAX),
    needsHelp: summaries.filter(
      ({ state, outcome, resolved }) => state === 'unreadable' || (outcome === 'inconsistent' && !resolved),
    ),
    receiptsWaiting: await orLive(() => countReceipts(nodeDisk, directory), live?.receiptsWaiting ?? 0),
    refusedChannels: live?.refusedChannels ?? (await readRefusals(nodeDisk, directory)),
  };
}

async function orLive(read: () => Promise<number>, live: number): Promise<number> {
  try {
    return await read();
  } catch (error) {
    if (isDenied(error)) return live;
    throw error;
  }
}

/** What the running agent says of itself; why it says nothing; `undefined` where none runs. */
async function liveStatus({ state, control }: Config): Promise<StatusReport['agent']> {
  try {
    const answer = await askAgent<LiveStatus>(
      state.directory,
      { command: 'status' },
      { ...HERE, readers: control },
      STATUS_LIMIT_MS,
    );
    if (!answer) return undefined;
    return answer.ok ? answer.value : { mute: answer.error.message };
  } catch (error) {
    return { mute: (error as Error).message };
  }
}
