import type { CommandFacts } from './tree.ts';

/** Completion scripts, made of the command tree. Names of jobs come from `evenkeel complete-jobs`. */
export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

export function completionFor(shell: Shell, commands: readonly CommandFacts[]): string {
  return { bash, zsh, fish }[shell](commands);
}

const takesJob = ({ arguments: names }: CommandFacts): boolean =>
  names.some((name) => /[<[]job[>\]]/.test(name));
const takesPath = ({ arguments: names }: CommandFacts): boolean =>
  names.some((name) => /[<[](document|file)[>\]]/.test(name));

function bash(commands: readonly CommandFacts[]): string {
  const cases = commands.map((command) => {
    const flags = command.options
      .flatMap(({ short, long }) => [long, short])
      .filter((one) => one !== undefined);
    const files = command.options
      .filter(({ takesFile }) => takesFile)
      .flatMap(({ short, long }) => [short, long]);
    const values = command.options
      .filter(({ takesValue, takesFile }) => takesValue && !takesFile)
      .flatMap(({ short, long }) => [short, long]);
    const chosen = command.options.flatMap(({ long, choices }) =>
      choices ? [`      ${long}) COMPREPLY=($(compgen -W '${choices.join(' ')}' -- "$cur")); return ;;`] : [],
    );
    const lines = [
      ...chosen,
      ...patternLine(files, 'COMPREPLY=($(compgen -f -- "$cur")); return'),
      ...patternLine(values, 'return'),
    ];
    const rest = takesJob(command)
      ? 'COMPREPLY=($(compgen -W "$(evenkeel complete-jobs 2>/dev/null)" -- "$cur"))'
      : takesPath(command)
        ? 'COMPREPLY=($(compgen -f -- "$cur"))'
        : command.name === 'completion'
          ? `COMPREPLY=($(compgen -W '${SHELLS.join(' ')}' -- "$cur"))`
          : ':';
    return `  ${command.name})
${lines.length === 0 ? '' : `    case "$prev" in\n${lines.join('\n')}\n    esac\n`}    case "$cur" in
      -*) COMPREPLY=($(compgen -W '${flags.join(' ')}' -- "$cur")) ;;
      *) ${rest} ;;
    esac ;;`;
  });
  return `# bash completion of evenkeel, made of its commands
_evenkeel() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" prev="\${COMP_WORDS[COMP_CWORD-1]}"
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W '${commands.map(({ name }) => name).join(' ')}' -- "$cur"))
    return
  fi
  case "\${COMP_WORDS[1]}" in
${cases.join('\n')}
  esac
}
complete -o filenames -F _evenkeel evenkeel
`;
}

function patternLine(names: readonly (string | undefined)[], then: string): string[] {
  const known = names.filter((name) => name !== undefined);
  return known.length === 0 ? [] : [`      ${known.join('|')}) ${then} ;;`];
}

function zsh(commands: readonly CommandFacts[]): string {
  const quoted = (text: string): string => text.replaceAll("'", "'\\''");
  const inSpec = (text: string): string => quoted(text).replace(/[[\]:\\]/g, '\\$&');
  const cases = commands.map((command) => {
    const options = command.options.flatMap(
      ({ short, long, description, takesValue, takesFile, choices }) => {
        const value = !takesValue
          ? ''
          : takesFile
            ? ':file:_files'
            : choices
              ? `:value:(${choices.join(' ')})`
              : ':value:';
        return [short, long].flatMap((name) =>
          name === undefined ? [] : [`'${name}[${inSpec(description)}]${value}'`],
        );
      },
    );
    const rest = takesJob(command)
      ? ["'*:job:($(evenkeel complete-jobs 2>/dev/null))'"]
      : takesPath(command)
        ? ["'*:file:_files'"]
        : command.name === 'completion'
          ? [`'1:shell:(${SHELLS.join(' ')})'`]
          : [];
    return `    ${command.name}) _arguments ${[...options, ...rest].join(' ')} ;;`;
  });
  const names = commands.map(({ name, description }) => `'${name}:${quoted(description)}'`);
  return `#compdef evenkeel
# zsh completion of evenkeel, made of its commands
_evenkeel() {
  local -a commands
  commands=(${names.join('\n    ')})
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local command="\${words[2]}"
  shift words
  (( CURRENT-- ))
  case "$command" in
${cases.join('\n')}
  esac
}
if [ "\${funcstack[1]}" = _evenkeel ]; then _evenkeel "$@"; else compdef _evenkeel evenkeel; fi
`;
}

function fish(commands: readonly CommandFacts[]): string {
  const quoted = (text: string): string => `'${text.replace(/[\\']/g, '\\$&')}'`;
  const lines = commands.flatMap((command) => {
    const inside = `complete -c evenkeel -n ${quoted(`__fish_seen_subcommand_from ${command.name}`)}`;
    const rest = takesJob(command)
      ? [`${inside} -f -a '(evenkeel complete-jobs 2>/dev/null)'`]
      : takesPath(command)
        ? [`${inside} -F`]
        : command.name === 'completion'
          ? [`${inside} -f -a ${quoted(SHELLS.join(' '))}`]
          : [`${inside} -f`];
    return [
      `complete -c evenkeel -f -n __fish_use_subcommand -a ${command.name} -d ${quoted(command.description)}`,
      ...rest,
      ...command.options.map(({ short, long, description, takesValue, takesFile, choices }) =>
        [
          inside,
          ...(short === undefined ? [] : [`-s ${short.slice(1)}`]),
          ...(long === undefined ? [] : [`-l ${long.slice(2)}`]),
          ...(takesValue ? (takesFile ? ['-r -F'] : ['-x']) : []),
          ...(choices ? [`-a ${quoted(choices.join(' '))}`] : []),
          `-d ${quoted(description)}`,
        ].join(' '),
      ),
    ];
  });
  return `# fish completion of evenkeel, made of its commands\n${lines.join('\n')}\n`;
}
