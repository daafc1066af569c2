import { within } from '../host/within.ts';
import type { Answer, Stopped } from './cloud.ts';
import { outcomeDetails, progressDetails } from './details.ts';
import type { Effect } from './effects.ts';
import type { EffectOutput } from './execution-machine.ts';
import { abortCause, pivotPassed, type Situation } from './next-move.ts';
import { nextStep } from './progress.ts';
import { type Cause, type Commit, isLocal } from './records.ts';

/** The effects that talk with the cloud, and the decisions that follow from what it says. */

const NOTHING: EffectOutput = { records: [] };

/** Evidence of an end goes back to the machine; a stop leaves everything as it was. */
function unlessOurs(answer: Answer | Stopped): EffectOutput {
  return answer.kind === 'ended' ? { records: [], ended: answer } : NOTHING;
}

/**
 * After a restart: learn first, but only for so long; a device without a link goes on with its work. Where nothing has
 * been started there is none, and a successor under the same id (A21) must not be started in its place.
 */
export const asking: Effect = {
  obeys: () => ['ended', 'cancel', 'drain', 'halt'],
  async run({ progress }, tools, signal) {
    const waitMs = progress.phase === 'received' ? Number.POSITIVE_INFINITY : tools.limits.askWaitMs;
    const answer = await tools.cloud.ask(waitMs, signal);
    return { ...unlessOurs(answer), asked: true };
  },
};

export const starting: Effect = {
  obeys: () => ['ended', 'cancel', 'drain', 'halt'],
  async run({ plan, progress }, tools, signal) {
    const answer = await tools.cloud.start(progressDetails(plan, progress, 'running', 0), signal);
    if (answer.kind === 'replaced') return { records: [], failure: { by: 'replaced' } };
    if (answer.kind !== 'ours') return unlessOurs(answer);
    return { records: await tools.put({ type: 'started', versionNumber: answer.versionNumber }) };
  },
};

/** A7: the only guard against a cancel that the device has not heard of. */
export const fencing: Effect = {
  obeys: () => ['ended', 'cancel', 'drain', 'halt'],
  async run({ plan, progress, policy }, tools, signal) {
    const step = nextStep(progress);
    const details = progressDetails(plan, progress, 'pivot', step);
    const ask = (both: AbortSignal): Promise<Answer | Stopped> => tools.cloud.fence(details, both);
    const waitMs = tools.limits.linkWaitMs;
    const bounded = policy.offlinePivot === 'rollBack';
    const answer = await (bounded ? within(waitMs, tools.clock, signal, ask) : ask(signal));
    if (bounded && answer.kind === 'stopped' && !signal.aborted) {
      const reason = `no link to the cloud before the pivot within ${Math.round(waitMs / 1000)} s`;
      return { records: [], failure: { by: 'check', reason } };
    }
    if (answer.kind !== 'ours') return unlessOurs(answer);
    return { records: await tools.put({ type: 'fenced', step, versionNumber: answer.versionNumber }) };
  },
};

/** The link is part of the new state: a job that cuts the device off must not stay. */
export const linking: Effect = {
  obeys: () => ['ended', 'cancel', 'drain', 'halt'],
  async run(_, tools, signal) {
    const fresh = tools.touchesLink || (await tools.linkChanged());
    const answer = await tools.cloud.proveLink({ fresh, waitMs: tools.limits.linkWaitMs }, signal);
    if (answer.kind === 'noLink') {
      return { records: [], failure: { by: 'check', reason: `no link to the cloud: ${answer.reason}` } };
    }
    if (answer.kind !== 'ours') return unlessOurs(answer);
    return { records: await tools.put({ type: 'prepared', versionNumber: answer.versionNumber }) };
  },
};

/** The vote: durable before each copy of it leaves; only an accepted answer commits. */
export const proposing: Effect = {
  obeys: () => ['ended', 'cancel', 'drain', 'halt'],
  async run({ plan, progress }, tools, signal) {
    const records: EffectOutput['records'][number][] = [];
    const answer = await tools.cloud.propose(
      outcomeDetails(plan, progress, tools.output.last),
      async (expectedVersion) => {
        records.push(...(await tools.put({ type: 'proposed', expectedVersion })));
      },
      signal,
    );
    if (answer.kind === 'ours') records.push(...(await tools.put({ type: 'committed', how: 'accepted' })));
    return { ...unlessOurs(answer), records };
  },
};

/** Takes the vote back: an accepted update makes every earlier copy of it stale (P23, P24). */
export const withdrawing: Effect = {
  obeys: () => ['ended', 'drain', 'halt'],
  async run(situation, tools, signal) {
    const { plan, progress } = situation;
    const records: EffectOutput['records'][number][] = [];
    // The answer may take days without a link, and the wish must outlive every restart meanwhile.
    if (!progress.cancel)
      records.push(...(await tools.put({ type: 'withdrawing', cause: abortCause(situation) })));
    const answer = await tools.cloud.fence(progressDetails(plan, progress, 'withdrawn'), signal);
    if (answer.kind !== 'ours') return { ...unlessOurs(answer), records };
    records.push(
      ...(await tools.put(
        { type: 'withdrawn', versionNumber: answer.versionNumber },
        { type: 'aborted', cause: abortCause(situation) },
      )),
    );
    return { records };
  },
};

export const noting: Effect = {
  obeys: () => [],
  async run(situation, tools) {
    return { records: await tools.put({ type: 'noted', cause: cloudCause(situation) }) };
  },
};

export const aborting: Effect = {
  obeys: () => [],
  async run(situation, tools) {
    const cause = abortCause(situation);
    tools.log.info({ cause }, 'rolling back');
    return { records: await tools.put({ type: 'aborted', cause }) };
  },
};

/** The new state stays without an accepted answer to a vote of this life: the reason is part of the record (I2). */
export const committing: Effect = {
  obeys: () => [],
  async run(situation, tools) {
    return { records: await tools.put({ type: 'committed', how: howCommitted(situation) }) };
  },
};

function howCommitted({ plan, progress, ended }: Situation): Commit {
  if (progress.phase === 'proposed' && ended?.status === 'SUCCEEDED') return 'ownSuccess';
  if (pivotPassed(plan, progress)) return 'pivotPassed';
  switch (ended?.status) {
    case 'TIMED_OUT':
    case 'REMOVED':
      return 'keptAfterVote';
    default:
      return 'endedInDoubt';
  }
}

function cloudCause({ ended }: Situation): Cause {
  return { by: 'cloud', status: ended?.status ?? 'unknown' };
}

/** Tells the cloud what the device decided, or leaves it to the receipt where the cloud decided first (A8). */
export const reporting: Effect = {
  obeys: () => ['ended', 'drain', 'halt'],
  async run(situation, tools, signal) {
    const cloudStatus = await reportedStatus(situation, tools, signal);
    if (cloudStatus === undefined) return NOTHING;
    await tools.addReceipt(situation.progress, cloudStatus);
    return { records: await tools.put({ type: 'reported', cloudStatus }) };
  },
};

async function reportedStatus(
  { plan, progress, ended }: Situation,
  tools: Parameters<Effect['run']>[1],
  signal: AbortSignal,
): Promise<string | undefined> {
  // The cloud does not know of it; the receipt tells.
  if (isLocal(progress.origin)) return 'none';
  if (progress.commit === 'accepted' || progress.commit === 'ownSuccess') return 'SUCCEEDED';
  if (ended) return ended.status;
  if (progress.cause?.by === 'cloud') return progress.cause.status;
  if (progress.cause?.by === 'foreign' || !progress.cause) return 'unknown';
  const status = progress.verdict?.outcome === 'inconsistent' ? 'REJECTED' : 'FAILED';
  const answer = await tools.cloud.report(status, outcomeDetails(plan, progress, tools.output.last), signal);
  switch (answer.kind) {
    case 'ours':
      return status;
    case 'ended':
      return answer.status;
    case 'stopped':
      return undefined;
  }
}
