import { readFileSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { admit } from '../../agent/admission.ts';
import type { AgentSettings } from '../../agent/agent.ts';
import { type OpenExecution, openBook } from '../../agent/book.ts';
import { takeIn } from '../../agent/intake.ts';
import { urlOf } from '../../agent/urls.ts';
import type { Progress } from '../../execution/progress.ts';
import type { ExecutionRecord } from '../../execution/records.ts';
import { type RunningExecution, runExecution } from '../../execution/runner.ts';
import { bootId } from '../../host/boot.ts';
import { systemClock } from '../../host/clock.ts';
import { createLog } from '../../host/log.ts';
import { nodeDisk } from '../../host/node-disk.ts';
import { createProcessGroups } from '../../host/process-group.ts';
import { createSystemd } from '../../host/systemd.ts';
import { observe } from '../../steps/observe.ts';
import { homesOf } from '../../steps/own-directory.ts';
import type { StepContext, StepSettings } from '../../steps/step.ts';
import { packageVersion } from '../version.ts';
import { createScriptedCloud } from './scripted-cloud.ts';
import { rehearsedTypeOf } from './stand-ins.ts';

/** One life of a process that runs the job in a view: the agent's execution, on a cloud that has been scripted. */

export interface LifeOrder {
  /** Of the device, as its configuration has them: reading that again would take longer than many a job. */
  thing: string;
  agent: AgentSettings;
  steps: StepSettings;
  /** The job document, in the view. */
  document: string;
  /** The state directory, in the view. */
  state: string;
  life: 'new' | 'resumed';
  /** The cloud has cancelled the job before. */
  cancelled: boolean;
  stops: readonly Stop[];
  /** After each record a byte on this descriptor is waited for; nothing of the process goes on meanwhile. */
  waitsOn?: number;
}

/** What happens when the n-th record of this life, from 1, has become durable; or `afterMs` milliseconds later. */
export interface Stop {
  record: number;
  afterMs: number;
  act: 'cancel' | 'kill';
}

/** What a life prints, a line of JSON each. */
export type LifeLine =
  | { record: ExecutionRecord }
  /** It has run to the end of the execution. */
  | { end: Progress; grades: readonly string[] }
  /** The job would not be taken in. */
  | { refused: string };

const UNDO_RETRY_MS = 50;
const IDENTITY = { thing: 'rehearsal', jobId: 'rehearsal', executionNumber: 1, queuedAt: 0 };

export async function life(order: LifeOrder): Promise<void> {
  const settings = { ...order.agent, thing: IDENTITY.thing, stateDirectory: order.state };
  const boot = await bootId();
  const log = createLog('silent');
  const document = JSON.parse(readFileSync(order.document, 'utf8')) as unknown;
  const facts = { thing: order.thing };
  const cloud = createScriptedCloud({
    versionNumber: 1,
    cancelled: order.cancelled,
    urlOf: (step) => urlOf(document, step, facts) ?? '',
  });
  const processes = createProcessGroups({ clock: systemClock, bootId: boot });
  const contextOf = (key: string, directory: string): Omit<StepContext, 'homeOf'> => ({
    disk: nodeDisk,
    clock: systemClock,
    processes,
    systemd: createSystemd(),
    key,
    directory,
    settings: order.steps,
    freshUrl: (step, signal) =>
      step.urlHasQuery ? cloud.freshUrl(step.index, signal) : Promise.resolve(step.url),
  });
  const deps = {
    settings,
    disk: nodeDisk,
    clock: systemClock,
    bootId: boot,
    machineId: 'rehearsal',
    agentVersion: packageVersion(),
  };

  const open = order.life === 'resumed' ? await resumed() : await begun();
  if (!open) return;
  const { plan } = open.stored;
  let records = 0;
  const current: { running?: RunningExecution } = {};
  const act = ({ act: what }: Stop): void => {
    if (what === 'kill') process.kill(process.pid, 'SIGKILL');
    const ended = cloud.cancel();
    if (ended) current.running?.send({ type: 'ENDED', ended });
  };
  current.running = runExecution(
    open.progress,
    settings.commit,
    {
      plan,
      journal: open.journal,
      directory: open.directory,
      cloud,
      stepTypeOf: rehearsedTypeOf,
      observe,
      context: { ...contextOf(open.key, open.directory), homeOf: homesOf(plan) },
      disk: nodeDisk,
      clock: systemClock,
      processes,
      bootId: boot,
      linkChanged: () => Promise.resolve(false),
      touchesLink: false,
      addReceipt: () => Promise.resolve(),
      limits: { ...settings.limits, undoRetryMs: UNDO_RETRY_MS },
      onRecord(record) {
        say({ record });
        if (order.waitsOn !== undefined) readSync(order.waitsOn, Buffer.alloc(1));
        records += 1;
        for (const stop of order.stops.filter((one) => one.record === records)) {
          if (stop.afterMs === 0) act(stop);
          else void systemClock.sleep(stop.afterMs).then(() => act(stop));
        }
      },
      log,
    },
    open.life,
  );
  const end = await current.running.done;
  await open.journal.close();
  say({ end, grades: end.steps.map(({ grade }) => grade) });
  // A stop that was to come later has nothing to stop any more.
  process.exit();

  async function begun(): Promise<OpenExecution | undefined> {
    const admission = await admit(document, {
      facts,
      policy: settings.policy,
      disk: nodeDisk,
      // The machine's own room is not what the changes of a view are written to.
      reserveBytes: 0,
      context: contextOf('rehearsal', join(order.state, 'executions', 'rehearsal')),
    });
    if (admission.kind !== 'admissible') {
      say({ refused: admission.reason });
      return undefined;
    }
    return await takeIn(admission, { jobDocument: document, versionNumber: 1 }, IDENTITY, deps);
  }

  async function resumed(): Promise<OpenExecution | undefined> {
    const book = await openBook(nodeDisk, order.state, log);
    const [first] = book.open.values();
    if (first) return first;
    say({
      refused: `the journal cannot be gone on with: ${[...book.corrupt.values()].join('; ') || 'it is not there'}`,
    });
    return undefined;
  }
}

/** At once, since the next thing may be a kill. */
function say(line: LifeLine): void {
  writeSync(1, `${JSON.stringify(line)}\n`);
}
