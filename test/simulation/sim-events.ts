import type { Random } from '../support/random.ts';

/** Something that happens at a moment, counted in operations of the disk and the processes. */
export interface SimEvent {
  at: number;
  kind: EventKind;
}

/** The more often it stands here, the more often it happens. */
const KINDS = [
  // To the device.
  'cut',
  'cut',
  'cut',
  'cut',
  'kill',
  'kill',
  'kill',
  'ENOSPC',
  'EIO',
  'readOnly',
  'drain',
  'localCancel',
  'clockJump',
  'stranger',
  // To the road.
  'linkCut',
  'linkCut',
  'outage',
  'blackhole',
  // To the cloud.
  'throttle',
  'cancel',
  'cancel',
  'cancel',
  'cancelJob',
  'timeOut',
  'removeThing',
  'deleteJob',
  'recreateJob',
  'nextJob',
  'strangerUpdates',
  // While a vote is out.
  'localCancelAtVote',
  'cancelAtVote',
  'killAtVote',
  'linkCutAtVote',
] as const;

export type EventKind = (typeof KINDS)[number];

const EVENTS_MAX = 7;
const BURST_OPERATIONS = 80;

/** What a seed wants within so many operations, before anything is made smaller. */
export function eventsFrom(random: Random, operations: number): SimEvent[] {
  // Sometimes all of them fall into one step, or into the vote.
  const window = random.chance(0.4) ? Math.min(BURST_OPERATIONS, operations) : operations;
  const first = 1 + random.below(operations - window + 1);
  const events = Array.from({ length: random.below(EVENTS_MAX + 1) }, () => ({
    at: first + random.below(window),
    kind: random.pick(KINDS),
  }));
  return events.sort((a, b) => a.at - b.at);
}
