import type { Config } from '../config/config.ts';
import { systemClock } from '../host/clock.ts';
import { nodeDisk } from '../host/node-disk.ts';
import { CommandFailed } from './command-failed.ts';
import { askAgent } from './control/client.ts';
import { type Library, openLibrary, type StoryOutputs } from './story/library.ts';
import type { Story, StorySummary } from './story/story.ts';
import { plain } from './story/words.ts';

/** Reads the state directory, or has the agent read it where only its socket is open to this user. */

const HERE = { disk: nodeDisk, clock: systemClock };

export function readSummaries(config: Config): Promise<StorySummary[]> {
  return orAgent(config, (library) => library.summaries(), { command: 'history' });
}

export async function readStories(config: Config, jobId: string): Promise<Story[]> {
  const read = (library: Library): Promise<Story[]> => library.stories(jobId);
  return known(await orAgent(config, read, { command: 'show', jobId }), jobId, config.state.directory);
}

export async function readOutputs(config: Config, jobId: string): Promise<StoryOutputs[]> {
  const read = (library: Library): Promise<StoryOutputs[]> => library.outputs(jobId);
  return known(await orAgent(config, read, { command: 'logs', jobId }), jobId, config.state.directory);
}

function known<T>(found: T[], jobId: string, directory: string): T[] {
  if (found.length > 0) return found;
  throw new CommandFailed(
    `no execution of ${plain(jobId)} has run here (state directory ${directory}); evenkeel history lists those that have`,
  );
}

async function orAgent<T>(
  { state: { directory }, control }: Config,
  read: (library: Library) => Promise<T>,
  request: { command: string; jobId?: string },
): Promise<T> {
  try {
    return await read(openLibrary(nodeDisk, directory));
  } catch (error) {
    if (!isDenied(error)) throw asFailure(error, directory);
    const answer = await askAgent<T>(directory, request, { ...HERE, readers: control }).catch(
      () => undefined,
    );
    if (answer?.ok) return answer.value;
    if (answer) throw new CommandFailed(`cannot ask the agent: ${answer.error.message}`);
    throw asFailure(error, directory);
  }
}

export function isDenied(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'EACCES' || code === 'EPERM';
}

function asFailure(error: unknown, directory: string): CommandFailed {
  const hint = isDenied(error) ? '; try it as root' : '';
  return new CommandFailed(`cannot read ${directory}: ${(error as Error).message}${hint}`);
}

/** Writes lines; the reader of a pipe may have had enough. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
