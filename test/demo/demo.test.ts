import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const ROOT = new URL('../../', import.meta.url).pathname;

const TRANSPORTS: readonly [string, string[]][] = [
  ['mqttjs', []],
  ['aws-sdk', ['--transport', 'aws-sdk']],
];
const title = 'the demo keeps the promise on %s, in the very words that the README shows';

test.each(TRANSPORTS)(title, { timeout: 120_000 }, async (_, options) => {
  const args = ['--import', 'tsx', 'test/demo/main.ts', ...options];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: ROOT });
  expect(stdout).toContain('The promise was kept.');
  const readme = await readFile(`${ROOT}README.md`, 'utf8');
  // Times and hashes differ from run to run; the words do not.
  const words = (text: string): string[] =>
    text
      .split('\n')
      .map((line) =>
        line
          .replace(/^ *[\d.]+s {2}/, '')
          .replace(/\.evenkeel-[0-9a-f]+/g, '')
          .trim(),
      )
      .filter((line) => line.startsWith('ok ') || line.startsWith('Act '));
  const shown = words(readme);
  expect(shown.length).toBeGreaterThan(15);
  expect(words(stdout)).toEqual(shown);
});
