import { join } from 'node:path';
import type { Config } from '../config/config.ts';
import { deviceState, planGrade } from '../execution/details.ts';
import { fold, type Progress } from '../execution/progress.ts';
import type { ExecutionRecord, StampedRecord } from '../execution/records.ts';
import { systemClock } from '../host/clock.ts';
import { nodeDisk } from '../host/node-disk.ts';
import { readRefusals } from '../receipts/refusals.ts';
import { executionsDirectory, listExecutions } from '../store/execution-directory.ts';
import { readJournal } from '../store/journal.ts';
import { CommandFailed } from './command-failed.ts';
import { askAgent } from './control/client.ts';
import type { LiveStatus } from './control/commands.ts';
import { explain } from './doctor/explain.ts';
import { readConfig } from './settings.ts';

/**
 * `evenkeel status` and `evenkeel show`: what the journals say. They read files and need no running agent; where one
 * runs, `status` asks it for what is not in any file: its state, its link, the move that it is in.
 */

export interface Told {
  key: string;
  records: readonly StampedRecord[];
  progress: Progress | undefined;
  /** Why the journal cannot be believed. */
  wrong?: string;
  /** Set where a newer version wrote it. */
  newerFormat?: number;
}

const HERE = { disk: nodeDisk, clock: systemClock };
const STATUS_LIMIT_MS = 5000;

interface Options {
  config?: string;
  json?: boolean;
}

export async function status(options: Options): Promise<void> {
  const config = readConfig(options.config);
  const live = await liveStatus(config);
  const told = await readAll(config.state.directory);
  const rows = told.map(({ key, progress, records, wrong }) => ({
    jobId: progress?.identity.jobId ?? key,
    executionNumber: progress?.identity.executionNumber ?? 0,
    phase: wrong === undefined ? (progress?.phase ?? 'unknown') : 'corrupt',
    outcome: outcomeOf(progress),
    cloudStatus: progress?.cloudStatus ?? '',
    at: new Date(records.at(-1)?.at ?? 0).toISOString(),
    ...(wrong !== undefined && { wrong }),
  }));
  const refused = await readRefusals(nodeDisk, config.state.directory);
  if (options.json) {
    const answer = { ...(live && { agent: live }), jobs: rows, refusedChannels: refused };
    print(JSON.stringify(answer, null, 2));
    return;
  }
  for (const line of liveLines(live)) print(line);
  if (rows.length === 0) print('no job has run here yet');
  for (const row of rows) {
    const cloud = row.cloudStatus === '' ? '' : `, cloud ${row.cloudStatus}`;
    print(`${row.at}  ${row.jobId}#${row.executionNumber}  ${row.phase}: ${row.outcome}${cloud}`);
  }
  for (const [name, { topic, since, reason }] of Object.entries(refused)) {
    print(
      `receipts: the ${name} channel (${topic}) is refused since ${new Date(since).toISOString()}: ${reason}`,
    );
  }
}

export async function show(jobId: string, options: Options): Promise<void> {
  const found = (await readAll(readConfig(options.config).state.directory)).filter(
    ({ progress }) => progress?.identity.jobId === jobId,
  );
  if (found.length === 0) throw new CommandFailed(`no execution of ${jobId} has run here`);
  if (options.json) {
    print(
      JSON.stringify(
        found.map(({ records }) => records),
        null,
        2,
      ),
    );
    return;
  }
  for (const { progress, records } of found) {
    if (!progress) continue;
    print(
      `${jobId}#${progress.identity.executionNumber}: ${outcomeOf(progress)}, grade ${planGrade(progress)}`,
    );
    for (const record of records) print(`  ${new Date(record.at).toISOString()}  ${recordWords(record)}`);
  }
}

function outcomeOf(progress: Progress | undefined): string {
  if (!progress) return 'unknown';
  if (!progress.verdict && !progress.commit) return 'under way';
  const outcome = progress.verdict?.outcome ?? 'committed';
  return `${outcome}, device ${deviceState(progress)}${progress.verdict?.verified === false ? ', not verified' : ''}`;
}

function recordWords(record: ExecutionRecord): string {
  const step = 'step' in record ? ` step ${record.step + 1}` : '';
  switch (record.type) {
    case 'failed':
    case 'interrupted':
    case 'undoFailed':
      return `${record.type}${step}: ${record.reason}`;
    case 'aborted':
      return `aborted: ${JSON.stringify(record.cause)}`;
    case 'judged':
      return `judged: ${record.verdict.outcome}, verified ${record.verdict.verified}`;
    case 'committed':
      return `committed: ${record.how}`;
    case 'reported':
      return `reported: cloud ${record.cloudStatus}`;
    default:
      return `${record.type}${step}`;
  }
}

/** Every journal of a state directory, oldest first; reads only. */
export async function readAll(state: string): Promise<Told[]> {
  const told: Told[] = [];
  for (const key of await listExecutions(nodeDisk, state)) {
    told.push(await readOne(key, join(executionsDirectory(state), key, 'journal')));
  }
  return told.sort((a, b) => (a.records[0]?.at ?? 0) - (b.records[0]?.at ?? 0));
}

async function readOne(key: string, path: string): Promise<Told> {
  const unreadable = (error: unknown): Told => ({
    key,
    records: [],
    progress: undefined,
    wrong: (error as Error).message,
  });
  try {
    const read = await readJournal(nodeDisk, path);
    if (read.kind === 'newerFormat') {
      return { ...unreadable(new Error(`format ${read.format}`)), newerFormat: read.format };
    }
    const records = read.records as StampedRecord[];
    const progress = records.length > 0 ? fold(records) : undefined;
    return { key, records, progress, ...(read.kind === 'corrupt' && { wrong: read.reason }) };
  } catch (error) {
    return unreadable(error);
  }
}

/** What the running agent says of itself; why it says nothing; `undefined` where none runs. */
async function liveStatus({ state, control }: Config): Promise<LiveStatus | { mute: string } | undefined> {
  try {
    const answer = await askAgent<LiveStatus>(
      state.directory,
      { command: 'status' },
      { ...HERE, readers: control },
      STATUS_LIMIT_MS,
    );
    if (!answer) return undefined;
    return answer.ok ? answer.value : { mute: answer.error.message };
  } catch (error) {
    return { mute: (error as Error).message };
  }
}

function liveLines(live: LiveStatus | { mute: string } | undefined): string[] {
  if (!live) return ['no agent runs here', ''];
  if ('mute' in live) return [`an agent runs here and does not answer: ${live.mute}`, ''];
  const { agent, link } = live;
  const version = link.mqttVersion === undefined ? '' : `, MQTT ${link.mqttVersion === 5 ? '5' : '3.1.1'}`;
  const job = agent.job && `${agent.job.jobId}#${agent.job.executionNumber}, ${agent.job.move}`;
  const failure = link.up || link.lastFailure === undefined ? undefined : explain(link.lastFailure);
  return [
    `agent    ${agent.state}${job === undefined ? '' : `: ${job}`}${agent.stranded === undefined ? '' : ` (stranded: ${agent.stranded})`}`,
    `link     ${link.up ? `up since ${link.since}${version}` : `down since ${link.since}`}, ${link.url} as ${link.clientId}`,
    ...(failure === undefined ? [] : [`         ${link.lastFailure}`, `         that is: ${failure.cause}`]),
    `process  ${live.pid}, version ${live.version}, since ${live.startedAt}`,
    '',
  ];
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
