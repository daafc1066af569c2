import { print, readOutputs } from './reading.ts';
import { readConfig } from './settings.ts';
import type { StoryOutputs } from './story/library.ts';
import { paintFor } from './story/paper.ts';
import { moment, plain } from './story/words.ts';

/** `evenkeel logs JOB`: the tails of what its programs said, run by run; what the agent says is in the journal. */
export async function logs(jobId: string, options: { config?: string; json?: boolean }): Promise<void> {
  const executions = await readOutputs(readConfig(options.config), jobId);
  if (options.json) {
    const told = executions.map(({ runs, ...execution }) => ({
      ...execution,
      runs: runs.map(({ at, ...run }) => ({ at: new Date(at).toISOString(), ...run })),
    }));
    print(JSON.stringify({ format: 1, executions: told }, null, 2));
    return;
  }
  const paint = paintFor(process.stdout);
  for (const execution of executions) for (const line of linesOf(execution, paint)) print(line);
  const hint = `what the agent itself said of it: journalctl -u evenkeel -g jobId=${plain(jobId)}`;
  if (process.stdout.isTTY) print(paint('dim', hint));
  else process.stderr.write(`${hint}\n`);
}

function linesOf(
  { jobId, executionNumber, runs }: StoryOutputs,
  paint: ReturnType<typeof paintFor>,
): string[] {
  if (runs.length === 0) {
    return [
      `${plain(jobId)}#${executionNumber}: no program of it said anything, or it was killed while it ran`,
    ];
  }
  return runs.flatMap(({ step, name, direction, attempt, at, stdout, stderr }) => {
    const title = `${jobId}#${executionNumber} step ${step} (${name})${direction === 'undo' ? ', undo' : ''}${attempt > 1 ? `, try ${attempt}` : ''}, ended ${moment(new Date(at).toISOString())}`;
    return [paint('bold', plain(title)), ...marked('  ', stdout), ...marked(paint('red', '! '), stderr)];
  });
}

function marked(mark: string, text: string): string[] {
  const lines = text.replace(/\n$/, '').split('\n');
  return text === '' ? [] : lines.map((line) => `${mark}${plain(line.replace(/\r$/, ''))}`);
}
