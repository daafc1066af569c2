import { execFile } from 'node:child_process';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const UNIT = new URL('../../systemd/evenkeel.service', import.meta.url);

test('systemd-analyze verify says nothing about the unit', async () => {
  const directory = await mkdtemp('/var/tmp/evenkeel-unit-');
  try {
    // The program that the unit starts must exist where it is verified.
    const program = join(directory, 'evenkeel');
    await writeFile(program, '#!/bin/sh\n');
    await chmod(program, 0o755);
    const text = (await readFile(UNIT, 'utf8')).replace('/usr/bin/evenkeel', program);
    const path = join(directory, 'evenkeel.service');
    await writeFile(path, text);
    const { stdout, stderr } = await promisify(execFile)('systemd-analyze', ['verify', '--man=no', path]);
    expect({ stdout, stderr }).toEqual({ stdout: '', stderr: '' });
  } finally {
    await rm(directory, { recursive: true });
  }
});
