import type { Plan } from '../../document/plan.ts';
import { causeText } from '../../execution/details.ts';
import type { ExecutionRecord } from '../../execution/records.ts';
import { nameOf } from './advice.ts';

/** Records, times and outcomes in a person's words. */

export function recordWords(record: ExecutionRecord, plan: Plan): string {
  const step = 'step' in record ? stepWords(record.step, plan) : '';
  switch (record.type) {
    case 'received':
      return `the job has come, with ${count(record.grades.length, 'step')}`;
    case 'resumed':
      return `the agent is back${record.tailLost ? '; its last record was lost, so the worst is assumed' : ''}`;
    case 'started':
      return 'the cloud knows that it has begun (IN_PROGRESS)';
    case 'ready':
      return `${step}: what it will change is secured`;
    case 'fenced':
      return `${step}: the cloud still wants it, asked before there is no way back`;
    case 'attempt':
      return `${step} begins${record.attempt > 1 ? `, try ${record.attempt}` : ''}`;
    case 'process':
      return `${step}: ${record.direction === 'do' ? 'its program runs' : 'its undo command runs'}`;
    case 'done':
      return record.ignored === undefined
        ? `${step} is done`
        : `${step} failed, which may be: ${record.ignored}`;
    case 'failed':
      return `${step} FAILED: ${record.reason}`;
    case 'interrupted':
      return `${step} was interrupted: ${stopWords(record.reason)}`;
    case 'undo':
      return `${step}: its undo begins${record.attempt > 1 ? `, try ${record.attempt}` : ''}`;
    case 'undone':
      return `${step} is undone${record.kept.length > 0 ? `; moved aside: ${record.kept.map(({ keptAs }) => keptAs).join(' ')}` : ''}`;
    case 'undoFailed':
      return `${step}: its undo FAILED${record.final ? ' for good' : ''}: ${record.reason}`;
    default:
      return endWords(record, plan);
  }
}

type EndRecord = Exclude<ExecutionRecord, { step: number } | { type: 'received' | 'resumed' | 'started' }>;

function endWords(record: EndRecord | (ExecutionRecord & { type: 'finishing' }), plan: Plan): string {
  switch (record.type) {
    case 'prepared':
      return 'all steps are done and compared, and the link is proved';
    case 'proposed':
      return 'SUCCEEDED is on its way; the cloud decides';
    case 'withdrawing':
      return `SUCCEEDED is to be taken back: ${causeText(record.cause, plan)}`;
    case 'withdrawn':
      return 'SUCCEEDED is taken back';
    case 'aborted':
      return `TURNS BACK: ${causeText(record.cause, plan)}`;
    case 'noted':
      return `past the pivot, so it goes on: ${causeText(record.cause, plan)}`;
    case 'rebooting':
      return `the device is asked to restart, behind all undos${record.attempt > 1 ? `, try ${record.attempt}` : ''}`;
    case 'settled':
      return 'all undos and restarts are through';
    case 'judged':
      return judgedWords(record.verdict);
    case 'committed':
      return COMMITS[record.how];
    case 'finishing':
      return `the device is asked to go down, as the job wants${record.attempt > 1 ? `, try ${record.attempt}` : ''}`;
    case 'finished':
      return record.incomplete.length === 0
        ? 'undo data is dropped'
        : `undo data is dropped; not done: ${record.incomplete.join('; ')}`;
    case 'reported':
      if (record.cloudStatus === 'none') return 'a local job: the cloud hears of it by its receipt';
      return `the cloud has it as ${record.cloudStatus}`;
    case 'closed':
      return 'closed';
    case 'resolved':
      return `resolved: ${record.reason}`;
  }
}

const COMMITS: Record<(ExecutionRecord & { type: 'committed' })['how'], string> = {
  accepted: 'COMMITTED: the cloud accepted SUCCEEDED',
  ownSuccess: 'COMMITTED: the cloud has our SUCCEEDED',
  endedInDoubt: 'COMMITTED in doubt: nobody can say whether SUCCEEDED was accepted',
  keptAfterVote: 'COMMITTED by policy: the cloud had timed it out or removed it after the vote',
  pivotPassed: 'COMMITTED past its pivot: the cloud had ended it meanwhile',
};

function judgedWords({
  outcome,
  verified,
  items,
  notUndone,
}: (ExecutionRecord & { type: 'judged' })['verdict']): string {
  const differing = items.map(
    ({ id, found }) => `${nameOf(id)} (${found === 'new' ? 'still new' : 'neither old nor new'})`,
  );
  const steps = notUndone.map((index) => index + 1);
  return [
    `compared: ${OUTCOMES[outcome]}${verified ? '' : ', which cannot be proved'}`,
    ...(differing.length > 0 ? [differing.join(', ')] : []),
    ...(steps.length > 0 ? [`without a proved undo: step ${steps.join(', ')}`] : []),
  ].join('; ');
}

export const OUTCOMES = {
  underWay: 'under way',
  committed: 'done, the device is new',
  rolledBack: 'the device is as it was',
  notReversed: 'NOT all of it is reversed',
  inconsistent: 'the device is INCONSISTENT',
  unknown: 'nobody knows',
} as const;

function stepWords(index: number, plan: Plan): string {
  const name = plan.steps[index]?.name;
  return name === undefined ? `step ${index + 1}` : `step ${index + 1} (${name})`;
}

export function count(number: number, word: string): string {
  return `${number} ${word}${number === 1 ? '' : 's'}`;
}

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** `0.02 s`, `6.4 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`. */
export function duration(ms: number): string {
  if (ms < 5) return '<0.01 s';
  if (ms < 100) return `${(ms / SECOND_MS).toFixed(2)} s`;
  if (ms < 10 * SECOND_MS) return `${(ms / SECOND_MS).toFixed(1)} s`;
  if (ms < MINUTE_MS) return `${Math.round(ms / SECOND_MS)} s`;
  if (ms < HOUR_MS) return both(ms, MINUTE_MS, 'min', SECOND_MS, 's');
  if (ms < DAY_MS) return both(ms, HOUR_MS, 'h', MINUTE_MS, 'min');
  return both(ms, DAY_MS, 'd', HOUR_MS, 'h');
}

function both(ms: number, bigMs: number, big: string, smallMs: number, small: string): string {
  const rest = Math.floor((ms % bigMs) / smallMs);
  return `${Math.floor(ms / bigMs)} ${big}${rest === 0 ? '' : ` ${rest} ${small}`}`;
}

/** `2026-11-24 03:12:04Z`, of an ISO time. */
export function moment(iso: string): string {
  return `${iso.slice(0, 19).replace('T', ' ')}Z`;
}

const STOPS: Readonly<Record<string, string>> = {
  'stopped: ended': 'ended, since the cloud has ended the job',
  'stopped: cancel': 'ended, since the job was cancelled here',
  'stopped: drain': 'ended, since the agent was stopped',
  'stopped: halt': 'ended, since the agent was stopped and could not wait any longer',
};

/** Why a step was stopped; all other reasons are words already. */
export function stopWords(reason: string): string {
  return STOPS[reason] ?? reason;
}

/** A fingerprint that fits on a line: hashes are cut to twelve digits. */
export function shortPrint(fingerprint: string): string {
  return fingerprint.replace(/\b([0-9a-f]{12})[0-9a-f]{20,}\b/g, '$1…');
}

/**
 * Text of others as a terminal may show it: no control characters (ESC would draw what it likes) and nothing that
 * turns the direction of reading around.
 */
export function plain(text: string): string {
  return text.replace(
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
