import type { CommandFacts } from './tree.ts';

/** `evenkeel.1`, made of the command tree: man(7) macros, nothing that only one formatter knows. */
export function manPage(
  description: string,
  version: string,
  date: string,
  commands: readonly CommandFacts[],
): string {
  return `.\\" Made by: evenkeel man
.TH EVENKEEL 1 ${date} "evenkeel ${version}" "User Commands"
.SH NAME
evenkeel \\- ${escaped(description.charAt(0).toLowerCase() + description.slice(1))}
.SH SYNOPSIS
.B evenkeel
.I command
.RI [ options ]
.SH DESCRIPTION
A job of AWS IoT Jobs either finishes, and the cloud says SUCCEEDED; or the device is put back as it was, and says so.
Whenever the cancel, the crash or the power cut comes. What cannot be undone is declared before it is run.
.SH COMMANDS
${commands.map(commandText).join('')}.SH FILES
.TP
.I /etc/evenkeel/evenkeel.yaml
Configuration; every key has a default.
.TP
.I /var/lib/evenkeel
Journals and undo data (state.directory).
.SH SEE ALSO
.BR systemctl (1),
.BR journalctl (1)
`;
}

function commandText({ name, arguments: names, description, options, more }: CommandFacts): string {
  const optionTexts = options.map(
    ({ flags, description: meaning }) => `.TP\n.B ${escaped(flags)}\n${escaped(sentence(meaning))}\n`,
  );
  return `.SS "evenkeel ${[name, ...names].map(escaped).join(' ')}"
${escaped(sentence(description))}
${optionTexts.join('')}${more === '' ? '' : `.PP\n.nf\n${more.split('\n').map(escaped).join('\n')}\n.fi\n`}`;
}

function sentence(text: string): string {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}

/** A line that begins with a dot or a quote would be a request; a hyphen would become a dash. */
function escaped(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^(?=[.'])/, '\\&')
    .replaceAll('\u2019', "'");
}
