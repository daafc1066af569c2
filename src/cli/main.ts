#!/usr/bin/env node
import { Command, InvalidArgumentError } from 'commander';
import { systemClock } from '../host/clock.ts';
import { CommandFailed } from './command-failed.ts';
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

program
  .command('simulate')
  .description('run AWS IoT Jobs on this machine, for tests')
  .option('--mqtt-port <n>', '0 is any free port', port, 1883)
  .option('--http-port <n>', '0 is any free port', port, 8080)
  .option('--ready-file <file>', 'gets {"mqttUrl", "httpUrl"} once both listen')
  .action(async (options: { mqttPort: number; httpPort: number; readyFile?: string }) => {
    const { runSimulate } = await import('../simulator/command.ts');
    const stop = new AbortController();
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stop.abort());
    const print = (line: string): void => void process.stdout.write(`${line}\n`);
    await runSimulate({ ...options, clock: systemClock, stop: stop.signal, print });
  });

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

function port(text: string): number {
  const number = Number(text);
  if (/^\d{1,5}$/.test(text) && number <= 65_535) return number;
  throw new InvalidArgumentError('must be a port from 0 to 65535');
}

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommandFailed)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
