import type { Plan, PlanStep } from '../document/plan.ts';
import type { Clock } from '../host/clock.ts';
import type { Disk } from '../host/disk.ts';
import type { Processes } from '../host/processes.ts';
import type { Fingerprint, Json, Output, StepContext, StepType } from '../steps/step.ts';
import { type Attachment, attach, resolveAttachment } from '../store/attachment.ts';
import type { Journal } from '../store/journal.ts';
import { type OutputName, writeOutput } from '../store/outputs.ts';
import type { Cloud } from './cloud.ts';
import type { EffectOutput, StopReason } from './execution-machine.ts';
import type { Situation } from './next-move.ts';
import type { Progress } from './progress.ts';
import type { ExecutionRecord } from './records.ts';
import type { Images } from './verdict.ts';

/** All that the effects of one execution need; nothing else of the world is reachable from here. */
export interface ExecutionDeps {
  plan: Plan;
  journal: Pick<Journal, 'append'>;
  /** The execution's directory, absolute. */
  directory: string;
  cloud: Cloud;
  stepTypeOf(step: PlanStep): StepType;
  /** Fingerprints of resources as they are now. */
  observe(ids: readonly string[], context: StepContext): Promise<ReadonlyMap<string, Fingerprint>>;
  context: StepContext;
  disk: Disk;
  clock: Clock;
  processes: Processes;
  bootId: string;
  /** Cheap facts of what the link depends on differ from those at the start of this life, or nobody knows. */
  linkChanged(): Promise<boolean>;
  /** The plan touches something that the link depends on. */
  touchesLink: boolean;
  /** Makes the receipt durable where the execution itself can no longer carry the outcome (I8). */
  addReceipt(progress: Progress, cloudStatus: string): Promise<void>;
  limits: ExecutionLimits;
  /** How long a step may be held back: it ends before the timer of the execution does. Absent: nothing holds it. */
  holdMs?(signal: AbortSignal): Promise<number>;
  /** After each record that became durable; for status and tests. */
  onRecord?(record: ExecutionRecord): void;
  log: { info(fields: object, message: string): void; warn(fields: object, message: string): void };
}

export interface ExecutionLimits {
  undoAttemptsMax: number;
  undoTimeoutMs: number;
  undoRetryMs: number;
  finishAttemptsMax: number;
  linkWaitMs: number;
  askWaitMs: number;
  graceMs: number;
}

/** One effect: does one move, and says which stop reasons it obeys. */
export interface Effect {
  obeys(situation: Situation): readonly StopReason[];
  run(situation: Situation, effects: EffectTools, signal: AbortSignal): Promise<EffectOutput>;
}

/** What the effects share: the journal as the only writer, the images, and the last output of a step. */
export interface EffectTools extends ExecutionDeps {
  /** Makes records durable, in one block, and only then returns them. */
  put(...records: ExecutionRecord[]): Promise<readonly ExecutionRecord[]>;
  attachStep(name: string, value: Json): Promise<Attachment>;
  images(progress: Progress): Promise<Images>;
  output: { last?: Output };
  /** Keeps the tails of what a program said, for people; nothing depends on them. */
  keepOutput(name: OutputName, output: Output | undefined): Promise<void>;
}

/** The tools of one execution. */
export function createTools(deps: ExecutionDeps): EffectTools {
  const resolved = new Map<Attachment, unknown>();
  const resolve = async (attachment: Attachment | undefined): Promise<unknown> => {
    if (!attachment) return undefined;
    if (!resolved.has(attachment)) {
      const found = await resolveAttachment(deps.disk, deps.directory, attachment);
      if (!found.ok) deps.log.warn({ reason: found.reason }, 'an image is lost');
      resolved.set(attachment, found.ok ? found.value : undefined);
    }
    return resolved.get(attachment);
  };
  return {
    ...deps,
    output: {},
    async put(...records) {
      const at = deps.clock.wallMs();
      await deps.journal.append(records.map((record) => ({ at, ...record }) as never));
      for (const record of records) deps.onRecord?.(record);
      return records;
    },
    async keepOutput(name, output) {
      if (!output || (output.stdout === '' && output.stderr === '')) return;
      await writeOutput(deps.disk, deps.directory, name, { at: deps.clock.wallMs(), ...output }).catch(
        (error: unknown) =>
          deps.log.warn({ ...name, step: name.step + 1, error: String(error) }, 'cannot keep an output'),
      );
    },
    attachStep: (name, value) => attach(deps.disk, deps.directory, name, value),
    async images({ steps }) {
      const before: [number, unknown][] = [];
      const after: [number, unknown][] = [];
      for (const [index, step] of steps.entries()) {
        before.push([index, await resolve(step.before)]);
        after.push([index, await resolve(step.after)]);
      }
      const present = ([, value]: [number, unknown]): boolean => value !== undefined;
      return { before: new Map(before.filter(present)), after: new Map(after.filter(present)) } as Images;
    },
  };
}
