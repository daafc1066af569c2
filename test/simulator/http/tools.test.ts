import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Bench, startBench } from './clients.ts';

/** boto3 and the aws CLI as Debian has them (`apt-get install python3-boto3 awscli`); a shim in PATH is passed by. */

const TIMEOUT_MS = 120_000;
const run = promisify(execFile);
const beside = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

let bench: Bench;
beforeEach(async () => {
  bench = await startBench();
});
afterEach(async () => {
  await bench.close();
});

test('C3-C5, C8, C11-C13, C20, C23-C25, D2-D4, J11: the life of a job by boto3, each exception by its class', {
  timeout: TIMEOUT_MS,
}, async () => {
  const { stdout } = await run('/usr/bin/python3', [beside('life_of_a_job.py'), bench.simulator.httpUrl]);
  expect(stdout.trim().split('\n').at(-1)).toBe('done');
  expect(stdout.split('\n').length).toBeGreaterThan(25);
});

test('C1, C11, C12, C13, P19: the life of a job by the aws CLI', { timeout: TIMEOUT_MS }, async () => {
  const script = beside('life-of-a-job.sh');
  const { stdout } = await run('/bin/sh', [script, '/usr/bin/aws', bench.simulator.httpUrl]);
  expect(stdout.trim().split('\n')).toEqual([
    'one',
    'IN_PROGRESS',
    'refused: InvalidStateTransitionException',
    'refused: VersionConflictException',
    'CANCELED',
    'refused: TerminalStateException',
  ]);
});
