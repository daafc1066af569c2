import { join } from 'node:path';
import { type Agent, createAgent } from '../../src/agent/agent.ts';
import { beginLife, watchLife } from '../../src/agent/life.ts';
import { agentSettings, deviceFacts, HEALTHY_AFTER_MS, stepSettings } from '../../src/cli/settings.ts';
import { type Config, configSchema } from '../../src/config/config.ts';
import type { ExecutionRecord } from '../../src/execution/records.ts';
import type { Clock } from '../../src/host/clock.ts';
import type { Disk } from '../../src/host/disk.ts';
import type { Log } from '../../src/host/log.ts';
import { createJobsClient } from '../../src/jobs/client.ts';
import { shadowChannel } from '../../src/receipts/channels.ts';
import { createDelivery } from '../../src/receipts/delivery.ts';
import { openOutbox } from '../../src/receipts/outbox.ts';
import { readRefusals, writeRefusals } from '../../src/receipts/refusals.ts';
import type { Fault, ForgetfulDisk, Life, Operation } from '../support/forgetful-disk.ts';
import type { MemoryProcesses } from '../support/memory-processes.ts';
import { noSystemd } from '../support/memory-systemd.ts';
import type { Random } from '../support/random.ts';
import { THING } from './sim-cloud.ts';
import type { SimNetwork } from './sim-network.ts';
import type { SimTime } from './sim-time.ts';

export const STATE = '/state/evenkeel';

/** The policies that a site may choose, as a configuration file has them. */
export function configFrom(random: Random): Config {
  return configSchema.parse({
    thing: THING,
    state: { directory: STATE, historyKeep: 100 },
    jobs: {
      heartbeatSeconds: random.pick([60, 300]),
      requestTimeoutSeconds: random.pick([5, 10]),
      stepTimerMinutes: random.pick([10, 60, 1440]),
    },
    steps: { attemptsMax: random.pick([1, 2, 3]) },
    commit: {
      inDoubt: random.pick(['keep', 'rollBack']),
      timedOutAfterVote: random.pick(['keep', 'rollBack']),
    },
  });
}

/** What a life of the agent is surrounded by. */
export interface Surroundings {
  time: SimTime;
  random: Random;
  network: SimNetwork;
  forgetful: ForgetfulDisk;
  machine: MemoryProcesses;
  config: Config;
  readonly bootId: string;
  wallOffMs(): number;
  /** One operation passes; what befalls it. */
  moment(life: AgentLife, what: string, operation: Operation['name'] | undefined): Fault | undefined;
  onRecord(key: string, record: ExecutionRecord): void;
  say(text: string): void;
}

const DISK_PAUSE_MS = 400;
const PROCESS_PAUSE_MS = 4000;

/** One process of the production agent, from its start to its end. */
export class AgentLife {
  ended = false;
  /** An operation of this life has failed on purpose. */
  failed = false;
  agent: Agent | undefined;
  /** Resolves when this life is over, however it ended. */
  readonly over: Promise<void>;
  readonly #around: Surroundings;
  readonly #transport: ReturnType<SimNetwork['transport']>;
  readonly #disk: Life;
  readonly #processes: ReturnType<MemoryProcesses['begin']>;
  readonly #clock: Clock;
  #finish: () => void = () => undefined;

  constructor(around: Surroundings) {
    this.#around = around;
    const { time, random, network, forgetful, machine } = around;
    this.over = new Promise((resolve) => {
      this.#finish = resolve;
    });
    this.#clock = time.clock(random.fork(), { owner: this, wallOffMs: () => around.wallOffMs() });
    this.#transport = network.transport(this);
    this.#disk = forgetful.begin((operation) =>
      around.moment(this, `${operation.name} ${shownPath(operation.path)}`, operation.name),
    );
    this.#processes = machine.begin(around.bootId, (what) => this.#processMoment(what));
  }

  /** SIGKILL, or the end of the power. */
  die(): void {
    if (this.ended) return;
    this.ended = true;
    this.#disk.end();
    this.#processes.end();
    this.#transport.die();
    this.#finish();
  }

  /** Lives until it is drained, or cannot go on; throws for what it should not end by. */
  async live(): Promise<void> {
    const { config, network, say } = this.#around;
    const log = storyLog((text) => {
      if (!this.ended) say(text);
    });
    const disk = slowDisk(this.#disk.disk, this.#clock);
    const clock = this.#clock;
    const transport = this.#transport;
    const settings = agentSettings(config, undefined);
    const { requestTimeoutMs } = settings;
    const jobs = createJobsClient(transport, THING, { clock, requestTimeoutMs, log });
    const outbox = await openOutbox(disk, join(STATE, 'outbox'), log);
    const channel = shadowChannel({ thing: THING, jobs, transport, clock, requestTimeoutMs });
    const delivery = createDelivery({
      outbox,
      channels: [channel],
      transport,
      clock,
      log,
      refused: await readRefusals(disk, STATE),
      saveRefused: (refused) => writeRefusals(disk, STATE, refused),
    });
    const { processes } = this.#processes;
    this.agent = createAgent({
      settings,
      transport,
      jobs,
      outbox,
      drainOutbox: delivery.look,
      disk,
      clock,
      processes,
      systemd: noSystemd,
      stepContext: (key, directory) => ({
        disk,
        clock,
        processes,
        systemd: noSystemd,
        key,
        directory,
        settings: stepSettings(config),
      }),
      linkFingerprint: () => Promise.resolve('the same'),
      facts: deviceFacts(config),
      bootId: this.#around.bootId,
      uptimeMs: () => Promise.resolve(clock.monotonicMs()),
      machineId: 'machine',
      agentVersion: '0.0.0',
      log,
      onRecord: (key, record) => {
        if (!this.ended) this.#around.onRecord(key, record);
      },
    });
    const facts = { bootId: this.#around.bootId, uptimeMs: 1000 };
    const life = await beginLife({ disk, stateDirectory: STATE, log }, facts, network.mood.delayMs * 100);
    watchLife(life, transport, clock, HEALTHY_AFTER_MS);
    this.agent.start();
    transport.start(life.connectWithinMs);
    await this.agent.done;
    delivery.close();
    jobs.close();
    await transport.close();
    await life.proved();
  }

  async #processMoment(what: string): Promise<void> {
    const { random } = this.#around;
    if (this.ended) await new Promise(() => undefined);
    const fault = this.#around.moment(this, what, undefined);
    if (fault?.kind === 'end') {
      fault.finish();
      await new Promise(() => undefined);
    }
    await this.#clock.sleep(random.chance(0.1) ? random.below(PROCESS_PAUSE_MS) : 1);
  }
}

/** Now and then an operation takes its time, and the world goes on meanwhile. */
function slowDisk(disk: Disk, clock: Clock): Disk {
  return new Proxy(disk, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function') return value;
      return async (...args: unknown[]): Promise<unknown> => {
        if (clock.random() < 0.03) await clock.sleep(clock.random() * DISK_PAUSE_MS);
        return await (Reflect.apply(value, target, args) as Promise<unknown>);
      };
    },
  });
}

function storyLog(say: (text: string) => void): Log {
  const write = (fields: object, message: string): void => say(`    ${message} ${JSON.stringify(fields)}`);
  return { debug: write, info: write, warn: write, error: write, child: () => storyLog(say) };
}

function shownPath(path: string): string {
  return path.replaceAll(/[0-9a-f]{32}/g, 'KEY');
}
