#!/usr/bin/env node
import { Command } from 'commander';
import { CommandFailed } from './command-failed.ts';
import { addSimulateCommand } from './simulate-command.ts';
import { packageVersion } from './version.ts';

const CONFIG = ['-c, --config <file>', 'configuration; every key has a default'] as const;
const JSON_OUT = ['--json', 'print JSON'] as const;

const program = new Command('evenkeel')
  .description('An agent for AWS IoT Jobs that puts the device back when a job is cancelled')
  .version(packageVersion());

program
  .command('run')
  .description('run the agent')
  .option(...CONFIG)
  .action(async (options: { config?: string }) => (await import('./run.ts')).run(options));

addSimulateCommand(program);

program
  .command('check <document>')
  .description('print what a job document would do here, and what its undo is worth')
  .option(...CONFIG)
  .option(...JSON_OUT)
  .action(async (path: string, options: { config?: string; json?: boolean }) =>
    (await import('./check.ts')).check(path, options),
  );

program
  .command('status')
  .description('list the jobs that this device knows, from their journals')
  .option(...CONFIG)
  .option(...JSON_OUT)
  .action(async (options: { config?: string; json?: boolean }) =>
    (await import('./history.ts')).status(options),
  );

program
  .command('show <job>')
  .description('print what a job did, undid and verified, and when')
  .option(...CONFIG)
  .option(...JSON_OUT)
  .action(async (job: string, options: { config?: string; json?: boolean }) =>
    (await import('./history.ts')).show(job, options),
  );

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommandFailed)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
