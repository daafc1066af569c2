import { DevicePlane, parseTopic } from '../../src/simulator/device/device-plane.ts';
import { createFaults } from '../../src/simulator/faults.ts';
import { createRequests } from '../../src/simulator/mqtt/requests.ts';
import { SWITCHES, type Switches } from '../../src/simulator/options.ts';
import { JobsService } from '../../src/simulator/service/jobs-service.ts';
import { Shadows } from '../../src/simulator/service/shadows.ts';
import { type Execution, Refusal, type Status, TERMINAL } from '../../src/simulator/service/types.ts';
import { createMemoryStore } from '../../src/simulator/store/memory-store.ts';
import type { Random } from '../support/random.ts';
import type { SimNetwork } from './sim-network.ts';
import type { SimTime } from './sim-time.ts';

export const THING = 'boat';

/** How moody the cloud is, per request. */
export interface CloudMood {
  throttle: number;
  internalError: number;
  /** No answer, and nothing done. */
  drop: number;
  /** Acted upon, and the answer lost. */
  dropAnswer: number;
  duplicate: number;
}

export interface ExecutionName {
  jobId: string;
  executionNumber: number;
  /** Whole seconds, as devices are told (P3). */
  queuedAt: number;
}

/** What became of an execution; of a deleted one the status that it had. */
export interface Fate extends ExecutionName {
  status: Status;
  deleted: boolean;
  code?: string;
}

export interface SimCloud {
  service: JobsService;
  mood: CloudMood;
  /** What the cloud says of an execution now; throws for one that never was. */
  fate(name: ExecutionName): Fate;
  /** Of all executions that ever were. */
  fates(): readonly Fate[];
  /** Receipts that the shadow has taken. */
  receipts: readonly Record<string, unknown>[];
  /** All requests are throttled for so long. */
  throttleFor(ms: number): void;
  /** Nobody waits for anything any more. */
  readonly rests: boolean;
}

/** Half of all clouds are well. */
export function cloudMoodFrom(random: Random): CloudMood {
  const bad = random.chance(0.5);
  const some = (): number => (bad ? random.pick([0, 0.02, 0.1]) : 0);
  return { throttle: some(), internalError: some(), drop: some(), dropAnswer: some(), duplicate: some() };
}

/** Some setting of every point that the sources leave open. */
export function switchesFrom(random: Random): Partial<Switches> {
  const wanted: Record<string, unknown> = {};
  for (const [name, definition] of Object.entries(SWITCHES)) {
    if ('values' in definition) wanted[name] = random.pick<unknown>(definition.values);
    else if (random.chance(0.3)) wanted[name] = Math.min(definition.max, random.below(60));
  }
  return wanted as Partial<Switches>;
}

/** The simulator's own service and device plane, on simulated time behind a simulated network. */
export function createSimCloud(
  time: SimTime,
  network: SimNetwork,
  random: Random,
  { switches, mood, say }: { switches: Partial<Switches>; mood: CloudMood; say(text: string): void },
): SimCloud {
  const clock = time.clock(random.fork());
  const tell = (topic: string, body: object): void => {
    say(`    cloud: ${shortTopic(topic)}`);
    network.publish(topic, Buffer.from(JSON.stringify(body)));
  };
  const service = new JobsService({
    clock,
    switches,
    notifier: {
      notify: (thing, body) => tell(`$aws/things/${thing}/jobs/notify`, body),
      notifyNext: (thing, body) => tell(`$aws/things/${thing}/jobs/notify-next`, body),
      event: () => undefined,
    },
  });
  const shadows = new Shadows(createMemoryStore());
  const plane = new DevicePlane(service, shadows, clock);
  const faults = createFaults(clock);
  const refused = { verdict: 'rejected', body: {} } as const;
  const provisioning = { handle: () => Promise.resolve(refused), refuse: () => refused };
  const requests = createRequests({ plane, provisioning, faults, clock });
  const known = new Map<string, Fate>();
  const receipts: Record<string, unknown>[] = [];
  let throttledUntilMs = 0;

  const cloud: SimCloud = {
    service,
    mood,
    receipts,
    fate(name) {
      const found = known.get(nameOf(name));
      if (!found) throw new Error(`the cloud never had ${nameOf(name)}`);
      return found;
    },
    fates: () => [...known.values()],
    throttleFor: (ms) => {
      throttledUntilMs = time.nowMs + ms;
    },
    get rests() {
      return service.executions({ thing: THING }).every(({ status }) => TERMINAL.includes(status));
    },
  };

  service.onChange((change) => {
    if (change.kind !== 'execution' || change.execution.thing !== THING) return;
    const fate = fateOf(change.execution, change.deleted);
    known.set(nameOf(fate), fate);
    say(`    cloud: ${nameOf(fate)} ${fate.status}${fate.deleted ? ', deleted' : ''}`);
  });
  faults.onRequest(({ operation, target }) => {
    const { throttle, internalError, drop, duplicate } = cloud.mood;
    say(`    cloud: is asked ${operation} ${target}`);
    if (time.nowMs < throttledUntilMs || random.chance(throttle))
      return { kind: 'reject', code: 'RequestThrottled' };
    if (random.chance(internalError)) return { kind: 'reject', code: 'InternalError' };
    if (random.chance(drop)) return { kind: 'drop' };
    return random.chance(duplicate) ? { kind: 'duplicate' } : { kind: 'process' };
  });
  faults.onAnswer(({ operation, body }, { verdict, body: answer }) => {
    say(`    cloud: ${operation} ${verdict} ${JSON.stringify(answer['code'] ?? '')}`);
    if (operation === 'shadowUpdate' && verdict === 'accepted') {
      const { state } = body as { state?: { reported?: { receipt?: Record<string, unknown> } } };
      if (state?.reported?.receipt) receipts.push(state.reported.receipt);
    }
    return random.chance(cloud.mood.dropAnswer) ? { kind: 'drop' } : { kind: 'process' };
  });
  network.broker = {
    received(topic, payload, from) {
      if (!parseTopic(topic)) throw new Error(`a topic of nobody: ${topic}`);
      requests(topic, payload, {
        client: THING,
        deliver: (answerTopic, answer) => {
          if (from.open) from.deliver(answerTopic, answer);
        },
        deliverLater: (answerTopic, answer) => network.publish(answerTopic, answer),
        end: (reason) => from.end(reason),
      });
    },
  };
  return cloud;
}

/** Does something as an operator; what the service refuses, for it is over already, is no matter. */
export function asOperator(act: () => void): boolean {
  try {
    act();
    return true;
  } catch (error) {
    if (error instanceof Refusal) return false;
    throw error;
  }
}

function fateOf(
  { jobId, executionNumber, queuedAt, status, statusDetails }: Execution,
  deleted: boolean,
): Fate {
  const { code } = statusDetails;
  const name = { jobId, executionNumber, queuedAt: Math.floor(queuedAt) };
  return { ...name, status, deleted, ...(code !== undefined && { code }) };
}

function nameOf({ jobId, executionNumber, queuedAt }: ExecutionName): string {
  return `${jobId}#${executionNumber} of ${queuedAt}`;
}

function shortTopic(topic: string): string {
  return topic.replace(/^\$aws\/things\/[^/]+\//, '');
}
