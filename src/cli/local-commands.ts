import type { Command } from 'commander';
import type { CancelOptions } from './local/cancel.ts';

/** The commands of a person at the device, which act on the running agent. */

const CONFIG = ['-c, --config <file>', 'configuration; every key has a default'] as const;
const JSON_OUT = ['--json', 'print JSON'] as const;

const CANCEL_HELP = `
Before the job has voted SUCCEEDED it is rolled back: its processes are ended, its steps undone and compared, and the
cloud hears FAILED with code=localCancel. After the vote the cloud is the judge: the vote is taken back first, and where
the cloud had accepted it already the job stands. Past a pivot a job must be finished.
A job that waits QUEUED is the cloud's to cancel; evenkeel inhibit holds it.

Exit code: 0 rolled back; 1 refused: no such job, or too late; 2 no agent to ask;
           3 the job had succeeded already and stands; 4 not fully reversed; 5 INCONSISTENT

  evenkeel cancel
  evenkeel cancel update-1 --reason "the wrong boat"`;

export function addLocalCommands(program: Command): void {
  program
    .command('cancel [job]')
    .description('turn the running job back, and wait for what becomes of it')
    .option('-r, --reason <text>', 'for the cloud and the journal', 'cancelled on the device')
    .option('--no-wait', 'return as soon as it is in the journal, from where no restart loses it')
    .option(...CONFIG)
    .option(...JSON_OUT)
    .addHelpText('after', CANCEL_HELP)
    .action(async (job: string | undefined, options: CancelOptions) =>
      (await import('./local/cancel.ts')).cancel(job, options),
    );
}
