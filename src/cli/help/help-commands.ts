import { Argument, type Command } from 'commander';
import { builtAtMs, packageVersion } from '../version.ts';
import { completionFor, SHELLS, type Shell } from './completion.ts';
import { manPage } from './man.ts';
import { commandsOf } from './tree.ts';

/** What is made of all other commands; to be added last. */
export function addHelpCommands(program: Command): void {
  program
    .command('completion')
    .addArgument(new Argument('<shell>').choices(SHELLS))
    .description('print the completion script of a shell')
    .addHelpText('after', '\n  evenkeel completion bash > /etc/bash_completion.d/evenkeel')
    .action((shell: Shell) => void process.stdout.write(completionFor(shell, commandsOf(program))));
  program
    .command('man')
    .description('print the man page')
    .addHelpText('after', '\n  evenkeel man | man -l -')
    .action(() => {
      const epoch = process.env['SOURCE_DATE_EPOCH'];
      const wallMs = epoch === undefined ? builtAtMs() : Number(epoch) * 1000;
      const date = new Date(wallMs).toISOString().slice(0, 10);
      const page = manPage(program.description(), packageVersion(), date, commandsOf(program));
      process.stdout.write(page);
    });
  program
    .command('complete-jobs', { hidden: true })
    .option('-c, --config <file>')
    .action(async (options: { config?: string }) => {
      const [{ readSummaries }, { readConfig }] = await Promise.all([
        import('../reading.ts'),
        import('../settings.ts'),
      ]);
      // A completion that fails completes nothing.
      const summaries = await readSummaries(readConfig(options.config)).catch(() => []);
      // What others named must not become words of a command line.
      const names = new Set(summaries.map(({ jobId }) => jobId).filter((id) => /^[\w:-]+$/.test(id)));
      for (const name of names) process.stdout.write(`${name}\n`);
    });
}
