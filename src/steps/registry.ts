import type { PlanStep } from '../document/plan.ts';
import { check } from './check.ts';
import { downloadFile } from './download-file.ts';
import { extractArchive } from './extract-archive.ts';
import { packageStep } from './packages/package-step.ts';
import { reboot, shutdown } from './reboot.ts';
import { removeFile } from './remove-file.ts';
import { restartServices } from './restart-services.ts';
import { rotateCertificate } from './rotate-certificate.ts';
import { runCommand } from './run-command.ts';
import { runHandler } from './run-handler.ts';
import { startServices } from './start-services.ts';
import type { StepType } from './step.ts';
import { stopServices } from './stop-services.ts';
import { switchLink } from './switch-link.ts';
import { wrapped } from './wrapped.ts';
import { writeFile } from './write-file.ts';

const STEP_TYPES: { [T in PlanStep['type']]: StepType<Extract<PlanStep, { type: T }>> } = {
  runCommand,
  runHandler,
  downloadFile,
  writeFile,
  removeFile,
  switchLink,
  startServices,
  stopServices,
  restartServices,
  extractArchive,
  installPackages: packageStep,
  removePackages: packageStep,
  rotateCertificate,
  reboot,
  shutdown,
  check,
};

/** The type that knows how to do and undo a step. */
export function stepTypeOf(step: PlanStep): StepType {
  const type: StepType = STEP_TYPES[step.type];
  return step.wrapped ? wrapped(type) : type;
}
