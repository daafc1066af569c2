import { randomFrom } from '../support/random.ts';
import { scenarioFrom } from './power-scenario.ts';

/** Something that happens at a moment, counted in operations of the disk, the processes and the cloud. */
export interface PlannedEvent {
  at: number;
  kind: (typeof KINDS)[number];
}

/** The more often it stands here, the more often it happens. */
const KINDS = [
  'cut',
  'cut',
  'cut',
  'cut',
  'cut',
  'cut',
  'kill',
  'kill',
  'kill',
  'ENOSPC',
  'EIO',
  'drain',
  'halt',
  'cancel',
  'cancel',
  'CANCELED',
  'CANCELED',
  'CANCELED',
  'TIMED_OUT',
  'REMOVED',
  'deleted',
] as const;

const OPERATIONS_PER_STEP = 110;
const EVENTS_MAX = 5;
const BURST_OPERATIONS = 80;

/** What a seed wants, before anything is made smaller. */
export function eventsOf(seed: number): PlannedEvent[] {
  const random = randomFrom(seed ^ 0x5bd1e995);
  const { plan } = scenarioFrom(randomFrom(seed));
  const horizon = 150 + plan.steps.length * OPERATIONS_PER_STEP;
  // Sometimes all of them fall into one step, or into the vote.
  const window = random.chance(0.5) ? BURST_OPERATIONS : horizon;
  const first = 1 + random.below(horizon - window + 1);
  const events = Array.from({ length: random.below(EVENTS_MAX + 1) }, () => ({
    at: first + random.below(window),
    kind: random.pick(KINDS),
  }));
  return events.sort((a, b) => a.at - b.at);
}
