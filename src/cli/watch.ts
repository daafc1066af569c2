import { systemClock } from '../host/clock.ts';
import type { StatusReport } from './status.ts';
import { paintFor } from './story/paper.ts';
import { statusLines } from './story/status-lines.ts';
import { plain } from './story/words.ts';

/**
 * `status --watch`: in a terminal one picture that is drawn anew each second; elsewhere a line for each change, with
 * `--json` a report for each. Ends by Ctrl-C, SIGTERM, or a reader that has gone, with exit code 0.
 */
const EVERY_MS = 1000;
const CLEAR_BELOW = '\u001b[J';
const HIDE_CURSOR = '\u001b[?25l';
const SHOW_CURSOR = '\u001b[?25h';

export async function watch(gather: () => Promise<StatusReport>, { json }: { json: boolean }): Promise<void> {
  const out = process.stdout;
  const end = new AbortController();
  const stop = (): void => end.abort(new Error('enough'));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, stop);
  out.once('error', stop);
  const draw = json ? jsonDrawer() : out.isTTY ? terminalDrawer() : lineDrawer();
  try {
    while (!end.signal.aborted) {
      draw.report(await gather());
      await systemClock.sleep(EVERY_MS, end.signal).catch(() => undefined);
    }
  } finally {
    draw.end();
  }
}

interface Drawer {
  report(report: StatusReport): void;
  end(): void;
}

function terminalDrawer(): Drawer {
  const out = process.stdout;
  const paint = paintFor(out);
  let drawn = 0;
  out.write(HIDE_CURSOR);
  return {
    report(report) {
      const lines = statusLines(report, systemClock.wallMs(), paint)
        // A picture higher than the window could not be drawn over.
        .slice(0, Math.max(1, (out.rows ?? 24) - 1))
        .map((line) => cut(line, out.columns ?? 80));
      const up = drawn === 0 ? '' : `\u001b[${drawn}A`;
      out.write(`${up}\r${CLEAR_BELOW}${lines.join('\n')}\n`);
      drawn = lines.length;
    },
    end: () => void out.write(SHOW_CURSOR),
  };
}

/** A colour does not count, and is ended. */
function cut(line: string, width: number): string {
  let seen = 0;
  let kept = '';
  for (const part of line.split(/(\u001b\[[0-9;]*m)/)) {
    if (part.startsWith('\u001b')) kept += part;
    else {
      kept += part.slice(0, Math.max(0, width - seen));
      seen += part.length;
    }
  }
  return kept;
}

/** For files and pipes: one line where something has changed, with the time. */
function lineDrawer(): Drawer {
  let last = '';
  return {
    report(report) {
      const line = oneLine(report);
      if (line === last) return;
      last = line;
      process.stdout.write(`${new Date(systemClock.wallMs()).toISOString().slice(0, 19)}Z ${line}\n`);
    },
    end: () => undefined,
  };
}

function jsonDrawer(): Drawer {
  let last = '';
  return {
    report(report) {
      const line = JSON.stringify(report);
      if (line === last) return;
      last = line;
      process.stdout.write(`${line}\n`);
    },
    end: () => undefined,
  };
}

function oneLine({ agent, current, needsHelp, receiptsWaiting }: StatusReport): string {
  const live = agent && !('mute' in agent) ? agent : undefined;
  const running = current?.steps.find(({ state }) => state === 'attempting' || state === 'undoing');
  const step =
    running &&
    `, step ${running.number} of ${current?.stepsTotal} (${plain(running.name)}) ${running.state === 'undoing' ? 'being undone' : 'runs'}`;
  const job =
    current &&
    `, job ${plain(current.jobId)}#${current.executionNumber} ${live?.agent.job?.move ?? current.phase}${step ?? ''}`;
  return [
    `agent ${live?.agent.state ?? (agent ? 'mute' : 'absent')}`,
    ...(live ? [`, link ${live.link.up ? 'up' : 'down'}`] : []),
    job ?? '',
    ...(receiptsWaiting > 0 ? [`, ${receiptsWaiting} receipts wait`] : []),
    ...(needsHelp.length > 0
      ? [`, needs help: ${needsHelp.map(({ jobId }) => plain(jobId)).join(' ')}`]
      : []),
  ].join('');
}
