import type { Answer, Cloud, CloudEnd, Stopped, TerminalStatus } from '../../src/execution/cloud.ts';
import type { Random } from './random.ts';

/**
 * One execution in an honest cloud: version numbers, one terminal status that wins, and a road on which requests and
 * answers are lost and copies of requests arrive late. What it says to the device is always true.
 */
export interface MemoryCloud {
  readonly status: CloudStatus;
  /** A vote of the device was accepted. */
  readonly succeeded: boolean;
  /** Ends the execution, if it is not ended yet. */
  end(status: Exclude<TerminalStatus, 'SUCCEEDED'> | 'deleted'): CloudEnd | undefined;
  /** A copy of an old request arrives, if one is still on its way. */
  deliverLate(): void;
  /** The conversation of one life, from the version that it knows; `point` is passed at each message and may never resolve. */
  begin(
    versionNumber: number,
    point: (what: string) => Promise<void>,
    onEnd: (ended: CloudEnd) => void,
  ): Cloud;
}

export type CloudStatus = TerminalStatus | 'QUEUED' | 'IN_PROGRESS' | 'deleted';

type Reply = { kind: 'accepted'; version: number } | { kind: 'mismatch' } | CloudEnd;

const NO_ANSWER = { kind: 'noAnswer' } as const;

export interface MemoryCloudOptions {
  /** Of each request, and of each answer. */
  lossChance: number;
  log(text: string): void;
}

export function createMemoryCloud(random: Random, { lossChance, log }: MemoryCloudOptions): MemoryCloud {
  let status: CloudStatus = 'QUEUED';
  let version = 1;
  let succeeded = false;
  let late: (() => void)[] = [];

  const ended = (): CloudEnd | undefined =>
    status === 'QUEUED' || status === 'IN_PROGRESS' ? undefined : { kind: 'ended', status };

  const update = (wanted: 'IN_PROGRESS' | TerminalStatus, expected: number): Reply => {
    const over = ended();
    if (over) return over;
    if (expected !== version) return { kind: 'mismatch' };
    status = wanted;
    version += 1;
    if (wanted === 'SUCCEEDED') succeeded = true;
    log(`cloud: ${wanted}, version ${version}`);
    return { kind: 'accepted', version };
  };

  return {
    get status() {
      return status;
    },
    get succeeded() {
      return succeeded;
    },
    end(how) {
      if (ended()) return undefined;
      status = how;
      version += 1;
      log(`cloud: ${how}`);
      return { kind: 'ended', status: how };
    },
    deliverLate() {
      const copies = late;
      late = [];
      for (const deliver of copies) deliver();
    },
    begin(versionNumber, point, onEnd) {
      let known = versionNumber;
      let told = false;

      const sent = (wanted: 'IN_PROGRESS' | TerminalStatus, expected: number): Reply | undefined => {
        if (!random.chance(lossChance)) return update(wanted, expected);
        log(`cloud: ${wanted} for version ${expected} is lost on the way`);
        if (random.chance(0.5)) {
          late.push(() => {
            log(`cloud: a late ${wanted} for version ${expected}`);
            update(wanted, expected);
          });
        }
        return undefined;
      };
      const answered = <T>(reply: T): T | typeof NO_ANSWER => {
        if (!random.chance(lossChance)) return reply;
        log('cloud: an answer is lost');
        return NO_ANSWER;
      };
      const exchange = async (wanted: 'IN_PROGRESS' | TerminalStatus): Promise<Reply | typeof NO_ANSWER> => {
        await point(`cloud: update ${wanted}`);
        const reply = sent(wanted, known);
        await point(`cloud: answer to ${wanted}`);
        return reply ? answered(reply) : NO_ANSWER;
      };
      const describe = async (): Promise<Answer | typeof NO_ANSWER> => {
        await point('cloud: describe');
        if (random.chance(lossChance)) return NO_ANSWER;
        const over = ended();
        if (over) return over;
        known = version;
        return { kind: 'ours', versionNumber: known };
      };
      /** `undefined`: no evidence. */
      const hear = async (reply: Reply | typeof NO_ANSWER): Promise<Answer | undefined> => {
        if (reply.kind === 'noAnswer') return undefined;
        if (reply.kind === 'ended') return reply;
        if (reply.kind === 'accepted') {
          known = reply.version;
          return { kind: 'ours', versionNumber: known };
        }
        const found = await describe();
        // Ours by describing: what was asked for has not been accepted, and is asked for again.
        return found.kind === 'ended' ? found : undefined;
      };
      const persist = async (
        signal: AbortSignal,
        task: () => Promise<Answer | undefined>,
      ): Promise<Answer | Stopped> => {
        while (!signal.aborted) {
          const answer = await task();
          if (answer) return answer;
        }
        return { kind: 'stopped' };
      };

      return {
        start: (_details, signal) =>
          persist(signal, async () => {
            const heard = await hear(await exchange('IN_PROGRESS'));
            if (heard || status !== 'IN_PROGRESS') return heard;
            // It is IN_PROGRESS already: the answer to an earlier request of ours was lost.
            const found = await describe();
            return found.kind === 'noAnswer' ? undefined : found;
          }),
        progress() {
          const reply = sent('IN_PROGRESS', known);
          if (!reply || random.chance(lossChance)) return;
          if (reply.kind === 'accepted') known = reply.version;
          if (reply.kind === 'ended' && !told) {
            told = true;
            onEnd(reply);
          }
        },
        async ask(_waitMs, signal) {
          for (let tried = 0; tried < 3 && !signal.aborted; tried += 1) {
            const answer = await describe();
            if (answer.kind !== 'noAnswer') return answer;
          }
          return { kind: 'stopped' };
        },
        fence: (_details, signal) => persist(signal, async () => hear(await exchange('IN_PROGRESS'))),
        async proveLink(_options, signal) {
          for (let tried = 0; tried < 5 && !signal.aborted; tried += 1) {
            const answer = await hear(await exchange('IN_PROGRESS'));
            if (answer) return answer;
          }
          return signal.aborted ? { kind: 'stopped' } : { kind: 'noLink', reason: 'nothing was heard' };
        },
        propose: (_details, beforeSend, signal) =>
          persist(signal, async () => {
            await beforeSend(known);
            return hear(await exchange('SUCCEEDED'));
          }),
        report: (wanted, _details, signal) => persist(signal, async () => hear(await exchange(wanted))),
        freshUrl: () => Promise.reject(new Error('no download has a query')),
        get versionNumber() {
          return known;
        },
      };
    },
  };
}
