/** The frozen plan of one job: what every dialect of a job document is read into, and all that execution knows. */
export interface Plan {
  format: 1;
  dialect: 'aws-1.0' | 'operation';
  steps: readonly PlanStep[];
  /** The worst grade of its steps, before the survey; the survey can only lower it. */
  grade: Grade;
  /** Bytes that the document itself announces (file contents, declared download sizes). */
  diskNeedBytes: number;
  /** The job mends a device that is INCONSISTENT. */
  repair: boolean;
  /** Resources that a repair declares to be right as they are after it. */
  accept: readonly ResourceId[];
  /** The outputs' tails go into the last update's details. */
  includeStdOut: boolean;
}

/**
 * What an undo of a step is worth. `full`: every declared resource comes back, and is compared. `bestEffort`: an undo
 * exists but its result cannot be compared. `none`: no undo.
 */
export type Grade = 'full' | 'bestEffort' | 'none';

/** A thing on the device that a step changes: its kind and its name, such as `path:/etc/app.conf`. */
export type ResourceId = string;

/** The kind of a resource, and its name within that kind. */
export function resourceOf(id: ResourceId): { kind: string; name: string } {
  const colon = id.indexOf(':');
  return { kind: id.slice(0, colon), name: id.slice(colon + 1) };
}

/** The names of those resources that are of this kind. */
export function namesOf(kind: string, ids: readonly ResourceId[]): string[] {
  return ids.map(resourceOf).flatMap((one) => (one.kind === kind ? [one.name] : []));
}

export type PlanStep =
  | RunCommandStep
  | RunHandlerStep
  | DownloadFileStep
  | WriteFileStep
  | RemoveFileStep
  | SwitchLinkStep
  | UnitsStep
  | ExtractArchiveStep
  | InstallPackagesStep
  | RemovePackagesStep
  | RotateCertificateStep
  | RebootStep
  | ShutdownStep
  | CheckStep;

export type StepType = PlanStep['type'];

/** A handler of AWS IoT Device Client, as the document calls it. */
export interface StockHandler {
  handler: string;
  args: readonly string[];
  /** Directory that the document names; absent: the configured one. */
  directory?: string;
  stderrLinesMax?: number;
}

export interface StepBase {
  /** Position in `Plan.steps`, from 0; a `finalStep` is the last. */
  index: number;
  /** Where it stands in the document, such as `steps[2].action`. */
  path: string;
  name: string;
  /** Absent: the agent's own user. */
  runAsUser?: string;
  timeoutSeconds: number;
  /** A failure of this step does not fail the job. */
  ignoreFailure: boolean;
  /** May be tried again after an interruption without an undo in between. */
  idempotent: boolean;
  /** Once begun, the job is finished forward (saga pivot). */
  pivot: boolean;
  /** Ends the boot that it is attempted in; it is done when the device has started again (design section 4). */
  endsBoot?: true;
  /** Its work behind the commit ends the boot; that is done last. */
  finishEndsBoot?: true;
  /** Of all its processes together; where the device allows less, less. */
  memoryBytesMax?: number;
  tasksMax?: number;
  /** The document says it by this handler. */
  stock?: StockHandler;
  /** The site has a script of its own by that handler's name: it does the step's work, and the step undoes it. */
  wrapped?: true;
  /** What the site's manifest of its handler says beside the document. */
  manifest?: { paths: readonly string[]; undo: boolean };
  /** A command that undoes it; runs before the paths are restored. */
  undo?: readonly string[];
  /** All that the step may change: what it names itself, and its `snapshotPaths`. */
  touches: readonly ResourceId[];
  grade: Grade;
}

export interface RunCommandStep extends StepBase {
  type: 'runCommand';
  argv: readonly string[];
  /** Its paths come from a rule for its command, not from its author; `besides`: what no before-image brings back. */
  byRule?: { besides?: string };
  /** More lines than this on stderr fail the step; absent: any number. */
  stderrLinesMax?: number;
}

export interface RunHandlerStep extends StepBase {
  type: 'runHandler';
  handler: string;
  args: readonly string[];
  /** Directory of the handler; absent: the configured one. */
  directory?: string;
  stderrLinesMax?: number;
}

export interface DownloadFileStep extends StepBase {
  type: 'downloadFile';
  url: string;
  /** The URL had a query, which is not kept: a presigned one is asked for again when it is needed (J14). */
  urlHasQuery: boolean;
  target: string;
  sha256?: string;
  sizeBytes?: number;
  mode?: number;
}

export interface WriteFileStep extends StepBase {
  type: 'writeFile';
  target: string;
  /** Decoded content, base64. */
  contentBase64: string;
  mode?: number;
}

export interface RemoveFileStep extends StepBase {
  type: 'removeFile';
  target: string;
}

export interface SwitchLinkStep extends StepBase {
  type: 'switchLink';
  link: string;
  target: string;
}

/** A new key and certificate for the device, and the link to the ones in use. */
export interface RotateCertificateStep extends StepBase {
  type: 'rotateCertificate';
  /** Absent where this device has nothing to rotate them with. */
  link?: string;
}

/** Units of systemd: services, and with their suffix timers, sockets and the like. */
interface UnitsStepBase extends StepBase {
  units: readonly string[];
  /** How long all of them must stay as the step brought them. */
  healthSeconds: number;
}

export interface StartServicesStep extends UnitsStepBase {
  type: 'startServices';
}

export interface StopServicesStep extends UnitsStepBase {
  type: 'stopServices';
}

export interface RestartServicesStep extends UnitsStepBase {
  type: 'restartServices';
}

export type UnitsStep = StartServicesStep | StopServicesStep | RestartServicesStep;

export interface ExtractArchiveStep extends StepBase {
  type: 'extractArchive';
  url: string;
  urlHasQuery: boolean;
  /** The directory that the archive becomes. */
  target: string;
  /** A symbolic link that is switched to it. */
  link?: string;
  sha256?: string;
  sizeBytes?: number;
  /** Absent: a plain tar. */
  compression?: 'gzip' | 'xz' | 'zstd';
  /** Leading parts of each name that are left out. */
  stripComponents: number;
}

/** Steps whose work begins with a download. */
export type FetchingStep = DownloadFileStep | ExtractArchiveStep;

export interface InstallPackagesStep extends StepBase {
  type: 'installPackages';
  /** As apt takes them: `nginx`, `nginx=1.22.1-9`, `libc6:arm64`. */
  packages: readonly string[];
  /** The package lists are fetched anew first. */
  update?: boolean;
}

export interface RemovePackagesStep extends StepBase {
  type: 'removePackages';
  packages: readonly string[];
  /** Their configuration goes too, after the commit: what is purged cannot come back. */
  purge: boolean;
}

export interface RebootStep extends StepBase {
  type: 'reboot';
}

export interface ShutdownStep extends StepBase {
  type: 'shutdown';
}

export interface CheckStep extends StepBase {
  type: 'check';
  check:
    | { kind: 'command'; argv: readonly string[] }
    | { kind: 'file'; target: string; sha256: string }
    | { kind: 'http'; url: string; status: number }
    /** All of them, or none of them. */
    | { kind: 'packages'; packages: readonly string[]; installed: boolean }
    /** It holds, and its output is this. */
    | { kind: 'says'; text: string };
  /** Tries until the step's timeout, this long apart. */
  intervalSeconds: number;
}

const RANK: Record<Grade, number> = { full: 0, bestEffort: 1, none: 2 };

/** The worse of two grades. */
export function worseGrade(a: Grade, b: Grade): Grade {
  return RANK[a] >= RANK[b] ? a : b;
}
