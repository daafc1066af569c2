import type { Core } from './core.ts';
import { parseCron } from './cron.ts';
import type { Job, SchedulingConfig } from './types.ts';

const MINUTE_MS = 60_000;

/** What a schedule does to a job at its moments. */
export interface ScheduleActions {
  start(job: Job): void;
  end(job: Job): void;
  window(job: Job, inWindow: boolean): void;
}

/** Start, end and maintenance windows of jobs: one timer each. */
export class Schedules {
  readonly #core: Core;
  readonly #actions: ScheduleActions;

  constructor(core: Core, actions: ScheduleActions) {
    this.#core = core;
    this.#actions = actions;
  }

  /** S27: neither started nor in a window is SCHEDULED. */
  isStarted({ schedulingConfig }: Pick<Job, 'schedulingConfig'>): boolean {
    const startMs = momentOf(schedulingConfig?.startTime);
    return startMs === undefined || startMs <= this.#core.timers.nowMs();
  }

  isInWindow({ schedulingConfig }: Pick<Job, 'schedulingConfig'>): boolean {
    return windowAt(schedulingConfig, this.#core.timers.nowMs()).open;
  }

  /** Sets the timers of a new job, or of one that was read back. */
  arm(job: Job): void {
    const { timers } = this.#core;
    const startMs = momentOf(job.schedulingConfig?.startTime);
    if (startMs !== undefined && startMs > timers.nowMs())
      timers.set(`start/${job.jobId}`, startMs, () => this.#actions.start(job));
    const endMs = momentOf(job.schedulingConfig?.endTime);
    if (endMs !== undefined && job.rollout.phase !== 'ended')
      timers.set(`end/${job.jobId}`, endMs, () => this.#actions.end(job));
    this.#armWindow(job);
  }

  disarm({ jobId }: Job): void {
    for (const kind of ['start', 'end', 'window']) this.#core.timers.clear(`${kind}/${jobId}`);
  }

  #armWindow(job: Job): void {
    const { timers } = this.#core;
    const { open, changesAtMs } = windowAt(job.schedulingConfig, timers.nowMs());
    if (open !== job.rollout.inWindow) this.#actions.window(job, open);
    if (changesAtMs !== undefined) timers.set(`window/${job.jobId}`, changesAtMs, () => this.#armWindow(job));
  }
}

/** Whether a window is open at that moment, and when to look again. Without windows it is always open. */
export function windowAt(
  config: SchedulingConfig | undefined,
  nowMs: number,
): { open: boolean; changesAtMs?: number } {
  const windows = config?.maintenanceWindows ?? [];
  if (windows.length === 0) return { open: true };
  let open = false;
  const changes: number[] = [];
  for (const { startTime, durationInMinutes } of windows) {
    const cron = parseCron(startTime);
    const lengthMs = durationInMinutes * MINUTE_MS;
    // Windows of one expression may overlap: the last one that has begun decides when it is over.
    let startMs = cron.next(nowMs - lengthMs + 1);
    while (startMs !== undefined && startMs <= nowMs) {
      open = true;
      changes.push(startMs + lengthMs);
      startMs = cron.next(startMs + 1);
    }
    if (startMs !== undefined) changes.push(startMs);
  }
  return changes.length === 0 ? { open } : { open, changesAtMs: Math.min(...changes) };
}

/** `2026-01-31T12:00` and the like, UTC where no zone is named. */
export function momentOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const spaced = text.trim().replace(' ', 'T');
  const moment = Date.parse(/(Z|[+-]\d{2}:?\d{2})$/i.test(spaced) ? spaced : `${spaced}Z`);
  return Number.isNaN(moment) ? undefined : moment;
}
