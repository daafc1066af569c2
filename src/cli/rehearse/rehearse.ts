import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rmdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { CommandFailed } from '../command-failed.ts';
import { readText } from '../settings.ts';
import { junitOf } from './report.ts';
import { type StageOrder, stage } from './stage.ts';
import { tableOf } from './table.ts';

/**
 * `evenkeel rehearse DOCUMENT`: runs a job for real in throw-away copy-on-write views of this machine, first to the
 * end, then again and again with a cancel and with a kill at every journal record, and says what stays behind.
 * Exit code 0: every run ended old or new. 1: one did not, or the job fails here. 2: it cannot be rehearsed here.
 */

export interface RehearseOptions {
  config?: string;
  json?: boolean;
  junit?: string;
  network?: boolean;
  quick?: boolean;
  ignore?: readonly string[];
}

/** Written by every run of a package manager and by every daemon, and no part of a state. */
const IGNORED = ['/var/log', '/var/cache'];
const CANNOT = 2;

export async function rehearse(path: string, options: RehearseOptions): Promise<void> {
  checkDocument(path);
  if (process.getuid?.() !== 0) {
    throw new CommandFailed('cannot rehearse: only root may lay a view over this machine; run it with sudo');
  }
  const program = process.argv[1] ?? '';
  const scratch = await mkdtemp(join(tmpdir(), 'evenkeel-rehearse-'));
  const order: StageOrder & { output: RehearseOptions } = {
    document: path,
    path: resolve(path),
    config: options.config === undefined ? undefined : resolve(options.config),
    program,
    scratch,
    network: options.network === true,
    quick: options.quick === true,
    ignored: [...IGNORED, ...(options.ignore ?? []).map((one) => resolve(one))],
    output: { ...options, ...(options.junit !== undefined && { junit: resolve(options.junit) }) },
  };
  try {
    const part = ['rehearse-part', 'stage', JSON.stringify(order)];
    const child = spawn(
      'unshare',
      ['--mount', '--propagation', 'private', process.execPath, program, ...part],
      {
        stdio: 'inherit',
      },
    );
    // The keyboard's signal reaches the parts by itself; this one stays until they are gone.
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal));
    const [code] = (await once(child, 'exit')) as [number | null];
    process.exitCode = code ?? CANNOT;
  } finally {
    await rmdir(scratch);
  }
}

/** The part in the mount namespace: prints, and sets the exit code. */
export async function rehearseStage(order: StageOrder & { output: RehearseOptions }): Promise<void> {
  const { output } = order;
  const live = process.stderr.isTTY && output.json !== true;
  try {
    const report = await stage(order, (count, of, title) => {
      if (live) process.stderr.write(`\r\x1b[K${count}/${of} ${title}`);
    });
    if (live) process.stderr.write('\r\x1b[K');
    if (output.junit !== undefined) await writeFile(output.junit, junitOf(report));
    const colour = process.stdout.isTTY && process.env['NO_COLOR'] === undefined;
    process.stdout.write(
      output.json === true ? `${JSON.stringify(report, null, 2)}\n` : tableOf(report, colour),
    );
    process.exitCode = report.kept ? 0 : 1;
  } catch (error) {
    process.stderr.write(`${live ? '\r\x1b[K' : ''}${(error as Error).message}\n`);
    process.exitCode = CANNOT;
  }
}

function checkDocument(path: string): void {
  try {
    JSON.parse(readText(path));
  } catch (error) {
    if (error instanceof CommandFailed) throw error;
    throw new CommandFailed(`${path}: is no JSON: ${(error as Error).message}`);
  }
}
