import type { StartServicesStep } from '../document/plan.ts';
import type { StepType } from './step.ts';
import { bring, unitSteps } from './units.ts';

/** Starts units of systemd and waits until they run, and go on running. One that runs already is left alone. */
export const startServices: StepType<StartServicesStep> = unitSteps((unit, _before, context, signal) =>
  bring('start', unit, context, signal),
);
