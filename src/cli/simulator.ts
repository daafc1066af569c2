import { systemClock } from '../host/clock.ts';
import {
  type Simulator,
  type SimulatorOptions,
  startSimulator as startWith,
  VirtualClock,
} from '../simulator/index.ts';

/** `evenkeel/simulator`: AWS IoT Jobs inside a test. */

export type {
  Certificate,
  ExternalBroker,
  FaultRule,
  Simulator,
  SimulatorClock,
  SimulatorOptions,
} from '../simulator/index.ts';
export { VirtualClock } from '../simulator/index.ts';

/** Starts a simulator on free ports of this machine; every option is optional, the clock is the real one. */
export function startSimulator(options: Partial<SimulatorOptions> = {}): Promise<Simulator> {
  return startWith({ clock: systemClock, ...options });
}

/** A clock that runs like the real one and can be moved on. */
export function createVirtualClock(): VirtualClock {
  return new VirtualClock({ base: systemClock });
}
