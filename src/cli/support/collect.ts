import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import type { Config } from '../../config/config.ts';
import { systemClock } from '../../host/clock.ts';
import { nodeDisk } from '../../host/node-disk.ts';
import { examine } from '../doctor/examine.ts';
import { thisMachine } from '../doctor/host.ts';
import { gather } from '../status.ts';
import { planOf, readAll } from '../story/journals.ts';
import { openLibrary } from '../story/library.ts';

/** What goes into a support archive; whatever cannot be had says so in its place. */

export interface Collected {
  file: string;
  /** Text, or what becomes JSON. */
  content: unknown;
}

const run = promisify(execFile);
const DOCTOR_LIMIT_MS = 120_000;
const LOG_LINES_MAX = 5000;
const LOG_BYTES_MAX = 32 * 1024 * 1024;
const STATE_FILES = ['refused-channels.json', 'life.json', 'metrics.json', 'inhibition.json'];

export async function* collected(config: Config, configPath: string | undefined): AsyncGenerator<Collected> {
  const { directory } = config.state;
  yield { file: 'config.json', content: withoutValues(config) };
  yield await had('status.json', () => gather(config));
  yield await had('doctor.json', () => findings(configPath));
  yield await had('agent.log', agentLog);
  for (const name of STATE_FILES) {
    const text = await readFile(join(directory, name), 'utf8').catch(() => undefined);
    if (text !== undefined) yield { file: `state/${name}`, content: parsed(text) };
  }
  for (const name of await readdir(join(directory, 'outbox')).catch(() => [])) {
    yield await had(`receipts/${name}`, async () =>
      parsed(await readFile(join(directory, 'outbox', name), 'utf8')),
    );
  }
  const all = await readAll(nodeDisk, directory).catch(() => []);
  const library = openLibrary(nodeDisk, directory);
  // Newest first: they are what it is about, and the room may not do for all.
  for (const told of all.reverse()) {
    const jobId = told.progress?.identity.jobId ?? told.key;
    yield { file: `jobs/${told.key}/journal.json`, content: told };
    yield await had(`jobs/${told.key}/plan.json`, async () =>
      withoutContents(await planOf(nodeDisk, directory, told)),
    );
    yield await had(`jobs/${told.key}/story.json`, async () =>
      (await library.stories(jobId)).find(({ key }) => key === told.key),
    );
    yield await had(`jobs/${told.key}/outputs.json`, async () =>
      (await library.outputs(jobId)).find(({ key }) => key === told.key),
    );
  }
}

async function had(file: string, get: () => Promise<unknown>): Promise<Collected> {
  try {
    return { file, content: (await get()) ?? null };
  } catch (error) {
    return { file, content: { cannot: (error as Error).message } };
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

/** What a claim is made with may be a secret of the maker's. */
function withoutValues(config: Config): unknown {
  const { provisioning } = config;
  const names = Object.keys(provisioning.parameters);
  const parameters = Object.fromEntries(names.map((name) => [name, '[value]']));
  return { ...config, provisioning: { ...provisioning, parameters } };
}

/** What a document writes into files is the fleet's, and may be a key. */
function withoutContents(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutContents);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) =>
      name === 'contentBase64' && typeof inner === 'string'
        ? [name, `[${Buffer.from(inner, 'base64').length} bytes]`]
        : [name, withoutContents(inner)],
    ),
  );
}

async function findings(configPath: string | undefined): Promise<unknown> {
  const path = configPath === undefined ? undefined : resolve(configPath);
  const done = new AbortController();
  const tooLong = systemClock.sleep(DOCTOR_LIMIT_MS, done.signal).then(
    () => ({ cannot: 'it took too long' }),
    () => undefined,
  );
  try {
    return await Promise.race([examine({ configPath: path, write: false }, thisMachine()), tooLong]);
  } finally {
    done.abort(new Error('done'));
  }
}

async function agentLog(): Promise<string> {
  const { stdout } = await run(
    'journalctl',
    ['--unit=evenkeel', `--lines=${LOG_LINES_MAX}`, '--no-pager', '--output=short-iso-precise'],
    { maxBuffer: LOG_BYTES_MAX },
  );
  return stdout;
}
