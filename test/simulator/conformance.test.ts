import { readFile, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { MQTT_SWITCHES } from '../../src/simulator/mqtt/limits.ts';
import { BROKER_RULES } from '../../src/simulator/mqtt/rules.ts';
import { SWITCHES } from '../../src/simulator/options.ts';
import { RULES, type Rule, SECTIONS } from './conformance/rules.ts';
import { rulesOf, type Titled, titledTests } from './conformance/titles.ts';

/** The table in the simulator's README: for each rule the tests that prove it, or why there is none. */

const README = new URL('../../src/simulator/README.md', import.meta.url);
const [BEGIN, END] = ['<!-- made by npm run conformance -->', '<!-- end -->'];

const switches = Object.entries({ ...SWITCHES, ...MQTT_SWITCHES });
const titled = await titledTests();
const known = new Set(RULES.map(({ id }) => id));

const switchesOf = (id: string): string[] =>
  switches.filter(([, { rules }]) => rules.split(/[ ,]+/).includes(id)).map(([name]) => name);

function proofsOf({ id, proof = [] }: Rule): Titled[] {
  const named = titled.filter(({ rules }) => rules.includes(id));
  const others = proof.map(([file, title]) =>
    titled.find((one) => one.file === file && one.title.startsWith(title)),
  );
  return [...named, ...others.filter((one) => one !== undefined)];
}

test('a title names rules before its colon or in brackets at its end, one by one or as a range', () => {
  expect(rulesOf('T4 N18b: what')).toEqual(['T4', 'N18b']);
  expect(rulesOf('C1-C3, D4: what')).toEqual(['C1', 'C2', 'C3', 'D4']);
  expect(rulesOf('what comes twice (A21)')).toEqual(['A21']);
  expect(rulesOf('documents in S3, and what T4 says')).toEqual([]);
});

test('no rule is there twice, and no test, switch or broker speaks of one that there is not', () => {
  expect(RULES.length).toBe(known.size);
  expect(titled.length).toBeGreaterThan(300);
  const cited = [
    ...titled.flatMap(({ rules }) => rules),
    ...switches.flatMap(([, { rules }]) => rules.split(/[ ,]+/)),
    ...BROKER_RULES.map(({ rule }) => rule),
  ];
  expect(cited.filter((id) => !known.has(id))).toEqual([]);
});

test('every rule is proved by a test, or there is a reason why not', () => {
  const unproved = RULES.filter((rule) => proofsOf(rule).length === 0 && rule.outOfScope === undefined);
  expect(unproved.map(({ id, says }) => `${id}: ${says}`)).toEqual([]);
});

test('a rule is proved or out of scope, not both, and each test that is given as a proof exists', () => {
  for (const rule of RULES) {
    if (rule.outOfScope !== undefined) expect(proofsOf(rule), rule.id).toEqual([]);
    const missing = (rule.proof ?? []).filter(
      ([file, title]) => !titled.some((one) => one.file === file && one.title.startsWith(title)),
    );
    expect(missing, rule.id).toEqual([]);
  }
});

test('README.md has the table that is made of all this (npm run conformance writes it)', async () => {
  const text = await readFile(README, 'utf8');
  const [before = '', rest = ''] = text.split(BEGIN);
  const [, after = ''] = rest.split(END);
  const made = `${before}${BEGIN}\n\n${SECTIONS.map(tableOf).join('\n\n')}\n\n${END}${after}`;
  if (process.env['EVENKEEL_WRITE_CONFORMANCE'] === '1') await writeFile(README, made);
  else expect(text).toBe(made);
});

function tableOf({ title, rules }: (typeof SECTIONS)[number]): string {
  const head = [`### ${title}`, '', '| rule | | proved by | broker | switch |', '|---|---|---|---|---|'];
  return [...head, ...rules.map((rule) => `| ${cellsOf(rule).join(' | ')} |`)].join('\n');
}

function cellsOf(rule: Rule): string[] {
  const { id, says, outOfScope } = rule;
  const proofs = proofsOf(rule);
  const files = [...new Set(proofs.map(({ file }) => file))].sort();
  const counted = files.map((file) => {
    const count = proofs.filter((one) => one.file === file).length;
    return `[${file.replace(/^simulator\//, '').replace(/(\.test)?\.ts$/, '')}](../../test/${file})${count > 1 ? ` ×${count}` : ''}`;
  });
  const provedBy = outOfScope === undefined ? counted.join(', ') : `out of scope: ${outOfScope}`;
  return [
    id,
    says,
    provedBy,
    brokerOf(id, proofs),
    switchesOf(id)
      .map((name) => `\`${name}\``)
      .join(', '),
  ];
}

function brokerOf(id: string, proofs: readonly Titled[]): string {
  const brokers = (['embedded', 'Mosquitto'] as const).filter((one) =>
    proofs.some((proof) => proof.brokers.includes(one)),
  );
  const rule = BROKER_RULES.find((one) => one.rule === id);
  const noted = (where: string, text = 'holds'): string[] => (text === 'holds' ? [] : [`${where}: ${text}`]);
  const notes = [...noted('embedded', rule?.embedded), ...noted('external', rule?.external)];
  return [brokers.join(', '), ...notes].filter((one) => one !== '').join('; ');
}
