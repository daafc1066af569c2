import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Device } from './device.ts';

/** A command of evenkeel on a device, as a person types it. */

const MAIN = new URL('../../dist/cli/main.js', import.meta.url).pathname;

export interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** A command under way. */
export interface Typed {
  readonly stdout: string;
  signal(name: NodeJS.Signals): void;
  ended: Promise<Ended>;
}

export function type(device: Pick<Device, 'config'>, ...args: string[]): Typed {
  const child = spawn(process.execPath, [MAIN, ...args, '--config', device.config], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  return {
    get stdout() {
      return stdout;
    },
    signal: (name) => void child.kill(name),
    ended: once(child, 'close').then(([code]) => ({ code: code as number | null, stdout, stderr })),
  };
}

/** Types a command and waits for its end. */
export function typed(device: Pick<Device, 'config'>, ...args: string[]): Promise<Ended> {
  return type(device, ...args).ended;
}

/** The same with `--json`; what it prints, read. */
export async function asked(
  device: Pick<Device, 'config'>,
  ...args: string[]
): Promise<{ code: number | null; said: Record<string, unknown>; stderr: string }> {
  const { code, stdout, stderr } = await typed(device, ...args, '--json');
  return { code, said: stdout === '' ? {} : (JSON.parse(stdout) as Record<string, unknown>), stderr };
}
