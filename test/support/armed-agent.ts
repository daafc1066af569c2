import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';

/** A real agent process that stands still, or dies, at a place of a job that is named beforehand. */
export interface ArmedAgent {
  /** Starts the process where none runs. */
  start(): void;
  /** For the next job. `lastStep`: the record of the last finished step, behind which the verification begins. */
  arm(at: string, then: 'pause' | 'kill', lastStep: string): Promise<void>;
  /** Resolves when the agent stands at its place, or has died there. */
  reached(): Promise<void>;
  /** Lets an agent that stands still go on. */
  release(): void;
  kill(): Promise<void>;
  stop(): Promise<void>;
  log(): string;
}

const ARMED = new URL('./armed-agent.mjs', import.meta.url).pathname;
const LOG_CHARS_MAX = 200_000;

export function armedAgent(config: string): ArmedAgent {
  let child: ChildProcess | undefined;
  let control: Duplex | undefined;
  let log = '';
  const alive = (): boolean => child !== undefined && child.exitCode === null && child.signalCode === null;

  const ended = async (signal: NodeJS.Signals): Promise<void> => {
    if (!child || !alive()) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  };

  return {
    start() {
      if (alive()) return;
      child = spawn(process.execPath, [ARMED, config], { stdio: ['ignore', 'pipe', 'pipe', 'ipc', 'pipe'] });
      for (const stream of [child.stdout, child.stderr]) {
        stream?.on('data', (chunk: Buffer) => {
          log = (log + chunk.toString()).slice(-LOG_CHARS_MAX);
        });
      }
      control = child.stdio[4] as Duplex;
      control.on('error', () => undefined);
    },
    async arm(at, then, lastStep) {
      const armed = once(child!, 'message');
      child?.send({ at, then, lastStep });
      await armed;
    },
    async reached() {
      const there = new AbortController();
      try {
        await Promise.race([
          once(control!, 'data', { signal: there.signal }),
          once(child!, 'exit', { signal: there.signal }),
        ]);
      } finally {
        there.abort();
      }
    },
    release: () => void control?.write('.'),
    kill: () => ended('SIGKILL'),
    stop: () => ended('SIGTERM'),
    log: () => log,
  };
}
