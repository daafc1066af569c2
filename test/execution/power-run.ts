import { join } from 'node:path';
import { openBook } from '../../src/agent/book.ts';
import type { CommitPolicy } from '../../src/execution/next-move.ts';
import type { Progress } from '../../src/execution/progress.ts';
import type { ExecutionRecord } from '../../src/execution/records.ts';
import { type RunningExecution, runExecution } from '../../src/execution/runner.ts';
import type { Clock } from '../../src/host/clock.ts';
import type { Log } from '../../src/host/log.ts';
import { observe } from '../../src/steps/observe.ts';
import { homesOf } from '../../src/steps/own-directory.ts';
import { stepTypeOf } from '../../src/steps/registry.ts';
import type { StepContext, StepType } from '../../src/steps/step.ts';
import { createExecutionDirectory, type ExecutionName } from '../../src/store/execution-directory.ts';
import { eagerClock } from '../support/eager-clock.ts';
import {
  createForgetfulDisk,
  type Fault,
  type ForgetfulDisk,
  type Life,
  type Operation,
} from '../support/forgetful-disk.ts';
import { createMemoryCloud, type MemoryCloud } from '../support/memory-cloud.ts';
import { createMemoryProcesses, type MemoryProcesses } from '../support/memory-processes.ts';
import { noSystemd } from '../support/memory-systemd.ts';
import { type Random, randomFrom } from '../support/random.ts';
import { eventsOf, type PlannedEvent } from './power-events.ts';
import { judgeEnd } from './power-judge.ts';
import { listDevice, MOUNTS, type Scenario, scenarioFrom } from './power-scenario.ts';

/** One job on one device, from its first byte to its end, with power cuts and whatever else the seed wants. */
export interface PowerRun {
  seed: number;
  scenario: Scenario;
  events: readonly PlannedEvent[];
  policy: CommitPolicy;
  /** What is not as it must be. Empty: nothing. */
  wrong: string[];
  story: string[];
  operations: number;
}

const NAME: ExecutionName = { thing: 'thing', jobId: 'job', executionNumber: 1, queuedAt: 1 };
const STATE = '/state/evenkeel';
const LIVES_MAX = 25;
const SHORT_MS = 60_000;
const LIMITS = {
  undoAttemptsMax: 3,
  undoTimeoutMs: 10 * SHORT_MS,
  undoRetryMs: 1000,
  finishAttemptsMax: 3,
  linkWaitMs: SHORT_MS,
  askWaitMs: SHORT_MS,
  graceMs: 1000,
};

function policyOf(random: Random): CommitPolicy {
  return {
    inDoubt: random.pick(['keep', 'rollBack']),
    timedOutAfterVote: random.pick(['keep', 'rollBack']),
    stepAttemptsMax: random.pick([1, 2, 3]),
  };
}

export async function runPower(
  seed: number,
  events: readonly PlannedEvent[] = eventsOf(seed),
): Promise<PowerRun> {
  const random = randomFrom(seed ^ 0x9e3779b9);
  const scenario = scenarioFrom(randomFrom(seed));
  const policy = policyOf(random);
  const chance = random.fork();
  const story: string[] = [];
  const wrong: string[] = [];
  const say = (text: string): void => {
    story.push(text);
  };
  const forgetful = createForgetfulDisk({ mounts: MOUNTS });
  const { files } = forgetful;
  scenario.build(files);
  const start = listDevice(files);
  if (start.join('\n') !== scenario.old.join('\n'))
    throw new Error(`seed ${seed}: the scenario is not built`);

  const cloud = createMemoryCloud(random.fork(), { lossChance: 0.15, log: say });
  const machine = createMemoryProcesses((spec) => {
    const step = Number(spec.argv[1]);
    return scenario.programs.get(step)!.program(files);
  }, random.fork());

  let counted = 0;
  let pending = [...events];
  let boot = 1;
  /** Steps that began and were not undone since. */
  const begun = new Set<number>();

  const world: World = {
    seed,
    scenario,
    policy,
    say,
    wrong,
    random: chance,
    begun,
    tries: new Map(),
    get bootId() {
      return `boot-${boot}`;
    },
    forgetful,
    cloud,
    machine,
    clock: eagerClock(),
    calm() {
      pending = [];
    },
    powerCut() {
      say('=== power cut');
      boot += 1;
      forgetful.cut(chance);
      machine.cut();
    },
    moment(what) {
      counted += 1;
      say(`${counted} ${what}`);
      machine.goOn(chance);
      if (chance.chance(0.01)) cloud.deliverLate();
      const due = pending.filter(({ at }) => at <= counted);
      pending = pending.filter(({ at }) => at > counted);
      return due.map(({ kind }) => kind);
    },
  };
  await liveUntilClosed(world);
  return { seed, scenario, events, policy, wrong, story, operations: counted };
}

interface World {
  seed: number;
  scenario: Scenario;
  policy: CommitPolicy;
  say(text: string): void;
  wrong: string[];
  random: Random;
  begun: Set<number>;
  tries: Map<number, number>;
  readonly bootId: string;
  forgetful: ForgetfulDisk;
  cloud: MemoryCloud;
  machine: MemoryProcesses;
  clock: Clock;
  powerCut(): void;
  /** Nothing more happens. */
  calm(): void;
  /** One operation passes; what happens at it. */
  moment(what: string): PlannedEvent['kind'][];
}

async function liveUntilClosed(world: World): Promise<void> {
  for (let lives = 0; lives < LIVES_MAX; lives += 1) {
    const progress = await liveOnce(world);
    if (progress?.phase !== 'closed') continue;
    world.calm();
    world.cloud.deliverLate();
    judgeEnd(world, progress, 'at the close');
    // Nothing that was promised may depend on what is not durable yet.
    world.powerCut();
    // `closed` itself may have been found in the page cache alone: then it is closed once more.
    const again = await liveOnce(world);
    if (again?.phase !== 'closed' || again.commit !== progress.commit) {
      world.wrong.push(`closed, and after a power cut ${again?.phase ?? 'not there any more'}`);
      return;
    }
    judgeEnd(world, again, 'after a power cut behind the close');
    const names = world.forgetful.files.readDirectory(join(STATE, 'executions'));
    if (names.length !== 1) world.wrong.push(`executions: ${names.join(' ')}`);
    return;
  }
  world.wrong.push(`not closed after ${LIVES_MAX} lives`);
}

/** One life of the agent; resolves with the last progress when it ended by itself. */
async function liveOnce(world: World): Promise<Progress | undefined> {
  const { say } = world;
  say(`--- the agent starts, ${world.bootId}`);
  const life = new AgentLife(world);
  const lived = agent(world, life).catch((error: unknown) => {
    if (!life.failed) world.wrong.push(`the agent crashed: ${(error as Error).stack ?? String(error)}`);
    say(`--- the agent ends: ${(error as Error).message}`);
    return undefined;
  });
  const progress = await Promise.race([lived, life.over]);
  life.die();
  return progress;
}

/** What befalls one life of the agent. */
class AgentLife {
  readonly disk: Life;
  readonly over: Promise<undefined>;
  running: RunningExecution | undefined;
  /** An operation of this life has failed on purpose. */
  failed = false;
  readonly processes: ReturnType<MemoryProcesses['begin']>;
  readonly #world: World;
  #finish: () => void = () => undefined;

  constructor(world: World) {
    this.#world = world;
    this.over = new Promise((resolve) => {
      this.#finish = () => resolve(undefined);
    });
    this.disk = world.forgetful.begin((operation) => this.#onOperation(operation));
    this.processes = world.machine.begin(world.bootId, (what) => this.point(what));
  }

  die(): void {
    this.disk.end();
    this.processes.end();
  }

  #onOperation({ name, path }: Operation): Fault | undefined {
    let fault: Fault | undefined;
    for (const kind of this.#world.moment(`${name} ${shownPath(path)}`)) fault ??= this.#faultOf(kind, name);
    return fault;
  }

  /** A moment outside the disk: of a process, or of the cloud. Never resolves when this life ends at it. */
  async point(what: string): Promise<void> {
    if (this.disk.ended) await new Promise(() => undefined);
    for (const kind of this.#world.moment(what)) {
      const fault = this.#faultOf(kind, undefined);
      if (fault?.kind !== 'end') continue;
      fault.finish();
      await new Promise(() => undefined);
    }
    // The world turns between two messages: whoever was told something acts on it.
    await Promise.resolve();
  }

  #faultOf(kind: PlannedEvent['kind'], operation: Operation['name'] | undefined): Fault | undefined {
    const { say, random, cloud } = this.#world;
    switch (kind) {
      case 'cut':
      case 'kill':
        return {
          kind: 'end',
          when: random.chance(0.5) ? 'before' : 'after',
          finish: () => {
            if (kind === 'cut') this.#world.powerCut();
            else say('=== the agent is killed');
            this.die();
            this.#finish();
          },
        };
      case 'ENOSPC':
      case 'EIO':
        if (operation === undefined || !canFail(operation, kind)) return undefined;
        say(`=== ${kind}`);
        this.failed = true;
        return { kind: 'error', code: kind };
      case 'drain':
      case 'halt':
        say(`=== ${kind}`);
        this.#later(() => this.running?.send({ type: kind === 'drain' ? 'DRAIN' : 'HALT' }));
        return undefined;
      case 'cancel':
        say('=== local cancel');
        this.#later(() =>
          this.running?.send({ type: 'CANCEL', cause: { by: 'local', reason: 'a person said so' } }),
        );
        return undefined;
      default: {
        const ended = cloud.end(kind);
        // The notice may be lost.
        if (ended && random.chance(0.6)) this.#later(() => this.running?.send({ type: 'ENDED', ended }));
        return undefined;
      }
    }
  }

  /** A message arrives between two turns, never in the middle of an operation. */
  #later(send: () => void): void {
    void Promise.resolve().then(() => {
      if (!this.disk.ended) send();
    });
  }
}

function canFail(operation: Operation['name'], kind: 'ENOSPC' | 'EIO'): boolean {
  if (kind === 'EIO') return /sync|read|write/i.test(operation);
  return /write|openFile|mkdir|symlink|rename|link/.test(operation);
}

function shownPath(path: string): string {
  return path.replaceAll(/[0-9a-f]{32}/g, 'KEY');
}

/** The agent's part around one execution, as `src/agent` does it. */
async function agent(world: World, life: AgentLife): Promise<Progress | undefined> {
  const { disk } = life.disk;
  const { cloud, say } = world;
  let book = await openBook(disk, STATE, silentLog(say));
  if (book.blocked) {
    if (!life.failed) world.wrong.push(`stranded: ${book.blocked.reason}`);
    return undefined;
  }
  for (const reason of book.corrupt.values()) world.wrong.push(`a journal is corrupt: ${reason}`);
  if (book.corrupt.size > 0) throw new Error('a journal is corrupt');
  const [closed] = book.closed.values();
  if (closed) return closed.progress;
  let [open] = book.open.values();
  if (!open) {
    if (cloud.status === 'IN_PROGRESS') world.wrong.push('IN_PROGRESS in the cloud, and no journal here');
    await admit(world, disk);
    book = await openBook(disk, STATE, silentLog(say));
    [open] = book.open.values();
    if (!open) {
      if (!life.failed) world.wrong.push(`no open journal: ${book.blocked?.reason ?? 'nothing there'}`);
      return undefined;
    }
    open.life = 'new';
  }
  const { key, directory, progress } = open;
  say(`    from ${progress.phase}: ${progress.steps.map(({ phase }) => phase).join(' ')}`);
  const context: StepContext = {
    disk,
    clock: world.clock,
    processes: life.processes.processes,
    systemd: noSystemd,
    key,
    directory,
    settings: {
      handlerDirectory: '/handlers',
      allowHttp: true,
      graceMs: 1000,
      outputBytesMax: 1000,
      treeEntriesMax: 1000,
      treeBytesMax: 1_000_000,
      archiveRatioMax: 200,
    },
    homeOf: homesOf(open.stored.plan),
    freshUrl: (step) => Promise.resolve(step.url),
  };
  const onRecord = (record: ExecutionRecord): void => say(`    record ${JSON.stringify(record)}`);
  life.running = runExecution(
    progress,
    world.policy,
    {
      plan: open.stored.plan,
      journal: open.journal,
      directory,
      cloud: cloud.begin(
        progress.versionNumber,
        (what) => life.point(what),
        (ended) => life.running?.send({ type: 'ENDED', ended }),
      ),
      stepTypeOf: (step) => watched(stepTypeOf(step), world),
      observe,
      context,
      disk,
      clock: world.clock,
      processes: life.processes.processes,
      bootId: world.bootId,
      linkChanged: () => Promise.resolve(false),
      touchesLink: false,
      addReceipt: () => Promise.resolve(),
      limits: LIMITS,
      onRecord,
      log: silentLog(say),
    },
    open.life,
  );
  return await life.running.done;
}

/** As the agent admits a job: its directory is durable before the cloud hears of it. */
async function admit({ scenario, cloud, random, bootId }: World, disk: Life['disk']): Promise<void> {
  await createExecutionDirectory(disk, STATE, NAME, {
    plan: { plan: scenario.plan, document: scenario.document },
    // Sometimes too few: a journal may grow beyond what was written out for it.
    capacityBlocks: random.pick([4, 16, 48]),
    head: (planSha256) => ({
      type: 'received',
      at: 0,
      format: 1,
      identity: NAME,
      origin: { endpoint: 'endpoint', machineId: 'machine' },
      agentVersion: '0.0.0',
      bootId,
      planSha256,
      grades: scenario.plan.steps.map(({ grade }) => grade),
      versionNumber: cloud.status === 'QUEUED' ? 1 : 0,
    }),
  });
}

/** I4, I6: a step is undone before it begins again, unless it says that it may be repeated; and it is tried so often. */
function watched(type: StepType, { begun, tries, policy, wrong }: World): StepType {
  return {
    ...type,
    do(step, ...rest) {
      tries.set(step.index, (tries.get(step.index) ?? 0) + 1);
      if (tries.get(step.index)! > policy.stepAttemptsMax)
        wrong.push(`step ${step.index} is tried too often`);
      if (begun.has(step.index) && !step.idempotent) wrong.push(`step ${step.index} is run twice`);
      begun.add(step.index);
      return type.do(step, ...rest);
    },
    async undo(step, ...rest) {
      const outcome = await type.undo(step, ...rest);
      if (outcome.result === 'ok') begun.delete(step.index);
      return outcome;
    },
  };
}

function silentLog(say: (text: string) => void): Log {
  const write = (fields: object, message: string): void => say(`    ${message} ${JSON.stringify(fields)}`);
  return { info: write, warn: write, error: write, child: () => silentLog(say) } as unknown as Log;
}
