import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { fc, test as property } from '@fast-check/vitest';
import { expect, test } from 'vitest';
import { defaultConfig } from '../../src/config/config.ts';
import { pinFile } from '../../src/config/credentials.ts';
import { loadConfig } from '../../src/config/load.ts';
import { configKeys, defaultFile } from '../../src/config/print.ts';

const FILE = new URL('../../config/evenkeel.yaml', import.meta.url);

test('config/evenkeel.yaml holds every key with its default', async () => {
  const text = await readFile(FILE, 'utf8');
  expect(text).toBe(defaultFile());
  expect(loadConfig(text)).toEqual({ ok: true, config: defaultConfig() });
  const uncommented = text.replace(/^( *)# (\w+: .+)$/gm, '$1$2');
  expect(loadConfig(uncommented)).toEqual({ ok: true, config: defaultConfig() });
});

test('every key says what it means', () => {
  expect(configKeys().filter(({ meaning }) => meaning === '')).toEqual([]);
});

test('an unknown key and a wrong value are named with line and column', () => {
  const text = 'thing: a\nconnection:\n  urll: x\n  keepAliveSeconds: 1\n';
  const read = loadConfig(text);
  expect(read).toMatchObject({ ok: false });
  if (read.ok) return;
  expect(read.problems.map(({ line, column, path }) => `${line}:${column} ${path}`).sort()).toEqual([
    '3:3 connection.urll',
    '4:3 connection.keepAliveSeconds',
  ]);
});

test('a key in a PKCS#11 token: what goes with it, and what is said where it does not', () => {
  const read = (lines: string): string =>
    JSON.stringify(loadConfig(`connection:\n  certificate: /c\n  pkcs11:\n    library: /l.so\n${lines}`));
  expect(read('    pin: "0123"\n  transport: aws-sdk\n')).toContain('"ok":true');
  expect(read('    pin: credential:pin\n  transport: aws-sdk\n')).toContain('"ok":true');
  expect(read('')).toMatch(/"connection.pkcs11","reason":"needs transport: aws-sdk .*privateKey"/);
  expect(read('  transport: aws-sdk\n  privateKey: /k\n')).toMatch(/take one of them out/);
  // YAML reads it as the number 123.
  expect(read('    pin: 0123\n  transport: aws-sdk\n')).toMatch(
    /"connection.pkcs11.pin","reason":"must be in quotes/,
  );
  const file = readFileSync(FILE, 'utf8')
    .replace(/^ {2}#( {3}library:)$/m, '  $1 /l.so')
    .replace('# pkcs11:', 'pkcs11:');
  const text = file.replace('# transport: "mqttjs"', 'transport: "aws-sdk"');
  expect(loadConfig(text)).toMatchObject({
    ok: true,
    config: { connection: { pkcs11: { library: '/l.so' } } },
  });
});

test('the PIN of a token: itself, or the file that holds it', () => {
  expect(pinFile('0123', '/run')).toBeUndefined();
  expect(pinFile('/etc/pin')).toBe('/etc/pin');
  expect(pinFile('credential:pin', '/run')).toBe('/run/pin');
  expect(() => pinFile('credential:pin', undefined)).toThrow(/connection\.pkcs11\.pin.*LoadCredential=/);
});

test('broken YAML is named with its line', () => {
  expect(loadConfig('thing: [a\nmode: run\n')).toMatchObject({ ok: false, problems: [{ line: 2 }] });
});

property.prop(
  [
    fc.oneof(
      fc.string(),
      fc.json(),
      fc.string({ unit: fc.constantFrom(':', '\n', ' ', '-', 'a', '&', '*', '[', '{', '"') }),
    ),
  ],
  { numRuns: 2000 },
)('I9: whatever a file holds, it is a configuration or problems, never a throw', (text) => {
  const read = loadConfig(text);
  if (!read.ok) expect(read.problems.length).toBeGreaterThan(0);
});
