import { sameDocument } from '../document/document.ts';
import type { FetchingStep, Plan } from '../document/plan.ts';
import { advance, type Progress } from '../execution/progress.ts';
import { type ExecutionRecord, isLocal } from '../execution/records.ts';
import { type RunningExecution, runExecution } from '../execution/runner.ts';
import { observe } from '../steps/observe.ts';
import { homesOf } from '../steps/own-directory.ts';
import { stepTypeOf } from '../steps/registry.ts';
import type { StepContext } from '../steps/step.ts';
import type { AgentDeps } from './agent.ts';
import type { OpenExecution } from './book.ts';
import { closingReceipt } from './closing-receipt.ts';
import { type Conversation, createConversation } from './conversation.ts';
import { touchesLink } from './link.ts';
import { createLocalCloud } from './local-cloud.ts';
import { urlOf } from './urls.ts';

/** One execution under way, with the conversation about it. */
export interface Current {
  key: string;
  execution: RunningExecution;
  conversation: Conversation;
  plan: Plan;
  /** As the journal stands; the machine's own is as of the last rest. */
  written(): Progress;
}

/** Runs an open execution; `prev` is the outcome of the one before, for the first update's details. */
export async function execute(
  open: OpenExecution,
  prev: string | undefined,
  deps: AgentDeps,
): Promise<Current> {
  const { settings, clock } = deps;
  const { plan, document } = open.stored;
  const log = deps.log.child({
    jobId: open.progress.identity.jobId,
    executionNumber: open.progress.identity.executionNumber,
  });
  const current: { running?: RunningExecution } = {};
  let written = open.progress;

  const local = open.stored.local && {
    plan,
    transport: deps.transport,
    clock,
    requestTimeoutMs: settings.requestTimeoutMs,
    ...open.stored.local,
  };
  const conversation = local
    ? createLocalCloud(local)
    : createConversation(
        {
          identity: open.progress.identity,
          jobs: deps.jobs,
          transport: deps.transport,
          clock,
          log,
          stepTimerMinutes: settings.stepTimerMinutes,
          requestTimeoutMs: settings.requestTimeoutMs,
          prev,
          isOurDocument: (other) => sameDocument(document, other),
          urlOf: (other, step) => urlOf(other, step, deps.facts),
          onEnd: (ended) => {
            log.info({ status: ended.status }, 'the cloud has ended the execution');
            deps.onTurn?.(open.key);
            current.running?.send({ type: 'ENDED', ended });
          },
        },
        {
          versionNumber: open.progress.versionNumber,
          started: open.progress.phase !== 'received',
          proposed: open.progress.phase === 'proposed',
        },
      );
  const context: StepContext = {
    ...deps.stepContext(open.key, open.directory),
    homeOf: homesOf(plan),
    freshUrl: (step, signal) => freshUrl(step, conversation, signal),
  };
  const foreign = foreignFailure(open, deps);
  const linkAtStart = await deps.linkFingerprint();
  const startedAt = clock.wallMs();
  const running = runExecution(
    open.progress,
    settings.commit,
    {
      plan,
      journal: open.journal,
      directory: open.directory,
      cloud: conversation,
      stepTypeOf,
      observe,
      context,
      disk: deps.disk,
      clock,
      processes: deps.processes,
      bootId: deps.bootId,
      linkChanged: async () => open.life === 'resumed' || (await deps.linkFingerprint()) !== linkAtStart,
      touchesLink: touchesLink(plan, settings.linkPaths),
      addReceipt: (progress, cloudStatus) => addReceipt(progress, cloudStatus, startedAt, open, deps),
      limits: settings.limits,
      // The other half is for the steps that are still to come.
      holdMs: async (signal) => (await conversation.timeLeftMs(settings.limits.askWaitMs, signal)) / 2,
      onRecord: (record: ExecutionRecord) => {
        written = advance(written, record);
        deps.onRecord?.(open.key, record);
      },
      log,
    },
    open.life,
    foreign,
  );
  current.running = running;
  // What a stranger's cloud says is no evidence: it is not asked (I7).
  if (foreign) conversation.close();
  return { key: open.key, execution: running, conversation, plan, written: () => written };
}

function freshUrl(step: FetchingStep, conversation: Conversation, signal: AbortSignal): Promise<string> {
  return step.urlHasQuery ? conversation.freshUrl(step.index, signal) : Promise.resolve(step.url);
}

async function addReceipt(
  progress: Progress,
  cloudStatus: string,
  startedAt: number,
  open: OpenExecution,
  deps: AgentDeps,
): Promise<void> {
  const receipt = closingReceipt(open.stored.plan, progress, cloudStatus, {
    agentVersion: deps.agentVersion,
    bootId: deps.bootId,
    startedAt,
    endedAt: deps.clock.wallMs(),
  });
  if (receipt) await deps.outbox.add(open.key, receipt);
}

/** The journal of another thing, machine (a cloned card) or endpoint: its cloud cannot be asked (design section 5). */
function foreignFailure(open: OpenExecution, deps: AgentDeps) {
  const { identity, origin } = open.progress;
  if (isLocal(origin) && origin.machineId === deps.machineId) return undefined;
  if (identity.thing !== deps.settings.thing) {
    return { by: 'foreign' as const, reason: `the journal belongs to the thing ${identity.thing}` };
  }
  if (origin.machineId !== deps.machineId) {
    return { by: 'foreign' as const, reason: 'the journal was written on another machine' };
  }
  if (origin.endpoint !== deps.settings.endpoint) {
    return { by: 'foreign' as const, reason: `the job came from the endpoint ${origin.endpoint}` };
  }
  return undefined;
}
