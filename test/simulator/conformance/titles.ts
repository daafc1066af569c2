import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import ts from 'typescript';

/** Which test names which rule, read from the sources of the tests. */

export interface Titled {
  /** Below `test/`. */
  file: string;
  title: string;
  /** The rules that it names. */
  rules: readonly string[];
  brokers: readonly Broker[];
}

export type Broker = 'embedded' | 'Mosquitto';

const TESTS = new URL('../../', import.meta.url).pathname;
const ID = '[TPNESCDLJVA]\\d+[a-d]?';
const IDS = `${ID}(?:-${ID})?(?:[ ,]+${ID}(?:-${ID})?)*`;

export async function titledTests(): Promise<Titled[]> {
  const files = (await readdir(TESTS, { recursive: true })).filter((name) => name.endsWith('.ts')).sort();
  return (
    await Promise.all(files.map(async (file) => titlesIn(file, await readFile(join(TESTS, file), 'utf8'))))
  ).flat();
}

/** `T4 T6: …`, `C1-C25, D1: …`, `… (A21)`: a range is all of its rules. */
export function rulesOf(title: string): string[] {
  const [, before = ''] = new RegExp(`^(${IDS}):`).exec(title) ?? [];
  const [, after = ''] = new RegExp(`\\((${IDS})\\)$`).exec(title) ?? [];
  return [...before.matchAll(/[^ ,]+/g), ...after.matchAll(/[^ ,]+/g)].flatMap(([word]) => {
    const [first = '', last] = word.split('-');
    if (last === undefined) return [first];
    const [from, to] = [Number(first.slice(1)), Number(last.slice(1))];
    return Array.from({ length: to - from + 1 }, (_, at) => `${first[0]}${from + at}`);
  });
}

function titlesIn(file: string, text: string): Titled[] {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const arrays = new Map<string, ts.Expression>();
  const found: Titled[] = [];
  const add = (title: string, node: ts.Node): void => {
    found.push({ file, title, rules: rulesOf(title), brokers: brokersOf(node, text) });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isVariableDeclaration(node) && ts.isIdentifier(node.name) && node.initializer)
      arrays.set(node.name.text, node.initializer);
    if (ts.isCallExpression(node) && isTest(node.expression)) {
      const [title] = node.arguments;
      if (title && (ts.isStringLiteralLike(title) || ts.isTemplateExpression(title))) {
        const words = ts.isStringLiteralLike(title) ? title.text : title.getText().slice(1, -1);
        add(words, node);
        // A row whose first text is the title.
        if (words.startsWith('%s') && ts.isCallExpression(node.expression))
          for (const row of textsIn(node.expression.arguments[0], arrays)) add(row, node);
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

/** `test(…)`, `describe.skipIf(…).each(…)(…)`, whatever stands between. */
function isTest(callee: ts.Expression): boolean {
  if (ts.isIdentifier(callee)) return ['test', 'it', 'describe'].includes(callee.text);
  if (ts.isCallExpression(callee) || ts.isPropertyAccessExpression(callee)) return isTest(callee.expression);
  return false;
}

function textsIn(table: ts.Expression | undefined, arrays: ReadonlyMap<string, ts.Expression>): string[] {
  const array = table && ts.isIdentifier(table) ? arrays.get(table.text) : table;
  if (!array || !ts.isArrayLiteralExpression(array)) return [];
  return array.elements.flatMap((row) => {
    const first = ts.isArrayLiteralExpression(row) ? row.elements[0] : row;
    return first && ts.isStringLiteralLike(first) ? [first.text] : [];
  });
}

/** Both where a `describe` around it runs over both; none where no simulator is started in the file. */
function brokersOf(node: ts.Node, text: string): Broker[] {
  for (let at: ts.Node | undefined = node; at; at = at.parent) {
    if (!ts.isCallExpression(at) || !isTest(at.expression)) continue;
    if (/\.each\((?:TEST_BROKERS|\[[^)]*'mosquitto')/.test(at.expression.getText())) {
      // `test.skipIf(broker !== 'embedded')` inside of it.
      const only = /skipIf\(broker !== 'embedded'\)/.test(node.getText().slice(0, 80));
      return only ? ['embedded'] : ['embedded', 'Mosquitto'];
    }
  }
  if (/\bmosquitto\(/.test(text)) return ['Mosquitto'];
  return /\b(startSimulator|startBench|startTestCloud|createLane)\b/.test(text) ? ['embedded'] : [];
}
