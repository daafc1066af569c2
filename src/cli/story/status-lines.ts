import type { Inhibition } from '../../agent/inhibition.ts';
import type { LiveStatus } from '../control/commands.ts';
import { explain } from '../doctor/explain.ts';
import type { StatusReport } from '../status.ts';
import { historyLines, nameWords, outcomeWords, type Paint, stepState, styleOf } from './paper.ts';
import type { Story, StorySummary } from './story.ts';
import { count, duration, moment, plain } from './words.ts';

/** `evenkeel status` for a person: what is the matter first, then what is going on. */
export function statusLines(report: StatusReport, nowMs: number, paint: Paint): string[] {
  const fact = (name: string, text: string): string => `${name.padEnd(9)}${text}`;
  const more = (text: string): string => `${' '.repeat(9)}${text}`;
  const { agent, current, needsHelp, receiptsWaiting, refusedChannels } = report;
  const live = agent && !('mute' in agent) ? agent : undefined;
  return [
    ...needsHelp.flatMap((one) => helpLines(one, paint)),
    fact('agent', agentWords(report, paint)),
    ...(live
      ? linkLines(live, nowMs, paint).map((line, at) => (at === 0 ? fact('link', line) : more(line)))
      : []),
    ...(live?.agent.inhibited ? [fact('held', inhibitedWords(live.agent.inhibited, paint))] : []),
    ...(current
      ? progressLines(current, live, nowMs, paint).map((line, at) =>
          at === 0 ? fact('job', line) : more(line),
        )
      : []),
    ...(receiptsWaiting === 0
      ? []
      : [fact('receipts', `${count(receiptsWaiting, 'receipt')} not yet with the cloud`)]),
    ...Object.entries(refusedChannels).map(([name, { topic, since, reason }]) =>
      fact(
        'receipts',
        paint(
          'yellow',
          `the ${name} channel (${topic}) is refused since ${moment(new Date(since).toISOString())}: ${plain(reason)}; evenkeel doctor`,
        ),
      ),
    ),
    ...(live
      ? [
          fact(
            'process',
            `pid ${live.pid}, version ${live.version}, up ${since(live.startedAt, nowMs)}, thing ${live.thing}`,
          ),
        ]
      : []),
    '',
    ...historyLines([...report.jobs].reverse(), paint),
  ];
}

function helpLines(one: StorySummary, paint: Paint): string[] {
  return [
    paint(['red', 'bold'], `${plain(nameWords(one))}: ${plain(outcomeWords(one))}`),
    ...one.advice.map((line) => paint('yellow', `  → ${plain(line)}`)),
    '',
  ];
}

const STATES: Record<string, string> = {
  opening: 'reads its journals',
  deciding: 'thinks',
  executing: 'works on a job',
  onErrand: 'does what a person has asked for',
  offline: 'waits for the link',
  seeking: 'asks the cloud for the next job',
  idle: 'idle, waits for a job',
  stranded: 'starts nothing but a repair',
  stopped: 'stops',
};

function agentWords({ agent, current }: StatusReport, paint: Paint): string {
  if (!agent) {
    const left = current ? '; the job below goes on when one starts' : '';
    return paint('yellow', `none runs; this is what the state directory says${left}`);
  }
  if ('mute' in agent) return paint('red', `one runs and does not answer: ${plain(agent.mute)}`);
  const { state, stranded } = agent.agent;
  const words = STATES[state] ?? state;
  const mode = agent.mode === 'observe' ? ' (mode observe: nothing is started)' : '';
  if (stranded !== undefined) {
    const doing = state === 'executing' ? 'works on a repair' : 'starts nothing but a repair';
    return paint('red', `${doing}: ${plain(stranded)}`);
  }
  return `${words}${mode}`;
}

function inhibitedWords({ reason, steps, leftMs }: Inhibition, paint: Paint): string {
  const what = steps ? 'no job and no step is begun' : 'no job is begun';
  return paint('yellow', `${what} for ${duration(leftMs)} at most: ${plain(reason)}; evenkeel allow ends it`);
}

function linkLines({ link }: LiveStatus, nowMs: number, paint: Paint): string[] {
  const version = link.mqttVersion === undefined ? '' : `, MQTT ${link.mqttVersion === 5 ? '5' : '3.1.1'}`;
  const to = `${plain(link.url)} as ${plain(link.clientId)}`;
  if (link.up) return [`up since ${moment(link.since)} (for ${since(link.since, nowMs)}${version}), ${to}`];
  const failure = link.lastFailure === undefined ? undefined : explain(link.lastFailure);
  return [
    paint('yellow', `down since ${moment(link.since)} (for ${since(link.since, nowMs)}), ${to}`),
    ...(link.lastFailure === undefined ? [] : [plain(link.lastFailure)]),
    ...(failure === undefined ? [] : [`that is: ${failure.cause}; evenkeel doctor says more`]),
  ];
}

/** What each move is, for one who wonders what takes so long. */
const MOVES: Record<string, string> = {
  resuming: 'takes it up again',
  asking: 'asks the cloud whether the job still stands',
  probing: 'looks whether what was done has outlived the restart',
  starting: 'waits for the cloud to say that it may begin',
  holding: 'waits, for it is inhibited, before the next step',
  preparing: 'secures what the next step will change',
  fencing: 'waits for the cloud: behind the next step there is no way back',
  attempting: 'runs the step',
  verifying: 'compares what the steps have done',
  linking: 'proves that the device still reaches the cloud',
  proposing: 'waits for the cloud to answer SUCCEEDED',
  withdrawing: 'takes SUCCEEDED back',
  undoing: 'undoes',
  settling: 'restarts what it undid',
  judging: 'compares with what was before',
  finishing: 'does what was put off behind the commit',
  reporting: 'tells the cloud how it ended',
};

const BAR_WIDTH = 20;

/** The job under way: how far, for how long, what it waits for, and each step. */
export function progressLines(
  story: Story,
  live: LiveStatus | undefined,
  nowMs: number,
  paint: Paint,
): string[] {
  const { stepsDone, stepsTotal, startedAt } = story;
  const back = story.events.find(({ type }) => type === 'aborted');
  const bar = stepsTotal === 0 ? '' : barOf(stepsDone / stepsTotal);
  const now = story.steps.find(({ state }) => state === 'attempting' || state === 'undoing');
  const move = live?.agent.job && (MOVES[live.agent.job.move] ?? live.agent.job.move);
  return [
    `${paint(styleOf(story), plain(nameWords(story)))}, begun ${since(startedAt ?? '', nowMs)} ago`,
    `${back ? paint('yellow', `${bar} goes back`) : `${bar} ${stepsDone} of ${count(stepsTotal, 'step')} done`}${story.cloudStatus === undefined ? '' : `, cloud ${story.cloudStatus}`}`,
    ...(back ? [paint('yellow', plain(back.text.replace(/^TURNS BACK: /, 'because: ')))] : []),
    ...(move === undefined ? [] : [`now: ${move}`]),
    ...story.steps.map((step) => {
      const running = step === now && step.state === 'attempting' && step.startedAt !== undefined;
      const took = running
        ? ` for ${since(step.startedAt!, nowMs)}`
        : step.undoMs !== undefined
          ? `, ${duration(step.undoMs)}`
          : step.doMs !== undefined
            ? `, ${duration(step.doMs)}`
            : '';
      const tries = step.attempts > 1 ? `, try ${step.attempts}` : '';
      const line = `${step === now ? '>' : ' '} ${step.number}. ${plain(step.name)}  ${stepState(step)}${took}${tries}`;
      return step === now ? paint('bold', line) : line;
    }),
  ];
}

function barOf(share: number): string {
  const full = Math.round(share * BAR_WIDTH);
  return `[${'#'.repeat(full)}${'.'.repeat(BAR_WIDTH - full)}]`;
}

/** Whole seconds: this is drawn anew each second, and is not measured. */
function since(iso: string, nowMs: number): string {
  const ms = Math.max(0, nowMs - Date.parse(iso));
  if (Number.isNaN(ms)) return 'an unknown time';
  return ms < 60_000 ? `${Math.floor(ms / 1000)} s` : duration(ms);
}
