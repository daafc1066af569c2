import type { Grade, ResourceId } from '../document/plan.ts';
import type { ProcessIdentity } from '../host/processes.ts';
import type { Attachment } from '../store/attachment.ts';
import type { CloudEnd } from './cloud.ts';

/**
 * The journal's records: every decision of an execution, each durable before it is acted upon. The names are a
 * contract with every journal on every device: a record type is never renamed, only added.
 */
export type ExecutionRecord =
  /** The first record: who, from where, and which plan (design section 6). */
  | {
      type: 'received';
      format: 1;
      identity: ExecutionIdentity;
      origin: Origin;
      agentVersion: string;
      bootId: string;
      /** SHA-256 of plan.json. */
      planSha256: string;
      /** After the survey, one per step. */
      grades: readonly Grade[];
      versionNumber: number;
    }
  /** The agent came back to an unfinished journal. */
  | {
      type: 'resumed';
      bootId: string;
      /** The last block was torn or rotten: the worst was assumed, and what follows builds on that. */
      tailLost?: true;
    }
  /** The cloud says IN_PROGRESS. */
  | { type: 'started'; versionNumber: number }
  /** The before-image of a step is durable. */
  | { type: 'ready'; step: number; before: Attachment }
  /** A fenced update was accepted before a pivot or a restart of the device (A7, A10). */
  | { type: 'fenced'; step: number; versionNumber: number }
  /** Intent: the step may run from here on. */
  | { type: 'attempt'; step: number; attempt: number; bootId: string }
  | { type: 'process'; step: number; direction: 'do' | 'undo'; identity: ProcessIdentity }
  /** The step's effects are durable. `ignored`: it failed, and the document says that this does not matter. */
  | { type: 'done'; step: number; after: Attachment; ignored?: string }
  | { type: 'failed'; step: number; reason: string }
  | { type: 'interrupted'; step: number; reason: string }
  /** All steps are done and verified, and the link is proved. */
  | { type: 'prepared'; versionNumber: number }
  /** The vote may be out. */
  | { type: 'proposed'; expectedVersion: number }
  /** A person wants the vote taken back: asked for until the cloud has answered, over every restart. */
  | { type: 'withdrawing'; cause: Cause }
  /** Every copy of the vote is stale. */
  | { type: 'withdrawn'; versionNumber: number }
  /** The one-way door: from here on everything is undone. */
  | { type: 'aborted'; cause: Cause }
  /** The cloud ended it past the pivot: finished forward all the same. */
  | { type: 'noted'; cause: Cause }
  | { type: 'undo'; step: number; attempt: number }
  | { type: 'undone'; step: number; kept: readonly { id: ResourceId; keptAs: string }[] }
  /** `final`: it will not be tried again. */
  | { type: 'undoFailed'; step: number; reason: string; final: boolean }
  /** On the way back, behind all undos: the device is asked to restart, and has when the boot id differs. */
  | { type: 'rebooting'; attempt: number; bootId: string }
  | { type: 'settled' }
  | { type: 'judged'; verdict: Verdict }
  | { type: 'committed'; how: Commit }
  /** Deferred work that ends the boot is asked for; it is done when the boot id differs. */
  | { type: 'finishing'; step: number; attempt: number; bootId: string }
  /** Undo data is dropped and deferred work done, or given up. */
  | { type: 'finished'; incomplete: readonly string[] }
  /** The outcome is with the cloud, or durable in the outbox. */
  | { type: 'reported'; cloudStatus: string }
  | { type: 'closed' }
  /** After the end: a person or a repair has answered for an INCONSISTENT device. */
  | { type: 'resolved'; reason: string; items: readonly ResourceId[] };

/** A record as it stands in the journal: `at` is the wall clock, for people only. */
export type StampedRecord = ExecutionRecord & { at: number };

export type RecordType = ExecutionRecord['type'];

/** An execution is named by all four everywhere (A21, S15). */
export interface ExecutionIdentity {
  thing: string;
  jobId: string;
  executionNumber: number;
  /** Epoch seconds, as the cloud gave it; compared for equality only. */
  queuedAt: number;
}

/** An answer is evidence only from here (design section 5). */
export interface Origin {
  endpoint: string;
  machineId: string;
}

/** The endpoint of a job that came from a person at the device; no host has such a name. */
export const LOCAL_ENDPOINT = 'local:';

export function isLocal({ endpoint }: Origin): boolean {
  return endpoint === LOCAL_ENDPOINT;
}

/** Why an execution turned back. */
export type Cause =
  | { by: 'cloud'; status: CloudEnd['status'] }
  | { by: 'step'; step: number; reason: string }
  | { by: 'check'; reason: string }
  | { by: 'local'; reason: string }
  | { by: 'limit'; reason: string }
  | { by: 'replaced' }
  | { by: 'foreign'; reason: string };

/** How the new state became the device's state. Only `accepted` and `ownSuccess` are ordinary (I2). */
export type Commit = 'accepted' | 'ownSuccess' | 'endedInDoubt' | 'keptAfterVote' | 'pivotPassed';

/** What the device turned out to be after a rollback. */
export interface Verdict {
  outcome: 'rolledBack' | 'notReversed' | 'inconsistent';
  /** Every resource was compared and every undone step has a true undo. */
  verified: boolean;
  /** Resources that are not old, each with what was found. */
  items: readonly { id: ResourceId; found: 'new' | 'neither' }[];
  /** Steps, by index, that had begun and have no undo or whose undo failed. */
  notUndone: readonly number[];
}
