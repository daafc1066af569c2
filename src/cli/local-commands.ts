import type { Command } from 'commander';
import type { LocalOptions } from './local/ask.ts';
import type { CancelOptions } from './local/cancel.ts';
import type { InhibitOptions } from './local/inhibit.ts';
import type { ResolveOptions } from './local/resolve.ts';
import type { RunLocalOptions } from './local/run-local.ts';

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

const INHIBIT_HELP = `
Jobs stay QUEUED meanwhile, for jobs.queueWaitSeconds at most; one that runs already goes on. With --steps it is held
back at the edge of its next step too: never past a pivot, never on the way back, and never longer than half of what the
timers of the job leave it, so that it does not time out. It ends by evenkeel allow or when the time is over, whichever
is first, and outlives restarts of the agent and of the device (each of which costs it a tenth, since nobody knows how
long the device was off). evenkeel status shows it.

Exit code: 0 done; 1 refused; 2 no agent to ask

  evenkeel inhibit --reason "at sea" --for 12h
  evenkeel inhibit --reason "printing" --steps && print-it; evenkeel allow`;

const RESOLVE_HELP = `
Every item of the list is compared again with what it was before the job and after it. Where one is still neither, the
undos that had failed are tried again, from the same before-images. When nothing is left, the mark is lifted, with a
receipt, and jobs are begun again. What cannot be put right by hand or by a job with repair: true may be accepted as it
is; the receipt then names it, and the reason. With --accept nothing is undone, and a journal that cannot be read is set
aside.

Exit code: 0 nothing is left; 1 refused: a job is open; 2 no agent to ask; 5 still INCONSISTENT

  evenkeel resolve --look
  evenkeel resolve
  evenkeel resolve --accept --reason "app.conf was mended by hand"`;

const RUN_LOCAL_HELP = `
The running agent takes it in like a job of the cloud: the same checks and policy, the same journal and undo, resumed or
rolled back after a restart. The device itself is the judge: it commits when all steps are done and compared. Jobs of the
cloud wait QUEUED meanwhile. No link is needed; but where there was one, a document that touches what it depends on must
leave the device able to connect, or it is rolled back. How it ended goes to the cloud as a receipt (cloudStatus none),
since no execution there tells of it.
Ctrl-C asks whether to cancel it or to leave it running; without a terminal it is left running.

Exit code: 0 committed; 1 refused: not valid here, against the policy, a job is open, inhibited, INCONSISTENT;
           2 no agent to ask; 3 it failed or was cancelled, and the device is back; 4 not fully reversed;
           5 INCONSISTENT; 6 left running

  evenkeel check job.json && evenkeel run-local job.json`;

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

  program
    .command('inhibit')
    .description('begin no job while a local application is busy')
    .requiredOption('-r, --reason <text>', 'why; shown to whoever looks')
    .option('-f, --for <time>', 'how long at most: 90s, 30m, 12h, up to 7d', '1h')
    .option('--steps', 'hold the running job back too, at the edge of its next step')
    .option(...CONFIG)
    .option(...JSON_OUT)
    .addHelpText('after', INHIBIT_HELP)
    .action(async (options: InhibitOptions) => (await import('./local/inhibit.ts')).inhibit(options));

  program
    .command('allow')
    .description('end what inhibit began')
    .option(...CONFIG)
    .option(...JSON_OUT)
    .action(async (options: LocalOptions) => (await import('./local/inhibit.ts')).allow(options));

  program
    .command('resolve')
    .description('answer for a device that a job left INCONSISTENT: look again, undo again, or accept')
    .option('--look', 'only look; change nothing')
    .option('--accept', 'take what is left as it is')
    .option('-r, --reason <text>', 'why it is right as it is; goes into the receipt')
    .option(...CONFIG)
    .option(...JSON_OUT)
    .addHelpText('after', RESOLVE_HELP)
    .action(async (options: ResolveOptions) => (await import('./local/resolve.ts')).resolve(options));

  program
    .command('run-local <document>')
    .description('run a job document here and now, without the cloud, with the same undo')
    .option('--detach', 'return as soon as the job is in the journal, from where no restart loses it')
    .option(...CONFIG)
    .option(...JSON_OUT)
    .addHelpText('after', RUN_LOCAL_HELP)
    .action(async (document: string, options: RunLocalOptions) =>
      (await import('./local/run-local.ts')).runLocal(document, options),
    );
}
