import { styleText } from 'node:util';
import type { Finding, Report } from './finding.ts';

/** The report for a person: one line a check, with what to do under what is wrong. */

export interface Paper {
  columns: number;
  colour: boolean;
}

type Style = Parameters<typeof styleText>[0];

const SYMBOLS: Record<Finding['result'], { symbol: string; style: Style }> = {
  ok: { symbol: '✓', style: 'green' },
  warn: { symbol: '!', style: 'yellow' },
  fail: { symbol: '✗', style: 'red' },
  skipped: { symbol: '·', style: 'dim' },
};
const COLUMNS_MIN = 60;
const NAME_WIDTH_MAX = 28;

export function drawn({ sections, cause }: Report, { columns, colour }: Paper): string {
  const paint = (style: Style, text: string): string =>
    colour ? styleText(style, text, { validateStream: false }) : text;
  const findings = sections.flatMap((section) => section.findings);
  const nameWidth = Math.min(NAME_WIDTH_MAX, Math.max(0, ...findings.map(({ name }) => name.length)));
  const indent = ' '.repeat(4 + nameWidth + 2);
  const width = Math.max(columns, COLUMNS_MIN) - indent.length;

  const linesOf = ({ name, result, detail, fix }: Finding): string[] => {
    const { symbol, style } = SYMBOLS[result];
    const [first = '', ...more] = wrapped(detail, width);
    const dim = (text: string): string => (result === 'skipped' ? paint('dim', text) : text);
    // A name that does not fit has the line to itself.
    const head = `  ${paint(style, symbol)} ${result === 'fail' ? paint('bold', name.padEnd(nameWidth)) : dim(name.padEnd(nameWidth))}`;
    return [
      ...(name.length > nameWidth ? [head, `${indent}${dim(first)}`] : [`${head}  ${dim(first)}`]),
      ...more.map((line) => `${indent}${dim(line)}`),
      ...(fix === undefined || result === 'ok'
        ? []
        : fixLines(fix, width).map((line) => `${indent}${paint('cyan', line)}`)),
    ];
  };

  const body = sections.flatMap(({ title, findings: inIt }) => [
    paint('bold', title),
    ...inIt.flatMap(linesOf),
    '',
  ]);
  return `${[...body, summary(findings, cause, paint)].join('\n')}\n`;
}

function summary(
  findings: readonly Finding[],
  cause: Finding | undefined,
  paint: (style: Style, text: string) => string,
): string {
  const count = (result: Finding['result']): number => findings.filter((one) => one.result === result).length;
  const warnings = count('warn') === 0 ? '' : `, ${count('warn')} to look at`;
  if (!cause) return paint('green', `all is well: ${count('ok')} checks passed${warnings}`);
  const others = count('fail') - 1;
  return paint(
    'red',
    `${cause.name} is where it fails${others === 0 ? '' : `; ${others} more below it may only follow`}${warnings}`,
  );
}

/** An arrow before the first line; JSON and commands stand as they are, so that they can be copied. */
function fixLines(fix: string, width: number): string[] {
  return fix.split('\n').flatMap((line, index) => {
    const lead = index === 0 ? '→ ' : '  ';
    if (line.startsWith('{')) return [`${lead}${line}`];
    return wrapped(line, width - 2).map((part, at) => `${at === 0 ? lead : '  '}${part}`);
  });
}

/** Broken at spaces; a word that is longer than a line stays whole. */
function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
