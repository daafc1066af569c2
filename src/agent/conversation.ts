import type { Answer, Cloud, CloudEnd, Details, NoLink, Replaced, Stopped } from '../execution/cloud.ts';
import type { Clock } from '../host/clock.ts';
import { within } from '../host/within.ts';
import type { UpdateRequest } from '../jobs/client.ts';
import type { Transport } from '../transport/port.ts';
import { fullJitterMs } from './backoff.ts';
import { Exchange, type ExchangeDeps, type Heard, type Known, type Nothing, nothing } from './exchange.ts';

/**
 * All that is said with AWS IoT Jobs about one execution, one request at a time, until there is evidence: what an
 * execution asks of the cloud, and the questions that every notice leads to.
 */
export interface Conversation extends Cloud {
  /** Asks by describing (changes nothing: P19, P20). Evidence of an end goes to `onEnd`. Never throws. */
  reconcile(): Promise<Heard>;
  /** Refreshes the step timer by an update when a third of it has passed; otherwise reconciles. */
  heartbeat(): Promise<Heard>;
  /** Until a timer of the cloud ends the execution; asks for as long as `waitMs`. */
  timeLeftMs(waitMs: number, signal: AbortSignal): Promise<number>;
  /** No request is sent from here on. */
  close(): void;
}

export interface ConversationDeps extends ExchangeDeps {
  transport: Pick<Transport, 'up' | 'lastFailure' | 'roundTrip' | 'renew' | 'subscribe'>;
  clock: Clock;
  requestTimeoutMs: number;
  /** True when the document is the one that the plan was read from, URL queries aside (J14, P20). */
  isOurDocument(document: unknown): boolean;
  urlOf(document: unknown, step: number): string | undefined;
  onEnd(ended: CloudEnd): void;
  /** How the execution before this one ended; goes out with the first update (design section 9). */
  prev: string | undefined;
}

/** P25, L9: the longest step timer. */
const STEP_TIMER_MINUTES_MAX = 10_080;
const RETRY = { firstMs: 500, maxMs: 60_000 };
/** DNS, TCP, TLS, CONNECT and SUBACK take longer than one request. */
const RENEW_REQUESTS = 3;

const STOPPED: Stopped = { kind: 'stopped' };

/** Opens the conversation about one execution. */
export function createConversation(deps: ConversationDeps, known: Known): Conversation {
  return new ExecutionConversation(deps, known);
}

class ExecutionConversation implements Conversation {
  readonly #deps: ConversationDeps;
  readonly #exchange: Exchange;
  #last: Promise<unknown> = Promise.resolve();
  #waitingProgress: Details | undefined;
  /** How the cloud has ended it, once that is known: it stays so (S4), and nothing more is asked (A8). */
  #ended: CloudEnd | undefined;
  /** The answer to our own last word, once it is accepted: the notices of that end are no news either. */
  #final: Heard | undefined;
  /** A successor under our id is what was started: the only word that it still gets is that nothing was done. */
  #isReplaced = false;
  #closed = false;

  constructor(deps: ConversationDeps, known: Known) {
    this.#deps = deps;
    this.#exchange = new Exchange(deps, known);
  }

  get versionNumber(): number {
    return this.#exchange.known.versionNumber;
  }

  start(details: Details, signal: AbortSignal): Promise<Answer | Replaced | Stopped> {
    const { prev } = this.#deps;
    this.#exchange.latest = details;
    const first = prev === undefined ? details : { ...details, prev };
    return this.#persist(() => this.#startOnce(first), signal);
  }

  progress(details: Details): void {
    this.#exchange.latest = details;
    const idle = this.#waitingProgress === undefined;
    this.#waitingProgress = details;
    if (idle) void this.#exclusive(() => this.#sendProgress());
  }

  ask(waitMs: number, signal: AbortSignal): Promise<Answer | Stopped> {
    return within(waitMs, this.#deps.clock, signal, (both) =>
      this.#persist(() => this.#exchange.ask(), both),
    );
  }

  fence(details: Details, signal: AbortSignal): Promise<Answer | Stopped> {
    this.#exchange.latest = details;
    return this.#persist(() => this.#accepted('IN_PROGRESS', details), signal);
  }

  async proveLink(
    { fresh, waitMs }: { fresh: boolean; waitMs: number },
    signal: AbortSignal,
  ): Promise<Answer | NoLink | Stopped> {
    const { transport } = this.#deps;
    let why: string | undefined;
    const attempt = async (): Promise<Heard> => {
      const heard = await (fresh ? this.#overNewLink() : this.#overStandingLink());
      if (heard.kind === 'nothing') ({ why } = heard);
      return heard;
    };
    const answer = await within(waitMs, this.#deps.clock, signal, (both) => this.#persist(attempt, both));
    if (answer.kind !== 'stopped' || signal.aborted) return answer;
    const { up, lastFailure = '' } = transport;
    const isSaid = up || lastFailure === '' || why?.includes(lastFailure);
    const causes = [why, isSaid ? undefined : lastFailure].filter((one) => one !== undefined);
    const reason = [`not proved within ${Math.round(waitMs / 1000)} s`, ...causes].join(': ');
    return { kind: 'noLink', reason };
  }

  propose(
    details: Details,
    beforeSend: (expectedVersion: number) => Promise<void>,
    signal: AbortSignal,
  ): Promise<Answer | Stopped> {
    return this.#persist(async () => {
      this.#exchange.noteProposed();
      await beforeSend(this.versionNumber);
      return this.#accepted('SUCCEEDED', details);
    }, signal);
  }

  report(status: 'FAILED' | 'REJECTED', details: Details, signal: AbortSignal): Promise<Answer | Stopped> {
    return this.#persist(() => this.#accepted(status, details), signal);
  }

  async freshUrl(step: number, signal: AbortSignal): Promise<string> {
    const answer = await this.#persist(async () => {
      const reply = await this.#exchange.describe(true);
      const document = reply.kind === 'accepted' ? reply.value?.jobDocument : undefined;
      const url = this.#deps.urlOf(document, step);
      return url === undefined ? nothing('no document') : { kind: 'url' as const, url };
    }, signal);
    if (answer.kind === 'url') return answer.url;
    throw signal.reason;
  }

  async reconcile(): Promise<Heard> {
    if (this.#closed) return nothing('closed');
    // That ours is gone is known.
    if (this.#isReplaced) return nothing('replaced');
    return this.#told(await this.#exclusive(async () => this.#ended ?? this.#final ?? this.#exchange.ask()));
  }

  async heartbeat(): Promise<Heard> {
    const { known, silentMs } = this.#exchange;
    const due = silentMs >= (this.#deps.stepTimerMinutes * 60_000) / 3;
    if (this.#closed || this.#final || !known.started || known.proposed || !due) return this.reconcile();
    return this.#told(await this.#exclusive(() => this.#say(this.#exchange.latest)));
  }

  async timeLeftMs(waitMs: number, signal: AbortSignal): Promise<number> {
    const answer = await this.ask(waitMs, signal);
    if (answer.kind === 'ended') this.#told(answer);
    return this.#exchange.timeLeftMs;
  }

  close(): void {
    this.#closed = true;
  }

  /** Only an accepted update counts; an execution that is still ours although it was refused is asked again. */
  async #accepted(
    status: UpdateRequest['status'],
    details: Details,
    extra: Partial<UpdateRequest> = {},
  ): Promise<Heard> {
    const { reply, heard } = await this.#exchange.say(status, details, extra);
    if (reply.kind === 'accepted' && status !== 'IN_PROGRESS') this.#final = heard;
    return heard.kind === 'ours' && reply.kind !== 'accepted' ? nothing('refused, and still ours') : heard;
  }

  async #startOnce(details: Details): Promise<Heard | Replaced> {
    const { reply, heard } = await this.#exchange.say('IN_PROGRESS', details, { includeJobDocument: true });
    if (heard.kind !== 'ours') return heard;
    if (reply.kind === 'accepted') {
      this.#exchange.noteStarted();
      return this.#ifOurDocument(reply.value.jobDocument, heard);
    }
    // The update was refused and the execution is still ours: either an answer of ours was lost, or it is QUEUED.
    const described = await this.#exchange.describe(true);
    if (described.kind !== 'accepted' || described.value?.status !== 'IN_PROGRESS')
      return nothing('not started yet');
    this.#exchange.noteStarted();
    return this.#ifOurDocument(described.value.jobDocument, this.#exchange.hearExecution(described.value));
  }

  #ifOurDocument(document: unknown, heard: Heard): Heard | Replaced {
    if (this.#deps.isOurDocument(document)) return heard;
    this.#isReplaced = true;
    return { kind: 'replaced' };
  }

  async #sendProgress(): Promise<void> {
    const details = this.#waitingProgress;
    this.#waitingProgress = undefined;
    if (!details || this.#closed || !this.#deps.transport.up) return;
    this.#told(await this.#say(details));
  }

  async #say(details: Details): Promise<Heard> {
    return this.#ended ?? (await this.#exchange.say('IN_PROGRESS', details)).heard;
  }

  async #overStandingLink(): Promise<Heard> {
    return this.#unlessDown(async () => {
      await this.#deps.transport.roundTrip(this.#deps.requestTimeoutMs);
      return { kind: 'ours', versionNumber: this.versionNumber };
    });
  }

  async #overNewLink(): Promise<Heard> {
    return this.#unlessDown(async () => {
      await this.#deps.transport.renew(this.#deps.requestTimeoutMs * RENEW_REQUESTS);
      const details = { ...this.#exchange.latest, phase: 'prepared' };
      return this.#accepted('IN_PROGRESS', details, { stepTimeoutInMinutes: STEP_TIMER_MINUTES_MAX });
    });
  }

  async #unlessDown(task: () => Promise<Heard>): Promise<Heard> {
    try {
      return await task();
    } catch (error) {
      return nothing((error as Error).message);
    }
  }

  #told(heard: Heard): Heard {
    if (heard.kind !== 'ended') return heard;
    this.#ended = heard;
    if (!this.#closed) this.#deps.onEnd(heard);
    return heard;
  }

  /** One request is in flight at most: version numbers only make sense in order (S14). */
  #exclusive<T>(task: () => Promise<T>): Promise<T> {
    const next = this.#last.then(task, task);
    this.#last = next.catch(() => undefined);
    return next;
  }

  /**
   * Tries until there is evidence or `signal` aborts. A request under way is always awaited (its timeout bounds it):
   * nobody may go on while a vote of ours is on its way.
   */
  async #persist<T extends { kind: string }>(
    task: () => Promise<T | Nothing>,
    signal: AbortSignal,
  ): Promise<Exclude<T, Nothing> | Stopped> {
    const { clock } = this.#deps;
    for (let failures = 0; !signal.aborted && !this.#closed; failures += 1) {
      await this.#linkUp(signal);
      if (signal.aborted) break;
      const heard = await this.#exclusive(async () => (signal.aborted ? nothing('stopped') : task()));
      if (heard.kind === 'ended') this.#ended = heard as unknown as CloudEnd;
      if (heard.kind !== 'nothing') return heard as Exclude<T, Nothing>;
      await clock.sleep(fullJitterMs(RETRY, failures, clock.random()), signal).catch(() => undefined);
    }
    return STOPPED;
  }

  #linkUp(signal: AbortSignal): Promise<void> {
    const { transport } = this.#deps;
    return new Promise((resolve) => {
      if (transport.up || signal.aborted) {
        resolve();
        return;
      }
      const finish = (): void => {
        unsubscribe();
        signal.removeEventListener('abort', finish);
        resolve();
      };
      const unsubscribe = transport.subscribe({ onUp: finish });
      signal.addEventListener('abort', finish);
    });
  }
}
