import { constants } from 'node:fs';
import type { Config } from '../../src/config/config.ts';
import { ownUser } from '../../src/host/users.ts';
import { type RetryConfig, thingArn } from '../../src/simulator/service/jobs-service.ts';
import { createForgetfulDisk, type Fault, type Operation } from '../support/forgetful-disk.ts';
import { createMemoryProcesses } from '../support/memory-processes.ts';
import { type Random, randomFrom } from '../support/random.ts';
import { type HardScenario, harder } from './harder.ts';
import { relocatedScenario } from './relocated.ts';
import { REPAIR_HOME, repairScenario } from './repair.ts';
import {
  asOperator,
  cloudMoodFrom,
  createSimCloud,
  type ExecutionName,
  type SimCloud,
  switchesFrom,
  THING,
} from './sim-cloud.ts';
import { AgentLife, configFrom, STATE, type Surroundings } from './sim-device.ts';
import { type EventKind, eventsFrom, type SimEvent } from './sim-events.ts';
import { judgeRest, watchRecords } from './sim-judge.ts';
import { moodFrom, SimNetwork } from './sim-network.ts';
import { SimTime } from './sim-time.ts';

/** One device in one cloud, from a seed to rest. */
export interface SimRun {
  seed: number;
  events: readonly SimEvent[];
  /** What is not as it must be. Empty: nothing. */
  wrong: readonly string[];
  story: readonly string[];
  operations: number;
  lives: number;
  simulatedMs: number;
}

/** A job as its operator sees it. */
export interface SimJob {
  jobId: string;
  scenario: HardScenario;
  createdAtSeconds: number;
}

const HOUR_MS = 3_600_000;
/** Longer than any timer, with all its repetitions. */
const RUN_LIMIT_MS = 40 * 24 * HOUR_MS;
const JOBS_MAX = 3;
const OPERATIONS_PER_JOB = 500;
const OPERATIONS_PER_MESSAGE = 8;
const STARTING_OPERATIONS = 150;
/** An outage, a throttling or a read-only disk lasts so long at most. */
const TROUBLE_MS = 600_000;
const RESTART_MS = 5000;
const LIVES_MAX = 1000;
const REPAIRS_MAX = 20;

export async function simulate(seed: number, chosen?: readonly SimEvent[]): Promise<SimRun> {
  // The only thing that is asked of the real machine, once: afterwards nothing waits for it.
  await ownUser();
  const world = new World(seed, chosen);
  return await world.run();
}

/** Everything around the agent, and what happens to it. */
class World {
  readonly seed: number;
  readonly events: readonly SimEvent[];
  readonly story: string[] = [];
  readonly wrong: string[] = [];
  readonly #random: Random;
  readonly #time = new SimTime();
  readonly #network: SimNetwork;
  readonly #cloud: SimCloud;
  readonly #config: Config;
  readonly #jobs: SimJob[] = [];
  readonly #scenarios: HardScenario[];
  readonly #forgetful;
  readonly #machine;
  readonly #around: Surroundings;
  readonly #atStart: number;
  /** Paths that somebody else has changed. */
  readonly #tampered = new Set<string>();
  #life: AgentLife | undefined;
  #pending: SimEvent[];
  #operations = 0;
  #lives = 0;
  #boot = 1;
  #wallOffMs = 0;
  #readOnlyUntilMs = 0;
  readonly #atVote: EventKind[] = [];
  #repairs = 0;

  constructor(seed: number, chosen?: readonly SimEvent[]) {
    this.seed = seed;
    const random = randomFrom(seed);
    this.#random = random.fork();
    const say = (text: string): void => {
      this.story.push(`${(this.#time.nowMs / 1000).toFixed(3).padStart(12)} ${text}`);
    };
    this.#config = configFrom(random.fork());
    this.#atStart = 1 + random.below(JOBS_MAX);
    const own = eventsFrom(random.fork(), STARTING_OPERATIONS + this.#atStart * OPERATIONS_PER_JOB);
    this.events = chosen ?? own;
    this.#pending = [...this.events];
    const later = own.filter(({ kind }) => kind === 'nextJob' || kind === 'recreateJob').length;
    const homes = Array.from({ length: this.#atStart + later }, (_, index) => `/home${index}`);
    const mounts = homes.flatMap((home) => [home, `${home}/device`, `${home}/other`]);
    this.#forgetful = createForgetfulDisk({ mounts: ['/state', '/repair', ...mounts] });
    this.#forgetful.files.mkdir(STATE, 0o700);
    this.#scenarios = homes.map((home) => harder(relocatedScenario(random.fork(), home), random.fork()));
    for (const scenario of this.#scenarios) scenario.build(this.#forgetful.files);
    this.#forgetful.files.syncAll();
    this.#network = new SimNetwork(this.#time, random.fork(), moodFrom(random.fork()), say);
    const clouds = random.fork();
    this.#cloud = createSimCloud(this.#time, this.#network, random.fork(), {
      switches: switchesFrom(clouds),
      mood: cloudMoodFrom(clouds),
      say,
    });
    this.#machine = createMemoryProcesses((spec) => {
      const [program, step = '', home = ''] = spec.argv;
      const { undos, programs } = this.#scenarios.find((one) => one.home === home)!;
      if (program === '/bin/undo') return undos.get(Number(step))!.program();
      return programs.get(Number(step))!.program(this.#forgetful.files);
    }, random.fork());
    this.#network.onArrival = () => this.#arrival();
    this.#around = this.#surroundings(say);
  }

  async run(): Promise<SimRun> {
    this.#cloud.service.createThing(THING);
    for (let made = 0; made < this.#atStart; made += 1) this.#createJob(`job-${made + 1}`);
    const lived = this.#live();
    const rested = await this.#time.run(() => this.#rests(), RUN_LIMIT_MS);
    if (!rested) this.wrong.push(`no rest after ${Math.round(this.#time.nowMs / HOUR_MS)} hours`);
    this.#life?.die();
    void lived;
    if (rested) await this.#judge();
    return {
      seed: this.seed,
      events: this.events,
      wrong: this.wrong,
      story: this.story,
      operations: this.#operations,
      lives: this.#lives,
      simulatedMs: this.#time.nowMs,
    };
  }

  async #judge(): Promise<void> {
    const judged = {
      forgetful: this.#forgetful,
      cloud: this.#cloud,
      config: this.#config,
      wrong: this.wrong,
      tampered: this.#tampered,
      scenarioOf: (name: ExecutionName) => this.#scenarioOf(name),
    };
    await judgeRest({ ...judged, when: 'at rest' });
    // Nothing that was promised may depend on what is not durable yet.
    this.#forgetful.cut(this.#random);
    await judgeRest({ ...judged, when: 'after a power cut behind the rest' });
  }

  /** One life of the agent after the other, as systemd sees to it. */
  async #live(): Promise<void> {
    for (; this.#lives < LIVES_MAX; this.#lives += 1) {
      this.#around.say(`--- the agent starts, boot ${this.#boot}`);
      const life = new AgentLife(this.#around);
      this.#life = life;
      const ended = life.live().catch((error: unknown) => {
        if (!life.failed && !life.ended)
          this.wrong.push(`the agent crashed: ${(error as Error).stack ?? ''}`);
        this.#around.say(`--- the agent ends: ${(error as Error).message}`);
      });
      await Promise.race([life.over, ended]);
      life.die();
      await new Promise<void>((resolve) => {
        this.#time.after(1000 + this.#random.below(RESTART_MS), resolve);
      });
    }
    this.wrong.push(`${LIVES_MAX} lives`);
  }

  /** All is over: nothing is open, in the cloud and here, and every receipt has gone. */
  #rests(): boolean {
    if (this.#lives >= LIVES_MAX) return true;
    const status = this.#life?.ended === false ? this.#life.agent?.status() : undefined;
    if (status?.state === 'stranded') this.#repair();
    const quiet =
      status?.state === 'idle' &&
      this.#cloud.rests &&
      this.#forgetful.files.readDirectory(`${STATE}/outbox`).length === 0;
    if (!quiet) return false;
    if (this.#pending.length === 0) return true;
    // What was to come behind the last operation comes now, to a device that has nothing to do.
    this.#happen(this.#pending.splice(0, 1));
    return false;
  }

  #surroundings(say: (text: string) => void): Surroundings {
    const bootId = (): string => `boot-${this.#boot}`;
    const watch = watchRecords({
      cloud: this.#cloud,
      machine: this.#machine,
      say,
      wrong: this.wrong,
      documentOf: (name) => this.#scenarioOf(name).document,
    });
    return {
      time: this.#time,
      random: this.#random,
      network: this.#network,
      forgetful: this.#forgetful,
      machine: this.#machine,
      config: this.#config,
      get bootId() {
        return bootId();
      },
      wallOffMs: () => this.#wallOffMs,
      moment: (life, what, operation) => this.#moment(life, what, operation),
      onRecord: (key, record) => {
        watch(key, record);
        if (record.type === 'proposed') this.#voted();
      },
      say,
    };
  }

  #moment(life: AgentLife, what: string, operation: Operation['name'] | undefined): Fault | undefined {
    this.#operations += 1;
    this.#around.say(`${this.#operations} ${what}`);
    this.#machine.goOn(this.#random);
    const due = this.#pending.filter(({ at }) => at <= this.#operations);
    this.#pending = this.#pending.filter(({ at }) => at > this.#operations);
    let fault: Fault | undefined;
    for (const event of due) fault ??= this.#befall(life, event, operation);
    if (fault) return fault;
    if (operation !== undefined && this.#time.nowMs < this.#readOnlyUntilMs && WRITES.test(operation)) {
      life.failed = true;
      return { kind: 'error', code: 'EROFS' };
    }
    return undefined;
  }

  /** A message counts for several operations: there are few of them, and much hangs on each. */
  #arrival(): void {
    this.#operations += OPERATIONS_PER_MESSAGE;
    const due = this.#pending.filter(({ at }) => at <= this.#operations);
    this.#pending = this.#pending.filter(({ at }) => at > this.#operations);
    this.#happen(due);
  }

  #befall(life: AgentLife, event: SimEvent, operation: Operation['name'] | undefined): Fault | undefined {
    const { kind } = event;
    if (kind === 'cut' || kind === 'kill') {
      const finish = (): void => {
        this.#happen([event]);
      };
      return { kind: 'end', when: this.#random.chance(0.5) ? 'before' : 'after', finish };
    }
    if (kind === 'ENOSPC' || kind === 'EIO') {
      const fails = kind === 'EIO' ? /sync|read|write/i : WRITES;
      if (operation === undefined || !fails.test(operation)) return undefined;
      this.#around.say(`=== ${kind}`);
      life.failed = true;
      return { kind: 'error', code: kind };
    }
    // Between two turns, never in the middle of an operation.
    void Promise.resolve().then(() => this.#happen([event]));
    return undefined;
  }

  #happen(events: readonly SimEvent[]): void {
    for (const { kind } of events) {
      this.#around.say(`=== ${kind}`);
      this.#acts[kind]();
    }
  }

  /** A vote leaves: what waits for one happens before its answer, or a little later. */
  #voted(): void {
    for (const kind of this.#atVote.splice(0)) {
      const delayMs = this.#random.below(2 * this.#network.mood.delayMs);
      this.#time.after(delayMs, () => this.#happen([{ at: this.#operations, kind }]));
    }
  }

  readonly #acts: Record<EventKind, () => unknown> = {
    cut: () => {
      this.#boot += 1;
      this.#readOnlyUntilMs = 0;
      this.#life?.die();
      this.#forgetful.cut(this.#random);
      this.#machine.cut();
    },
    kill: () => this.#life?.die(),
    ENOSPC: () => undefined,
    EIO: () => undefined,
    readOnly: () => {
      this.#readOnlyUntilMs = this.#time.nowMs + this.#random.below(TROUBLE_MS);
    },
    drain: () => {
      this.#life?.agent?.drain().catch(() => undefined);
    },
    localCancel: () => {
      this.#life?.agent?.cancel('a person said so');
    },
    clockJump: () => {
      this.#wallOffMs += (this.#random.next() - 0.5) * 20 * 365 * 24 * HOUR_MS;
    },
    stranger: () => this.#tamper(),
    linkCut: () => this.#network.cut('cut'),
    outage: () => this.#network.outage(this.#random.below(TROUBLE_MS)),
    blackhole: () => this.#network.blackhole(),
    throttle: () => this.#cloud.throttleFor(this.#random.below(TROUBLE_MS)),
    cancel: () => {
      const force = this.#random.chance(0.9);
      this.#onOne((jobId) => this.#cloud.service.cancelExecution(THING, jobId, { force }));
    },
    cancelJob: () => {
      const force = this.#random.chance(0.9);
      this.#onOne((jobId) => this.#cloud.service.cancelJob(jobId, { force }));
    },
    timeOut: () => this.#onOne((jobId) => this.#cloud.service.timeOut(THING, jobId)),
    removeThing: () => {
      this.#cloud.service.removeThing(THING);
      this.#cloud.service.createThing(THING);
    },
    deleteJob: () => this.#onOne((jobId) => this.#cloud.service.deleteJob(jobId, true)),
    recreateJob: () => {
      this.#onOne((jobId) => {
        this.#cloud.service.deleteJob(jobId, true);
        // An execution of the same second would have the same name.
        this.#time.after(2000 + this.#random.below(60_000), () => asOperator(() => this.#createJob(jobId)));
      });
    },
    nextJob: () => {
      asOperator(() => this.#createJob(`job-${this.#jobs.length + 1}`));
    },
    localCancelAtVote: () => this.#atVote.push('localCancel'),
    cancelAtVote: () => this.#atVote.push('cancel'),
    killAtVote: () => this.#atVote.push('kill'),
    linkCutAtVote: () => this.#atVote.push('linkCut'),
    strangerUpdates: () => {
      const [front] = this.#cloud.service.pending(THING);
      if (front?.status !== 'IN_PROGRESS') return;
      asOperator(() => this.#cloud.service.update(THING, front.jobId, { status: 'IN_PROGRESS' }));
    },
  };

  /** On what is in progress, mostly. */
  #onOne(act: (jobId: string) => void): void {
    const [front] = this.#cloud.service.pending(THING);
    const jobs = this.#jobs.map(({ jobId }) => jobId);
    const jobId = front && this.#random.chance(0.8) ? front.jobId : this.#random.pick(jobs);
    asOperator(() => act(jobId));
  }

  /** Somebody else puts another file in the place of one that a job has to do with. */
  #tamper(): void {
    const { files } = this.#forgetful;
    const { home, document } = this.#random.pick(this.#jobs).scenario;
    const named = JSON.stringify(document).match(new RegExp(`(?<=")${home}/[^"]*`, 'g')) ?? [];
    const isAlone = (path: string): boolean => {
      const stat = files.lstat(path);
      return stat?.kind === 'file' && stat.linkCount === 1;
    };
    const candidates = [...new Set(named)].filter(isAlone);
    if (candidates.length === 0) return;
    const path = this.#random.pick(candidates);
    this.#around.say(`    ${path}`);
    this.#tampered.add(path);
    files.unlink(path);
    files
      .open(path, constants.O_RDWR | constants.O_CREAT, 0o644)
      .write(Buffer.from('a stranger was here'), 0);
  }

  /** An INCONSISTENT device is mended, by a job that takes what the receipt names as it is. */
  #repair(): void {
    const { receipts, service } = this.#cloud;
    const items = receipts.flatMap((one) =>
      one['outcome'] === 'inconsistent' ? one['items'] : [],
    ) as string[];
    const isUnderWay = service.pending(THING).some(({ jobId }) => jobId.startsWith('repair-'));
    if (items.length === 0 || isUnderWay || this.#repairs >= REPAIRS_MAX) return;
    this.#repairs += 1;
    this.#create(`repair-${this.#repairs}`, repairScenario(this.#repairs, items));
  }

  #createJob(jobId: string): void {
    const scenario =
      this.#scenarios[this.#jobs.filter(({ scenario: { home } }) => home !== REPAIR_HOME).length];
    if (scenario) this.#create(jobId, scenario);
  }

  #create(jobId: string, scenario: HardScenario): void {
    const timeoutConfig = this.#random.chance(0.2) ? { inProgressTimeoutInMinutes: 1 } : undefined;
    const { inDoubt, timedOutAfterVote } = this.#config.commit;
    // A second attempt on a device that has kept the first one's state would not begin from the old one.
    const mayRetry = inDoubt === 'rollBack' && timedOutAfterVote === 'rollBack' && !scenario.hasPivot;
    const retries: RetryConfig = { criteriaList: [{ failureType: 'ALL', numberOfRetries: 2 }] };
    this.#cloud.service.createJob({
      jobId,
      targets: [thingArn(THING)],
      document: JSON.stringify(scenario.document),
      ...(timeoutConfig && { timeoutConfig }),
      ...(mayRetry && this.#random.chance(0.4) && { jobExecutionsRetryConfig: retries }),
    });
    const createdAtSeconds = Math.floor(this.#cloud.service.nowMs() / 1000);
    this.#jobs.push({ jobId, scenario, createdAtSeconds });
    for (const line of scenario.describe()) this.#around.say(`${jobId}: ${line}`);
  }

  #scenarioOf({ jobId, queuedAt }: ExecutionName): HardScenario {
    const found = this.#jobs.findLast((job) => job.jobId === jobId && job.createdAtSeconds <= queuedAt);
    if (!found) throw new Error(`no scenario for ${jobId} of ${queuedAt}`);
    return found.scenario;
  }
}

const WRITES = /write|openFile|mkdir|symlink|rename|link|chmod|chown|truncate|unlink|rmdir/;
