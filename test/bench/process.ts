import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from '../support/until.ts';

const MAIN = new URL('../../dist/cli/main.js', import.meta.url).pathname;
/** USER_HZ of every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

/** `evenkeel simulate` in a process of its own, so that what it costs is not mixed with what its clients cost. */
export interface Measured {
  mqttUrl: string;
  httpUrl: string;
  /** User and system time since it was started, in seconds. */
  cpuSeconds(): Promise<number>;
  memory(): Promise<{ nowBytes: number; peakBytes: number }>;
  stop(): Promise<void>;
}

export async function startMeasured(options: readonly string[]): Promise<Measured> {
  const directory = await mkdtemp(join(tmpdir(), 'evenkeel-bench-'));
  const ready = join(directory, 'ready.json');
  const ports = ['--mqtt-port', '0', '--http-port', '0'];
  const child: ChildProcess = spawn(
    process.execPath,
    [
      ...(process.env['EVENKEEL_BENCH_NODE_OPTIONS']?.split(' ') ?? []),
      MAIN,
      'simulate',
      '--quiet',
      ...ports,
      '--ready-file',
      ready,
      ...options,
    ],
    { stdio: ['ignore', 'inherit', 'inherit'] },
  );
  const ended = once(child, 'exit');
  const of = (name: string): Promise<string> => readFile(`/proc/${child.pid}/${name}`, 'utf8');
  const text = await until('the simulator to listen', () => {
    if (child.exitCode !== null) throw new Error('cannot start the simulator: run `npm run build` first');
    return readFile(ready, 'utf8').catch(() => undefined);
  });
  return {
    ...(JSON.parse(text) as { mqttUrl: string; httpUrl: string }),
    async cpuSeconds() {
      // The name in brackets may contain anything; utime and stime are the 14th and 15th.
      const fields = (await of('stat')).replace(/^.*\) /s, '').split(' ');
      return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
    },
    async memory() {
      const status = await of('status');
      const bytes = (name: string): number =>
        Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) * 1024;
      return { nowBytes: bytes('VmRSS'), peakBytes: bytes('VmHWM') };
    },
    async stop() {
      child.kill('SIGTERM');
      await ended;
      await rm(directory, { recursive: true });
    },
  };
}
