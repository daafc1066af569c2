import type { Switches } from '../options.ts';
import type { Events } from './events.ts';
import type { Notifications } from './notifications.ts';
import type { State } from './state.ts';
import type { Timers } from './timers.ts';
import type { Directory } from './types.ts';
import type { Waiting } from './waiting.ts';

/** What the parts of the service share. */
export interface Core {
  readonly state: State;
  readonly waiting: Waiting;
  readonly timers: Timers;
  readonly switches: Switches;
  readonly directory: Directory;
  readonly notifications: Notifications;
  readonly events: Events;
}

/** Epoch seconds with milliseconds. */
export function nowSeconds({ timers }: Pick<Core, 'timers'>): number {
  return Math.floor(timers.nowMs()) / 1000;
}
