import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';

/** Completion and man page, which are made of the commands: complete, and right for the programs that read them. */

vi.setConfig({ testTimeout: 60_000 });

const MAIN = new URL('../../dist/cli/main.js', import.meta.url).pathname;
const has = (program: string): boolean => spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;
const evenkeel = (...args: string[]): string =>
  execFileSync(process.execPath, [MAIN, ...args], { encoding: 'utf8' });

let place: string;
beforeAll(async () => {
  place = await mkdtemp('/var/tmp/evenkeel-help-');
  // What completion asks for names of jobs.
  await writeFile(join(place, 'evenkeel'), `#!/bin/sh\necho update-1\necho update-2\n`, { mode: 0o755 });
});
afterAll(() => rm(place, { recursive: true }));

/** Every command with its long options, as `--help` lists them. */
function listed(): { name: string; options: string[] }[] {
  const names = [...evenkeel('--help').matchAll(/^ {2}([a-z-]+) .*/gm)].map(([, name = '']) => name);
  return names
    .filter((name) => name !== 'help')
    .map((name) => ({
      name,
      options: [...evenkeel(name, '--help').matchAll(/^ {2}(?:-\w, )?(--[\w-]+)/gm)].map(
        ([, flag = '']) => flag,
      ),
    }));
}

/** What bash offers for these words. */
function bashOffers(...words: string[]): string[] {
  const script = `
    source <(${process.execPath} ${MAIN} completion bash)
    COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}
    _evenkeel; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const env = { ...process.env, PATH: `${place}:${process.env['PATH']}` };
  return execFileSync('bash', ['-c', script], { encoding: 'utf8', env }).trim().split('\n').sort();
}

test('every command and every option is in all of them', () => {
  const commands = listed();
  expect(commands.map(({ name }) => name)).toEqual(
    expect.arrayContaining(['run', 'status', 'show', 'bundle', 'cancel']),
  );
  const man = evenkeel('man').replaceAll('\\-', '-');
  const texts = ['bash', 'zsh', 'fish'].map((shell) => evenkeel('completion', shell));
  for (const { name, options } of commands) {
    expect(man).toContain(`.SS "evenkeel ${name}`);
    for (const text of texts) expect(text).toContain(name);
    for (const option of options) {
      expect(man, `${name} ${option}`).toMatch(new RegExp(`^\\.B .*${option}`, 'm'));
      expect(texts[0], `${name} ${option}`).toContain(option);
      expect(texts[1], `${name} ${option}`).toContain(`'${option}[`);
      expect(texts[2], `${name} ${option}`).toMatch(new RegExp(`from ${name}' .*-l ${option.slice(2)} `));
    }
  }
  expect(man).not.toContain('complete-jobs');
  expect(man).not.toContain('rehearse-part');
});

test('bash offers commands, options, names of jobs, and files where a file is wanted', () => {
  expect(bashOffers('evenkeel', 'sta')).toEqual(['status']);
  expect(bashOffers('evenkeel', 'status', '--')).toEqual(['--config', '--help', '--json', '--watch']);
  expect(bashOffers('evenkeel', 'show', 'up')).toEqual(['update-1', 'update-2']);
  expect(bashOffers('evenkeel', 'completion', '')).toEqual(['bash', 'fish', 'zsh']);
  expect(bashOffers('evenkeel', 'status', '--config', `${place}/ev`)).toEqual([`${place}/evenkeel`]);
});

test('the other shells can read theirs', async (context) => {
  const shells = (['zsh', 'fish'] as const).filter(has);
  for (const shell of shells) {
    const file = join(place, `completion.${shell}`);
    await writeFile(file, evenkeel('completion', shell));
    const checked = spawnSync(shell, ['-n', file], { encoding: 'utf8' });
    expect(checked, shell).toMatchObject({ status: 0, stderr: '' });
  }
  if (shells.length === 0) context.skip('neither zsh nor fish is here');
});

test('the man page has no warnings, and its sections stand in order', (context) => {
  if (!has('groff') && !has('mandoc')) context.skip('neither groff nor mandoc is here');
  const page = evenkeel('man');
  if (has('groff')) {
    const made = spawnSync('groff', ['-man', '-Tutf8', '-ww', '-z'], { input: page, encoding: 'utf8' });
    expect(made).toMatchObject({ status: 0, stderr: '' });
  }
  if (has('mandoc')) {
    const made = spawnSync('mandoc', ['-T', 'lint', '-W', 'warning'], { input: page, encoding: 'utf8' });
    expect(made.stdout).toBe('');
  }
  const sections = [...page.matchAll(/^\.SH (.+)$/gm)].map(([, title]) => title);
  expect(sections).toEqual(['NAME', 'SYNOPSIS', 'DESCRIPTION', 'COMMANDS', 'FILES', 'SEE ALSO']);
});
