import type { StopServicesStep } from '../document/plan.ts';
import type { StepType } from './step.ts';
import { bring, unitSteps } from './units.ts';

/** Stops units of systemd, and sees that nothing starts them again at once. */
export const stopServices: StepType<StopServicesStep> = unitSteps((unit, _before, context, signal) =>
  bring('stop', unit, context, signal),
);
