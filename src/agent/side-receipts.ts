import type { ExecutionIdentity } from '../execution/records.ts';
import type { Receipt } from '../receipts/receipt.ts';
import type { Admission } from './admission.ts';
import type { AgentDeps } from './agent.ts';

/** Receipts of what no journal of an execution can tell. */

type Facts = Pick<AgentDeps, 'clock' | 'bootId' | 'agentVersion'>;

function base(identity: ExecutionIdentity, { clock, bootId, agentVersion }: Facts) {
  return {
    format: 1 as const,
    ...identity,
    undone: [],
    notUndone: [],
    items: [],
    kept: [],
    endedAt: clock.wallMs(),
    bootId,
    agentVersion,
  };
}

/** IN_PROGRESS in the cloud and no journal here: never run again, and nothing is known of the device (section 4). */
export function lostStateReceipt(identity: ExecutionIdentity, facts: Facts): Receipt {
  return {
    ...base(identity, facts),
    cloudStatus: 'REJECTED',
    outcome: 'localStateLost',
    deviceState: 'unknown',
    verified: false,
    exception: 'localStateLost',
    cause: { kind: 'local', reason: 'the journal of this execution is lost' },
  };
}

/** `mode: observe`: what the job would be worth here, or why it would not run. */
export function observedReceipt(identity: ExecutionIdentity, admission: Admission, facts: Facts): Receipt {
  return {
    ...base(identity, facts),
    cloudStatus: 'QUEUED',
    outcome: 'observed',
    deviceState: 'old',
    verified: true,
    ...(admission.kind === 'admissible' && { grade: admission.grade }),
    cause: { kind: 'local', reason: observedWords(admission) },
  };
}

function observedWords(admission: Admission): string {
  switch (admission.kind) {
    case 'admissible':
      return 'mode: observe; planned and surveyed, not started';
    case 'refused':
      return `mode: observe; it would be REJECTED (${admission.code}): ${admission.reason}`;
    case 'waits':
      return `mode: observe; it would wait: ${admission.reason}`;
  }
}

/** The mark of INCONSISTENT is lifted: every item is old or new, or was accepted as it is. */
export function resolvedReceipt(
  identity: ExecutionIdentity,
  why: {
    kind: 'repair' | 'person';
    reason: string;
    accepted: readonly string[];
    /** What the items were found to be. */
    states: ReadonlySet<'old' | 'new' | 'neither'>;
    cloudStatus: string | undefined;
  },
  facts: Facts,
): Receipt {
  const { kind, reason, accepted, states, cloudStatus = 'REJECTED' } = why;
  const [only] = states.size === 1 ? states : [];
  return {
    ...base(identity, facts),
    cloudStatus,
    outcome: 'resolved',
    deviceState: states.size === 0 ? 'old' : only === 'old' || only === 'new' ? only : 'unknown',
    verified: !states.has('neither'),
    items: [...accepted],
    cause: { kind, reason },
  };
}
