import type { Command } from 'commander';

/** The commands as completion and man page tell of them; there is no other list. */
export interface CommandFacts {
  name: string;
  description: string;
  /** `<job>`, `[job]`, `<file>`. */
  arguments: string[];
  options: OptionFacts[];
  /** What `--help` says behind the options. */
  more: string;
}

export interface OptionFacts {
  flags: string;
  short?: string;
  long?: string;
  description: string;
  takesValue: boolean;
  /** The value is a path. */
  takesFile: boolean;
  choices?: readonly string[];
}

export function commandsOf(program: Command): CommandFacts[] {
  const help = program.createHelp();
  return help
    .visibleCommands(program)
    .filter((command) => command.name() !== 'help')
    .map((command) => ({
      name: command.name(),
      description: command.description(),
      arguments: command.registeredArguments.map((one) =>
        one.required ? `<${one.name()}>` : `[${one.name()}]`,
      ),
      options: help.visibleOptions(command).map((option) => ({
        flags: option.flags,
        ...(option.short !== undefined && { short: option.short }),
        ...(option.long !== undefined && { long: option.long }),
        description: option.description,
        takesValue: option.required || option.optional,
        takesFile: /[<[](file|path|directory|dir)(\.\.\.)?[>\]]/.test(option.flags),
        ...(option.argChoices && { choices: option.argChoices }),
      })),
      more: behindOptions(command),
    }));
}

function behindOptions(command: Command): string {
  let all = '';
  command.configureOutput({ writeOut: (text) => (all += text), getOutHelpWidth: () => 80 });
  const own = command.helpInformation();
  command.outputHelp();
  return all.startsWith(own) ? all.slice(own.length).trim() : '';
}
