import { join } from 'node:path';
import { deviceState, planGrade } from '../execution/details.ts';
import { fold, type Progress } from '../execution/progress.ts';
import type { ExecutionRecord, StampedRecord } from '../execution/records.ts';
import { nodeDisk } from '../host/node-disk.ts';
import { readRefusals } from '../receipts/refusals.ts';
import { executionsDirectory, listExecutions } from '../store/execution-directory.ts';
import { readJournal } from '../store/journal.ts';
import { CommandFailed } from './command-failed.ts';
import { readConfig } from './settings.ts';

/** `evenkeel status` and `evenkeel show`: what the journals say. They read files only and need no running agent. */

interface Told {
  key: string;
  records: readonly StampedRecord[];
  progress: Progress | undefined;
  /** Why the journal cannot be believed. */
  wrong?: string;
}

interface Options {
  config?: string;
  json?: boolean;
}

export async function status(options: Options): Promise<void> {
  const told = await readAll(options);
  const rows = told.map(({ key, progress, records, wrong }) => ({
    jobId: progress?.identity.jobId ?? key,
    executionNumber: progress?.identity.executionNumber ?? 0,
    phase: wrong === undefined ? (progress?.phase ?? 'unknown') : 'corrupt',
    outcome: outcomeOf(progress),
    cloudStatus: progress?.cloudStatus ?? '',
    at: new Date(records.at(-1)?.at ?? 0).toISOString(),
    ...(wrong !== undefined && { wrong }),
  }));
  const refused = await readRefusals(nodeDisk, readConfig(options.config).state.directory);
  if (options.json) {
    print(JSON.stringify({ jobs: rows, refusedChannels: refused }, null, 2));
    return;
  }
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
  const found = (await readAll(options)).filter(({ progress }) => progress?.identity.jobId === jobId);
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

async function readAll(options: Options): Promise<Told[]> {
  const state = readConfig(options.config).state.directory;
  const told: Told[] = [];
  for (const key of await listExecutions(nodeDisk, state)) {
    const read = await readJournal(nodeDisk, join(executionsDirectory(state), key, 'journal'));
    if (read.kind === 'newerFormat') {
      told.push({ key, records: [], progress: undefined, wrong: `format ${read.format}` });
      continue;
    }
    const records = read.records as StampedRecord[];
    const progress = records.length > 0 ? fold(records) : undefined;
    told.push({ key, records, progress, ...(read.kind === 'corrupt' && { wrong: read.reason }) });
  }
  return told.sort((a, b) => (a.records[0]?.at ?? 0) - (b.records[0]?.at ?? 0));
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
