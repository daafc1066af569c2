import { join } from 'node:path';
import { withoutUrlQueries } from '../document/document.ts';
import type { Plan } from '../document/plan.ts';
import { fold } from '../execution/progress.ts';
import { type ExecutionIdentity, type ExecutionRecord, LOCAL_ENDPOINT } from '../execution/records.ts';
import type { JobExecution } from '../jobs/messages.ts';
import { createExecutionDirectory } from '../store/execution-directory.ts';
import { openJournal } from '../store/journal.ts';
import type { Admission } from './admission.ts';
import type { AgentDeps } from './agent.ts';
import { keyOf, type OpenExecution, type StoredPlan } from './book.ts';

/** Blocks that one step may need, forward and back with all its tries, and the rest of an execution. */
const BLOCKS_PER_STEP = 12;
const BLOCKS_BESIDES = 12;

type CloudJob = Pick<JobExecution, 'jobDocument' | 'versionNumber'>;
/** Nobody can give its URLs again, so their queries stay in it. */
interface PersonsJob {
  jobDocument: unknown;
  local: NonNullable<StoredPlan['local']>;
}

/** Takes an execution in: its directory is durable, with plan and first record, before the cloud hears of it. */
export async function takeIn(
  { plan, grades }: Admission & { kind: 'admissible' },
  execution: CloudJob | PersonsJob,
  identity: ExecutionIdentity,
  deps: Pick<AgentDeps, 'settings' | 'disk' | 'clock' | 'machineId' | 'agentVersion' | 'bootId'>,
): Promise<OpenExecution> {
  const { settings, disk, clock } = deps;
  const key = keyOf(identity);
  const local = 'local' in execution ? execution.local : undefined;
  const stored: StoredPlan = local
    ? { plan, document: execution.jobDocument, local }
    : { plan: withoutPresigned(plan), document: withoutUrlQueries(execution.jobDocument) };
  const { directory, planSha256 } = await createExecutionDirectory(disk, settings.stateDirectory, identity, {
    plan: stored,
    capacityBlocks: blocksFor(plan),
    head: (sha256) => ({
      type: 'received',
      at: clock.wallMs(),
      format: 1,
      identity,
      origin: { endpoint: local ? LOCAL_ENDPOINT : settings.endpoint, machineId: deps.machineId },
      agentVersion: deps.agentVersion,
      bootId: deps.bootId,
      planSha256: sha256,
      grades,
      versionNumber: 'local' in execution ? 0 : execution.versionNumber,
    }),
  });
  const opened = await openJournal(disk, join(directory, 'journal'));
  if (opened.kind !== 'ok') throw new Error(`internal error: the new journal ${key} is ${opened.kind}`);
  const progress = fold(opened.records as unknown as ExecutionRecord[]);
  if (progress.planSha256 !== planSha256)
    throw new Error(`internal error: the new journal ${key} names another plan`);
  return { key, directory, journal: opened.journal, progress, stored, life: 'new' };
}

/** The URLs of downloads, which are asked for anew; a command with a URL in it must run as it was written. */
function withoutPresigned(plan: Plan): Plan {
  const steps = plan.steps.map((step) =>
    'urlHasQuery' in step ? { ...step, url: withoutUrlQueries(step.url) } : step,
  );
  return { ...plan, steps };
}

function blocksFor(plan: Plan): number {
  return plan.steps.length * BLOCKS_PER_STEP + BLOCKS_BESIDES;
}
