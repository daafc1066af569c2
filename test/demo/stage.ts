/** The transcript of the demo: timed lines, with colours on a terminal. */

const COLOURS = { bold: '1', green: '32', red: '31', dim: '2' } as const;
const startedMs = Date.now();
let broken = 0;

function paint(colour: keyof typeof COLOURS, text: string): string {
  return process.stdout.isTTY ? `\u001b[${COLOURS[colour]}m${text}\u001b[0m` : text;
}

export function act(title: string): void {
  process.stdout.write(`\n${paint('bold', title)}\n`);
}

/** One timed line. */
export function say(text: string): void {
  const seconds = ((Date.now() - startedMs) / 1000).toFixed(1).padStart(5);
  process.stdout.write(`${paint('dim', `${seconds}s`)}  ${text}\n`);
}

/** Lines that belong to the one before. */
export function list(lines: readonly string[]): void {
  for (const line of lines) process.stdout.write(`          ${paint('dim', line)}\n`);
}

/** What has come (+), gone (-) and changed (~) since `before`: lines of `Device.files`, which begin with a name. */
export function listChanges(before: readonly string[], after: readonly string[]): void {
  const nameOf = (line: string): string => line.split(' ')[0] ?? '';
  const old = new Map(before.map((line) => [nameOf(line), line]));
  const now = new Map(after.map((line) => [nameOf(line), line]));
  const changed = [...now]
    .filter(([name, line]) => old.get(name) !== line)
    .map(([name, line]) => `${old.has(name) ? '~' : '+'} ${line}`);
  const gone = [...old].filter(([name]) => !now.has(name)).map(([, line]) => `- ${line}`);
  list([...changed, ...gone]);
}

/** A claim that is checked; one that does not hold makes the demo fail. */
export function holds(claim: string, fact: boolean): void {
  if (!fact) broken += 1;
  say(fact ? paint('green', `ok  ${claim}`) : paint('red', `NOT ${claim}`));
}

export function brokenClaims(): number {
  return broken;
}
