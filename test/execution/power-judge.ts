import type { CommitPolicy } from '../../src/execution/next-move.ts';
import type { Progress } from '../../src/execution/progress.ts';
import type { ForgetfulDisk } from '../support/forgetful-disk.ts';
import type { MemoryCloud } from '../support/memory-cloud.ts';
import { listDevice, type Scenario } from './power-scenario.ts';

/** What the end of a run is judged by; what is wrong is added to `wrong`. */
export interface Judged {
  scenario: Scenario;
  cloud: MemoryCloud;
  policy: CommitPolicy;
  forgetful: ForgetfulDisk;
  wrong: string[];
}

/** I1 and I2, byte for byte, against what the scenario says. */
export function judgeEnd(
  { scenario, cloud, policy, forgetful, wrong }: Judged,
  progress: Progress,
  when: string,
): void {
  const found = listDevice(forgetful.files);
  const wantNew = wantedNew(progress, cloud, policy);
  const wanted = wantNew ? scenario.new : scenario.old;
  const difference = [
    ...wanted.filter((line) => !found.includes(line)).map((line) => `  - ${line}`),
    ...found.filter((line) => !wanted.includes(line)).map((line) => `  + ${line}`),
  ];
  if (difference.length > 0) {
    wrong.push(`${when} the device is not ${wantNew ? 'new' : 'old'}:\n${difference.join('\n')}`);
  }
  const { verdict, cause, commit } = progress;
  if (verdict && (verdict.outcome !== 'rolledBack' || !verdict.verified)) {
    wrong.push(`the verdict is ${JSON.stringify(verdict)}`);
  }
  if (
    cause &&
    'reason' in cause &&
    /changed over a restart|not as the job's steps left it/.test(cause.reason)
  ) {
    wrong.push(`an effect that was called done is gone: ${cause.reason}`);
  }
  if (cloud.status === 'IN_PROGRESS' || cloud.status === 'QUEUED') {
    wrong.push(`closed, and the cloud says ${cloud.status}`);
  }
  if (cloud.status === 'SUCCEEDED' && commit === undefined) wrong.push('SUCCEEDED, and rolled back');
  if (scenario.doomed && commit !== undefined) wrong.push('a step must fail, and the job was committed');
}

/** I2: SUCCEEDED and nothing else is new; the exceptions are those that policy allows after a vote. */
function wantedNew({ commit }: Progress, { status }: Judged['cloud'], policy: CommitPolicy): boolean {
  switch (status) {
    case 'SUCCEEDED':
      return true;
    case 'TIMED_OUT':
    case 'REMOVED':
      return policy.timedOutAfterVote === 'keep' && commit === 'keptAfterVote';
    case 'deleted':
      return policy.inDoubt === 'keep' && commit === 'endedInDoubt';
    default:
      return false;
  }
}
