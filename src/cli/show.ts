import { print, readStories } from './reading.ts';
import { readConfig } from './settings.ts';
import { paintFor, storyLines } from './story/paper.ts';

/** `evenkeel show JOB`: what a job did, undid and compared, when, and what to do about it. */
export async function show(jobId: string, options: { config?: string; json?: boolean }): Promise<void> {
  const executions = await readStories(readConfig(options.config), jobId);
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
