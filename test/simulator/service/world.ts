import { VirtualClock } from '../../../src/simulator/clock.ts';
import { JobsService, type JobsServiceDeps, thingArn } from '../../../src/simulator/service/jobs-service.ts';
import { Things } from '../../../src/simulator/service/things.ts';
import type { NewJob } from '../../../src/simulator/service/types.ts';

/** The service on a virtual clock, and everything that it has made known. */

export const MINUTE_MS = 60_000;

export interface Heard {
  kind: 'notify' | 'notify-next' | 'event';
  /** The thing, or the topic of an event. */
  to: string;
  body: Record<string, unknown>;
}

export interface World {
  service: JobsService;
  clock: VirtualClock;
  things: Things;
  heard: Heard[];
  /** What was heard since the last call, in short. */
  news(): string[];
  create(jobId: string, more?: Partial<NewJob>): void;
  advance(minutes: number): Promise<void>;
}

export function world(deps: Partial<JobsServiceDeps> = {}, names: readonly string[] = ['t']): World {
  const clock = (deps.clock as VirtualClock | undefined) ?? new VirtualClock();
  const things = (deps.directory as Things | undefined) ?? new Things();
  for (const name of names) things.addThing(name);
  const heard: Heard[] = [];
  const hear =
    (kind: Heard['kind']) =>
    (to: string, body: object): void =>
      void heard.push({ kind, to, body: body as Record<string, unknown> });
  const service = new JobsService({
    ...deps,
    clock,
    directory: things,
    notifier: { notify: hear('notify'), notifyNext: hear('notify-next'), event: hear('event') },
  });
  let told = 0;
  return {
    service,
    clock,
    things,
    heard,
    news() {
      const fresh = heard.slice(told).map(inShort);
      told = heard.length;
      return fresh;
    },
    create: (jobId, more = {}) =>
      void service.createJob({ jobId, targets: names.map(thingArn), document: `{"of":"${jobId}"}`, ...more }),
    advance: (minutes) => clock.advance(minutes * MINUTE_MS),
  };
}

interface Summary {
  jobId: string;
}

function inShort({ kind, to, body }: Heard): string {
  if (kind === 'event') return to.replace('$aws/events/', '');
  if (kind === 'notify-next') {
    const execution = body['execution'] as (Summary & { status: string }) | undefined;
    return execution ? `next ${execution.jobId} ${execution.status}` : 'next none';
  }
  const lists = Object.entries(body['jobs'] as Record<string, Summary[]>);
  return [
    'notify',
    ...lists.map(([status, list]) => `${status}:${list.map(({ jobId }) => jobId).join(',')}`),
  ].join(' ');
}
