import type { FetchingStep, Grade, PlanStep, ResourceId } from '../document/plan.ts';
import type { Clock } from '../host/clock.ts';
import type { Disk } from '../host/disk.ts';
import type { Processes, ProcessIdentity } from '../host/processes.ts';
import type { Systemd } from '../host/systemd.ts';

/**
 * The contract of a step type (design section 7). `do` and `undo` are symmetric: both may be called after a crash in
 * their own middle, both may find their work half done or done, both settle only when nothing of theirs runs any more.
 * Expected failures are values; a throw is a bug or a disk that cannot be written.
 */
export interface StepType<S extends PlanStep = PlanStep> {
  /** Reads only, for all steps, before anything is promised: what it would be worth and what cannot be had. */
  survey(step: S, context: StepContext): Promise<StepSurvey>;
  /** Takes the before-image of everything in `step.touches`, durably. Called once; its result is never replaced.
   * Where `signal` aborts it may give up; it is called again, or the job turns back, as if it had not begun. */
  prepare(step: S, context: StepContext, signal?: AbortSignal): Promise<Prepared>;
  /** Does the work; its own writes are durable when it resolves with `ok`. */
  do(
    step: S,
    before: Before,
    attempt: Attempt,
    context: StepContext,
    signal: AbortSignal,
  ): Promise<DoOutcome>;
  /**
   * Brings the step's resources back to `before`, from any point: not started, half done, done, already undone.
   * `after` is absent when the step did not finish.
   */
  undo(
    step: S,
    before: Before,
    after: After | undefined,
    attempt: Attempt,
    context: StepContext,
    signal: AbortSignal,
  ): Promise<UndoOutcome>;
  /**
   * Once per undone step after all undos, in the order of the steps: restarts and the like. `settled` holds what the
   * steps before it have settled already: each thing is restarted once.
   */
  settle?(step: S, before: Before, context: StepContext, settled: Set<ResourceId>): Promise<UndoOutcome>;
  /** Work that was deferred behind the commit (purge, shutdown). */
  finish?(step: S, before: Before, context: StepContext): Promise<UndoOutcome>;
  /**
   * Removes the before-image and everything staged, durably; also what a life began that ended before it could tell
   * of its image. Nothing to remove is fine.
   */
  discard(step: S, context: StepContext): Promise<void>;
}

export interface StepContext {
  disk: Disk;
  clock: Clock;
  processes: Processes;
  systemd: Systemd;
  /** Key of the execution: unique on this device, safe in a file name. */
  key: string;
  /** The execution's directory (0700), absolute. */
  directory: string;
  settings: StepSettings;
  /** The directory that images and staged files for a path are beside (`homesOf`). */
  homeOf(path: string): string;
  /** The URL of a download as the cloud gives it now, with its query (J14: a presigned URL is never kept). */
  freshUrl(step: FetchingStep, signal: AbortSignal): Promise<string>;
  /** Absent on a device that cannot be given another certificate. */
  certificates?: Certificates;
}

/** The certificates of this device, and the cloud's way to another one. */
export interface Certificates {
  /**
   * A new key with its certificate, registered, under this name in the directory of the link; durable, and not in use.
   * One that was begun under the name is gone on with. Settles when nothing of it is under way any more.
   */
  obtain(
    name: string,
    signal: AbortSignal,
  ): Promise<{ ok: true; certificateId: string } | { ok: false; reason: string }>;
  /** The certificate that was asked for under this name, as far as it got; the cloud may have registered it or not. */
  made(name: string): Promise<{ certificateId: string; registered: boolean } | undefined>;
  /** Connects anew where the link stands on another certificate than the one in use. */
  follow(): void;
  /** Removes all but the one in use. */
  prune(): Promise<void>;
}

/** What local configuration decides for steps. */
export interface StepSettings {
  handlerDirectory: string;
  allowHttp: boolean;
  /** Of downloads, wherever they are redirected to; absent or empty: any. */
  allowedHosts?: readonly string[];
  /** Between TERM and KILL. */
  graceMs: number;
  outputBytesMax: number;
  /** Of the processes of a step together. */
  memoryBytesMax?: number;
  tasksMax?: number;
  /** Programs under `runAsUser` gain no rights by setuid programs. */
  noNewPrivileges?: boolean;
  /** A run of dpkg is waited for at least so long, whatever the step's own limit is. */
  dpkgWaitMs?: number;
  /** Of one before-image that is a tree. */
  treeEntriesMax: number;
  treeBytesMax: number;
  /** How many times its own size an archive may unpack to. */
  archiveRatioMax: number;
}

export interface StepSurvey {
  grade: Grade;
  /** Room that staging and before-images take, by a path on the file system concerned. */
  diskNeed: readonly { path: string; bytes: number }[];
  /** `never`: will not work here, REJECTED. `wait`: may work later, stays QUEUED. Empty: fine. */
  problems: readonly { kind: 'never' | 'wait'; path: string; reason: string }[];
  /** What a person should know of the undo beside its grade. */
  notes?: readonly string[];
}

/** Compares equal exactly when kind, mode, owner, content, link target, xattrs and ACLs do. `absent` where nothing is. */
export type Fingerprint = string;

export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

/** The before-image of one step; plain JSON, it stands in the journal or in a file that the journal names. */
export interface Before {
  resources: readonly { id: ResourceId; fingerprint: Fingerprint; image: Json }[];
  /** What holds resources of this step and is touched by another one: compared at the end, undone there. */
  holders?: readonly { id: ResourceId; fingerprint: Fingerprint }[];
  /** It could not be had, and the step, whose failure does not matter, was not begun: there is nothing to undo. */
  leftOut?: true;
}

export interface After {
  /** Of all that `Before` names, the holders too. */
  resources: readonly { id: ResourceId; fingerprint: Fingerprint }[];
  /** Processes that the finished step left running; its undo ends them. */
  process?: ProcessIdentity;
}

/** One try of `do` or `undo`. */
export interface Attempt {
  /** From 1. */
  number: number;
  /** An undo on the way forward: the step is tried again behind it, so its before-image must outlive it. */
  triedAgain?: boolean;
  /** Makes the identity of a process durable in the journal; passed to `Processes.run`. */
  record(identity: ProcessIdentity): Promise<void>;
}

export interface Output {
  stdout: string;
  stderr: string;
}

export type Prepared = { ok: true; before: Before } | { ok: false; reason: string };

export type DoOutcome =
  | { result: 'ok'; after: After; output?: Output }
  | { result: 'failed'; reason: string; output?: Output }
  /** `signal` aborted, or something outside ended it by a signal: neither success nor failure. */
  | { result: 'interrupted'; reason: string; output?: Output };

export type UndoOutcome =
  /** `kept`: what was found that is neither before nor after, moved to `kept/` in the execution's directory. */
  | { result: 'ok'; kept: readonly { id: ResourceId; keptAs: string }[]; output?: Output }
  | { result: 'failed'; reason: string; output?: Output };
