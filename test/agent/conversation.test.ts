import { describe, expect, test } from 'vitest';
import { createConversation } from '../../src/agent/conversation.ts';
import type { Reply } from '../../src/jobs/client.ts';
import { TransportError } from '../../src/transport/port.ts';
import { eagerClock } from '../support/eager-clock.ts';

/** What an execution is told when the link cannot be proved: why, so that its report names the cause. */

interface Link {
  up: boolean;
  lastFailure?: string;
  failure?: string;
}

function prove({ up, lastFailure, failure }: Link, fresh: boolean) {
  const fail = (): Promise<void> =>
    failure === undefined ? Promise.resolve() : Promise.reject(new TransportError('timeout', failure));
  const limit = new AbortController();
  const noAnswer: Reply<never> = { kind: 'noAnswer', reason: 'no answer within 10000 ms' };
  let pauses = 0;
  const clock = eagerClock();
  const conversation = createConversation(
    {
      identity: { thing: 't', jobId: 'job-1', executionNumber: 1, queuedAt: 100 },
      transport: {
        up,
        lastFailure,
        roundTrip: fail,
        renew: fail,
        // A link that is not up now never will be.
        subscribe: () => () => undefined,
      },
      jobs: { describe: () => Promise.resolve(noAnswer), update: () => Promise.resolve(noAnswer) },
      clock: {
        ...clock,
        // The limit of the wait is reached behind the third pause between attempts.
        sleep(delayMs, signal) {
          if (delayMs < LINK_WAIT_MS) pauses += 1;
          if (delayMs === LINK_WAIT_MS) return ends(limit.signal, signal);
          if (pauses === 3) limit.abort();
          return clock.sleep(delayMs, signal);
        },
      },
      log: { warn: () => undefined } as never,
      stepTimerMinutes: 60,
      requestTimeoutMs: 10_000,
      isOurDocument: () => true,
      urlOf: () => undefined,
      onEnd: () => undefined,
      prev: undefined,
    },
    { versionNumber: 5, started: true, proposed: false },
  );
  if (!up) limit.abort();
  return conversation.proveLink({ fresh, waitMs: LINK_WAIT_MS }, new AbortController().signal);
}

const LINK_WAIT_MS = 55_000;

/** A sleep that lasts until `over`; rejects when it is given up. */
function ends(over: AbortSignal, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (over.aborted) resolve();
    over.addEventListener('abort', () => resolve());
    signal?.addEventListener('abort', () => reject(signal.reason as Error));
  });
}

const REFUSED = 'cannot connect to mqtts://a:8883: the broker refuses: Not authorized (0x87)';
const LOST = 'connection lost: the broker hung up';

describe('a link that is not proved in time is reported with its cause', () => {
  test.each<[string, Link, boolean, string[]]>([
    ['down, and refused since', { up: false, lastFailure: REFUSED }, true, [REFUSED]],
    ['down, for reasons that nobody knows', { up: false }, true, []],
    [
      'lost in the middle of the question',
      { up: true, failure: `cannot reach the broker: ${LOST}`, lastFailure: LOST },
      false,
      [`cannot reach the broker: ${LOST}`],
    ],
    ['up, and nobody answers', { up: true, lastFailure: LOST }, true, ['no answer within 10000 ms']],
    [
      'up, and the broker says nothing',
      { up: true, failure: 'cannot reach the broker: no answer within 10000 ms' },
      false,
      ['cannot reach the broker: no answer within 10000 ms'],
    ],
  ])('%s', async (_, link, fresh, causes) => {
    expect(await prove(link, fresh)).toEqual({
      kind: 'noLink',
      reason: ['not proved within 55 s', ...causes].join(': '),
    });
  });

  test('one that is proved over the standing link needs no update', async () => {
    expect(await prove({ up: true }, false)).toEqual({ kind: 'ours', versionNumber: 5 });
  });
});
