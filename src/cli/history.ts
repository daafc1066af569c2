import { print, readSummaries } from './reading.ts';
import { readConfig } from './settings.ts';
import { historyLines, paintFor } from './story/paper.ts';

/** `evenkeel history`: what has run here, newest first; from the journals, so the agent need not run. */
export async function history(options: { config?: string; json?: boolean }): Promise<void> {
  const jobs = await readSummaries(readConfig(options.config));
  if (options.json) print(JSON.stringify({ format: 1, jobs }, null, 2));
  else for (const line of historyLines(jobs, paintFor(process.stdout))) print(line);
}
