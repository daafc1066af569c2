import { systemClock } from '../host/clock.ts';
import { nodeDisk } from '../host/node-disk.ts';
import { CommandFailed } from './command-failed.ts';
import { askAgent } from './control/client.ts';
import { readConfig } from './settings.ts';
import { readAll, type Told } from './story/journals.ts';

/**
 * What the package asks before it is removed: with a job in the middle the device would stay half old and half new,
 * with nobody there to put it back. `force` turns the job back first, by the agent that runs.
 */

const LIMIT_MS = 30 * 60_000;
const LOOK_MS = 1000;
const HINT =
  'let it end, or cancel it; EVENKEEL_REMOVE=force in the environment of apt turns it back before the removal';

export async function beforeRemoval(options: { config?: string; force?: boolean }): Promise<void> {
  const { directory } = readConfig(options.config).state;
  const open = await openIn(directory);
  const [first] = open;
  if (!first) return;
  if (options.force !== true) throw new CommandFailed(`cannot remove evenkeel: ${nameOf(first)}; ${HINT}`);
  for (let waitedMs = 0; ; waitedMs += LOOK_MS) {
    const left = (await openIn(directory)).filter(isReadable);
    const [next] = left;
    if (!next) break;
    const request = { command: 'cancel', reason: 'the agent is being removed' };
    const answer = await askAgent(directory, request, { disk: nodeDisk, clock: systemClock }).catch(
      () => null,
    );
    if (answer === undefined) throw new CommandFailed(`cannot turn back ${nameOf(next)}: no agent runs here`);
    if (waitedMs >= LIMIT_MS) throw new CommandFailed(`cannot remove evenkeel: ${nameOf(next)} still`);
    await systemClock.sleep(LOOK_MS);
  }
  for (const told of await openIn(directory)) process.stderr.write(`left as it is: ${nameOf(told)}\n`);
}

async function openIn(directory: string): Promise<Told[]> {
  return (await readAll(nodeDisk, directory)).filter((told) => told.progress?.phase !== 'closed');
}

function isReadable({ wrong, newerFormat }: Told): boolean {
  return wrong === undefined && newerFormat === undefined;
}

function nameOf(told: Told): string {
  if (!isReadable(told)) return `the journal of ${told.key} cannot be read (${told.wrong ?? 'newer format'})`;
  const { identity, phase } = told.progress ?? {};
  return `job ${identity?.jobId ?? told.key} is in the middle (${phase ?? 'unknown'})`;
}
