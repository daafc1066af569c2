import { join } from 'node:path';
import type { Grade } from '../document/plan.ts';
import type { ExecutionIdentity } from '../execution/records.ts';
import { executionsDirectory } from '../store/execution-directory.ts';
import { admit } from './admission.ts';
import type { AgentDeps } from './agent.ts';
import { type Book, keyOf, strandedBy } from './book.ts';
import { takeIn } from './intake.ts';
import { Refused } from './refused.ts';

/**
 * A job of a person at the device, on the same engine and journal as those of the cloud. It waits for nothing: what
 * would leave a job of the cloud QUEUED is told to the person. Since nobody could give its URLs again, their queries
 * are kept in its plan until the execution is forgotten.
 */
export interface LocalJob {
  key: string;
  jobId: string;
  executionNumber: number;
  grade: Grade;
  steps: readonly { name: string; type: string }[];
}

const ID_CHARS = 8;

/** Makes its journal durable and puts it into the book; throws `Refused`. */
export async function takeInLocal(document: unknown, book: Book, deps: AgentDeps): Promise<LocalJob> {
  const { settings, clock, facts, disk, transport } = deps;
  if (settings.mode === 'observe') throw new Refused('mode is observe: nothing is started');
  const identity: ExecutionIdentity = {
    thing: settings.thing,
    jobId: `local-${clock.uuid().slice(0, ID_CHARS)}`,
    executionNumber: 1,
    queuedAt: Math.floor(clock.wallMs() / 1000),
  };
  const key = keyOf(identity);
  const directory = join(executionsDirectory(settings.stateDirectory), key);
  const admission = await admit(document, {
    facts,
    policy: settings.policy,
    disk,
    context: { ...deps.stepContext(key, directory), freshUrl: (step) => Promise.resolve(step.url) },
    reserveBytes: settings.reserveBytes,
  });
  if (admission.kind === 'refused') throw new Refused(`${admission.code}: ${admission.reason}`);
  if (admission.kind === 'waits') throw new Refused(`not now: ${admission.reason}`);
  const stranded = strandedBy(book);
  if (stranded && !admission.plan.repair) {
    throw new Refused(
      `the device is INCONSISTENT (${stranded.reason}); only a document with repair: true runs`,
    );
  }
  const local = { linkWasUp: transport.up };
  book.open.set(key, await takeIn(admission, { jobDocument: document, local }, identity, deps));
  const { plan, grade } = admission;
  const steps = plan.steps.map(({ name, type }) => ({ name, type }));
  return { key, jobId: identity.jobId, executionNumber: 1, grade, steps };
}
