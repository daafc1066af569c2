import type { Disk } from '../../host/disk.ts';
import { type KeptOutput, type OutputName, readOutputs } from '../../store/outputs.ts';
import { directoryOf, imagesOf, planOf, readAll, type Told } from './journals.ts';
import { type Story, type StorySummary, storyOf, summaryOf } from './story.ts';

/** The stories in a state directory; reads only. The commands use it, and the agent for those who may not read there. */

export interface Library {
  summaries(): Promise<StorySummary[]>;
  stories(jobId: string): Promise<Story[]>;
  outputs(jobId: string): Promise<StoryOutputs[]>;
}

export function openLibrary(disk: Disk, state: string): Library {
  return {
    summaries: () => summariesIn(disk, state),
    stories: (jobId) => storiesIn(disk, state, jobId),
    outputs: (jobId) => outputsIn(disk, state, jobId),
  };
}

/** Of all executions, oldest first. */
async function summariesIn(disk: Disk, state: string): Promise<StorySummary[]> {
  const summaries: StorySummary[] = [];
  for (const told of await readAll(disk, state))
    summaries.push(summaryOf(told, await planOf(disk, state, told)));
  return summaries;
}

/** Every execution of a job, oldest first; an unreadable one goes by its key. */
async function storiesIn(disk: Disk, state: string, jobId: string): Promise<Story[]> {
  const stories: Story[] = [];
  for (const told of await executionsOf(disk, state, jobId)) {
    stories.push(storyOf(told, await planOf(disk, state, told), await imagesOf(disk, state, told)));
  }
  return stories;
}

/** What the programs of one execution said. */
export interface StoryOutputs {
  key: string;
  jobId: string;
  executionNumber: number;
  runs: (OutputName & KeptOutput & { name: string })[];
}

async function outputsIn(disk: Disk, state: string, jobId: string): Promise<StoryOutputs[]> {
  const found: StoryOutputs[] = [];
  for (const told of await executionsOf(disk, state, jobId)) {
    const plan = await planOf(disk, state, told);
    const outputs = await readOutputs(disk, directoryOf(state, told.key));
    found.push({
      key: told.key,
      jobId: told.progress?.identity.jobId ?? told.key,
      executionNumber: told.progress?.identity.executionNumber ?? 0,
      runs: outputs.map((output) => ({
        ...output,
        step: output.step + 1,
        name: plan?.steps[output.step]?.name ?? `step ${output.step + 1}`,
      })),
    });
  }
  return found;
}

async function executionsOf(disk: Disk, state: string, jobId: string): Promise<Told[]> {
  const all = await readAll(disk, state);
  return all.filter(({ key, progress }) => key === jobId || progress?.identity.jobId === jobId);
}
