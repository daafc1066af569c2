import { createInterface } from 'node:readline/promises';
import type { LocalJob } from '../../agent/local-job.ts';
import type { Summary } from '../../agent/summary.ts';
import type { Config } from '../../config/config.ts';
import { CommandFailed } from '../command-failed.ts';
import { REQUEST_BYTES_MAX } from '../control/protocol.ts';
import { readConfig, readText } from '../settings.ts';
import { ask, EXIT, type LocalOptions, print, printJson } from './ask.ts';
import { endWords, follow } from './follow.ts';

export interface RunLocalOptions extends LocalOptions {
  /** Return as soon as the job is in the journal. */
  detach?: boolean;
}

/** `evenkeel run-local DOCUMENT`: a job of a person at the device, on the engine of the running agent. */
export async function runLocal(path: string, options: RunLocalOptions): Promise<void> {
  const config = readConfig(options.config);
  const request = { command: 'runLocal', document: documentAt(path) };
  if (Buffer.byteLength(JSON.stringify(request)) >= REQUEST_BYTES_MAX) {
    throw new CommandFailed(`cannot send ${path}: a document has ${REQUEST_BYTES_MAX / 1024} KiB at most`);
  }
  const job = await ask<LocalJob>(config, request);
  if (!options.json) for (const line of beginning(job)) print(line);
  if (options.detach) {
    if (options.json) printJson(job);
    return;
  }
  const end = await watched(config, job, options.json === true);
  if (options.json) printJson({ ...job, ...(end && { end }) });
  else if (end) print(endWords(end));
  process.exitCode = exitCodeOf(end);
}

function documentAt(path: string): unknown {
  try {
    return JSON.parse(readText(path)) as unknown;
  } catch (error) {
    if (error instanceof CommandFailed) throw error;
    throw new CommandFailed(`${path}: is no JSON: ${(error as Error).message}`);
  }
}

function beginning({ jobId, steps, grade }: LocalJob): string[] {
  return [`${jobId} runs: ${steps.length} steps, whose undo is worth: ${grade}`];
}

/** Shows each change until the end; Ctrl-C asks what is meant. `undefined`: left running. */
async function watched(config: Config, job: LocalJob, silent: boolean): Promise<Summary | undefined> {
  const left = new AbortController();
  const asking = new CtrlC(config, job, () => left.abort(new Error('left running')));
  const seen = new Map<number, string>();
  let wasGone = false;
  const onLook = (summary: Summary | 'noAgent'): void => {
    if (silent || asking.isOpen) return;
    if (summary === 'noAgent') {
      if (!wasGone) print('  the agent is gone; it goes on with the job when it is back');
      wasGone = true;
      return;
    }
    wasGone = false;
    for (const line of changes(summary, seen)) print(line);
  };
  try {
    return await follow(config, job.key, onLook, left.signal);
  } finally {
    asking.close();
  }
}

const PHASES: Partial<Record<Summary['steps'][number]['phase'], string>> = {
  attempting: 'runs',
  interrupted: 'was interrupted',
  failed: 'FAILED',
  done: 'done',
  undoing: 'is being undone',
  undone: 'undone',
  notUndone: 'could not be undone',
};
const WITH_REASON = ['interrupted', 'failed', 'notUndone'];

function changes({ steps }: Summary, seen: Map<number, string>): string[] {
  return steps.flatMap(({ name, phase, reason }, index) => {
    const words = PHASES[phase];
    if (words === undefined || seen.get(index) === phase) return [];
    seen.set(index, phase);
    const why = WITH_REASON.includes(phase) && reason !== undefined ? `: ${reason}` : '';
    return [`  ${index + 1}/${steps.length} ${name}: ${words}${why}`];
  });
}

/** Ctrl-C may mean two things, so it asks; where nobody can be asked, the job is left alone. */
class CtrlC {
  readonly #config: Config;
  readonly #job: LocalJob;
  readonly #leave: () => void;
  #dialog: ReturnType<typeof createInterface> | undefined;
  readonly #onSignal = (): void => void this.#pressed();

  constructor(config: Config, job: LocalJob, leave: () => void) {
    this.#config = config;
    this.#job = job;
    this.#leave = leave;
    process.on('SIGINT', this.#onSignal);
  }

  get isOpen(): boolean {
    return this.#dialog !== undefined;
  }

  close(): void {
    process.off('SIGINT', this.#onSignal);
    this.#dialog?.close();
  }

  async #pressed(): Promise<void> {
    if (this.isOpen || !process.stdin.isTTY) {
      this.#leaveIt();
      return;
    }
    const dialog = createInterface({ input: process.stdin, output: process.stderr });
    this.#dialog = dialog;
    dialog.once('SIGINT', this.#onSignal);
    const question = `\n${this.#job.jobId} is running. Cancel it, and put the device back? [y] yes  [l] leave it running  [Enter] go on `;
    const answer = await dialog.question(question).catch(() => '');
    dialog.close();
    this.#dialog = undefined;
    if (/^l/i.test(answer)) this.#leaveIt();
    if (/^y/i.test(answer)) await this.#cancel();
  }

  #leaveIt(): void {
    const { jobId } = this.#job;
    process.stderr.write(`${jobId} is left running; evenkeel cancel ${jobId} turns it back\n`);
    this.#leave();
  }

  async #cancel(): Promise<void> {
    const request = { command: 'cancel', jobId: this.#job.jobId, reason: 'cancelled by Ctrl-C' };
    // Too late is no failure of this command: it goes on watching.
    await ask(this.#config, request).catch((error: unknown) => {
      process.stderr.write(`${(error as Error).message}\n`);
    });
  }
}

function exitCodeOf(end: Summary | undefined): number {
  if (!end) return EXIT.leftRunning;
  switch (end.outcome) {
    case 'committed':
      return EXIT.done;
    case 'notReversed':
      return EXIT.notReversed;
    case 'inconsistent':
      return EXIT.inconsistent;
    default:
      return EXIT.otherwise;
  }
}
