import type { Config } from '../../config/config.ts';
import { systemClock } from '../../host/clock.ts';
import { nodeDisk } from '../../host/node-disk.ts';
import { CommandFailed } from '../command-failed.ts';
import { askAgent } from '../control/client.ts';
import type { Request } from '../control/protocol.ts';

/** What the commands of a person at the device share: one question to the agent, and what the answer exits with. */

export interface LocalOptions {
  config?: string;
  json?: boolean;
}

/** Of `cancel` and `run-local`: what became of the job. The README has this table. */
export const EXIT = {
  done: 0,
  refused: 1,
  noAgent: 2,
  /** The job ended well, but not as it was asked: kept after a cancel, rolled back after run-local. */
  otherwise: 3,
  notReversed: 4,
  inconsistent: 5,
  leftRunning: 6,
} as const;

/** Asks; a refusal, or nobody to ask, ends the command. */
export async function ask<T>({ state, control }: Config, request: Request): Promise<T> {
  const deps = { disk: nodeDisk, clock: systemClock, readers: control };
  const answer = await askAgent<T>(state.directory, request, deps).catch((error: unknown) => {
    throw new CommandFailed((error as Error).message, EXIT.noAgent);
  });
  if (!answer) {
    const reason = `no agent runs on ${state.directory}; start it (systemctl start evenkeel)`;
    throw new CommandFailed(reason, EXIT.noAgent);
  }
  if (answer.ok) return answer.value;
  throw new CommandFailed(answer.error.message, EXIT.refused);
}

export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value, null, 2));
}
