import { writeFile } from 'node:fs/promises';
import type { Config } from '../config/config.ts';
import { CommandFailed } from './command-failed.ts';
import { print, readOutputs, readStories } from './reading.ts';
import { readConfig } from './settings.ts';
import { pageOf } from './story/page/page.ts';
import { paintFor, storyLines } from './story/paper.ts';
import type { Story } from './story/story.ts';

export interface ShowOptions {
  config?: string;
  json?: boolean;
  /** A file, or `true` for stdout. */
  html?: string | true;
  /** Of that number alone. */
  execution?: string;
}

/** `evenkeel show JOB`: what a job did, undid and compared, when, and what to do about it. */
export async function show(jobId: string, options: ShowOptions): Promise<void> {
  const config = readConfig(options.config);
  const executions = chosen(await readStories(config, jobId), jobId, options.execution);
  if (options.html !== undefined) {
    await writePage(executions.at(-1)!, jobId, config, options.html);
    return;
  }
  if (options.json) {
    print(JSON.stringify({ format: 1, executions }, null, 2));
    return;
  }
  const paint = paintFor(process.stdout);
  for (const [at, story] of executions.entries()) {
    if (at > 0) print('');
    for (const line of storyLines(story, paint)) print(line);
  }
}

function chosen(stories: Story[], jobId: string, number: string | undefined): Story[] {
  if (number === undefined) return stories;
  const found = stories.filter(({ executionNumber }) => String(executionNumber) === number);
  if (found.length > 0) return found;
  const known = stories.map(({ executionNumber }) => executionNumber).join(', ');
  throw new CommandFailed(`no execution ${number} of ${jobId} has run here; these have: ${known}`);
}

/** The newest of the executions. */
async function writePage(story: Story, jobId: string, config: Config, to: string | true): Promise<void> {
  const all = await readOutputs(config, jobId);
  const page = pageOf(
    story,
    all.find(({ key }) => key === story.key),
  );
  if (to === true) {
    process.stdout.write(page);
    return;
  }
  try {
    await writeFile(to, page);
  } catch (error) {
    throw new CommandFailed(`cannot write ${to}: ${(error as Error).message}`);
  }
}
