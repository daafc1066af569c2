#!/usr/bin/env node
import { existsSync } from 'node:fs';
import { Command } from 'commander';
import { CommandFailed } from './command-failed.ts';
import { addHelpCommands } from './help/help-commands.ts';
import { addLocalCommands } from './local-commands.ts';
import type { RehearseOptions } from './rehearse/rehearse.ts';
import type { ShowOptions } from './show.ts';
import { addSimulateCommand } from './simulate-command.ts';
import type { SupportOptions } from './support/support.ts';
import { packageVersion } from './version.ts';

const CONFIG_FILE = '/etc/evenkeel/evenkeel.yaml';
const CONFIG = ['-c, --config <file>', `configuration; by default ${CONFIG_FILE}, where it is`] as const;
const JSON_OUT = ['--json', 'print JSON'] as const;

const READS =
  '\nReads the state directory, whether an agent runs or not. Exit code: 0; 1 where it cannot, or knows no such job.';

const program = new Command('evenkeel')
  .description('An agent for AWS IoT Jobs that puts the device back when a job is cancelled')
  .version(packageVersion())
  .hook('preAction', (_, command) => {
    const takesOne = command.options.some(({ long }) => long === '--config');
    const wantsIt = takesOne && command.getOptionValue('config') === undefined && existsSync(CONFIG_FILE);
    if (wantsIt) command.setOptionValueWithSource('config', CONFIG_FILE, 'default');
  });

program
  .command('run')
  .description('run the agent')
  .option(...CONFIG)
  .action(async (options: { config?: string }) => (await import('./run.ts')).run(options));

addSimulateCommand(program);
addLocalCommands(program);

program
  .command('check <document>')
  .description('print what a job document would do here, and what its undo is worth')
  .option(...CONFIG)
  .option(...JSON_OUT)
  .action(async (path: string, options: { config?: string; json?: boolean }) =>
    (await import('./check.ts')).check(path, options),
  );

program
  .command('rehearse <document>')
  .description(
    'run a job in throw-away views of this machine, cancel and kill it everywhere, and say what stays behind',
  )
  .option(...CONFIG)
  .option(...JSON_OUT)
  .option('--junit <file>', 'also write the runs as JUnit XML')
  .option('--network', "with the machine's network; by default there is none")
  .option('--quick', 'interrupt only in the middle and at the end of each step')
  .option('--ignore <path...>', 'leave out of the comparison, besides /var/log and /var/cache')
  .action(async (path: string, options: RehearseOptions) =>
    (await import('./rehearse/rehearse.ts')).rehearse(path, options),
  );

program
  .command('rehearse-part <part> [order]', { hidden: true })
  .action(async (part: string, order?: string) => (await import('./rehearse/parts.ts')).runPart(part, order));

program
  .command('status')
  .description('say what the agent does and what the device needs of you, and list the last jobs')
  .option(...CONFIG)
  .option(...JSON_OUT)
  .option(
    '-w, --watch',
    'go on telling until Ctrl-C: drawn anew in a terminal, a line for each change elsewhere',
  )
  .addHelpText(
    'after',
    '\nExit code: 0 an agent runs and all is well, 1 nobody can tell, 3 no agent runs, 4 a job left the device\nINCONSISTENT or a journal cannot be read (with or without an agent).',
  )
  .action(async (options: { config?: string; json?: boolean; watch?: boolean }) =>
    (await import('./status.ts')).status(options),
  );

program
  .command('history')
  .description('list the jobs that have run here, newest first, with their outcome')
  .option(...CONFIG)
  .option(...JSON_OUT)
  .addHelpText('after', READS)
  .action(async (options: { config?: string; json?: boolean }) =>
    (await import('./history.ts')).history(options),
  );

program
  .command('show <job>')
  .description('tell what a job did, undid and compared, when, and what to do about it')
  .option(...CONFIG)
  .option(...JSON_OUT)
  .option('--html [file]', 'write the newest execution as one page, to a file or to stdout')
  .option('--execution <number>', 'only that execution of the job')
  .addHelpText('after', READS)
  .action(async (job: string, options: ShowOptions) => (await import('./show.ts')).show(job, options));

program
  .command('logs <job>')
  .description("print the last of what a job's programs wrote; stderr is marked with !")
  .option(...CONFIG)
  .option(...JSON_OUT)
  .addHelpText('after', READS)
  .action(async (job: string, options: { config?: string; json?: boolean }) =>
    (await import('./logs.ts')).logs(job, options),
  );

program
  .command('doctor')
  .description('check configuration, state, machine and link, and say what to do about what is wrong')
  .option(...CONFIG)
  .option(...JSON_OUT)
  .option('--write', "also try what changes the cloud: an empty update of the receipts' shadow")
  .action(async (options: { config?: string; json?: boolean; write?: boolean }) =>
    (await import('./doctor/doctor.ts')).doctor(options),
  );

program
  .command('bundle')
  .description(
    'collect configuration, journals, findings and logs for support in one archive, without secrets',
  )
  .option(...CONFIG)
  .option(...JSON_OUT)
  .option('-o, --output <file>', 'the archive; by default a name of thing and time, here')
  .addHelpText(
    'after',
    '\nExit code: 0 where it is written, else 1. At most 16 MB before compression, newest jobs first.',
  )
  .action(async (options: SupportOptions) => (await import('./support/support.ts')).support(options));

program
  .command('import-config <file>')
  .description('print the configuration of AWS IoT Device Client as one of evenkeel')
  .option(...JSON_OUT)
  .addHelpText(
    'after',
    '\nExit code: 0; 1 where something of it has to be corrected by hand, marked in the output.',
  )
  .action(async (file: string, options: { json?: boolean }) =>
    (await import('./device-client/import-config.ts')).importConfig(file, options),
  );

program
  .command('policy')
  .description('print the least AWS IoT policy that this thing needs')
  .option(...CONFIG)
  .option('--account <id>', 'AWS account, for the ARNs')
  .option('--region <region>', 'AWS region; by default the one in connection.url')
  .option('--claim', 'that of the claim certificate (provisioning), which the whole fleet shares')
  .option('--fleet', 'for every thing whose client id is its name, by a policy variable')
  .action(
    async (options: {
      config?: string;
      account?: string;
      region?: string;
      claim?: boolean;
      fleet?: boolean;
    }) => (await import('./policy.ts')).policy(options),
  );

program
  .command('before-removal', { hidden: true })
  .option(...CONFIG)
  .option('--force', 'turn an open job back first')
  .action(async (options: { config?: string; force?: boolean }) =>
    (await import('./removal.ts')).beforeRemoval(options),
  );

addHelpCommands(program);

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommandFailed)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = error.exitCode;
}
