import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemClock } from '../../src/host/clock.ts';
import { createJobsClient, type JobsClient } from '../../src/jobs/client.ts';
import type { Transport, TransportListener } from '../../src/transport/port.ts';

/** Questions and answers on one link, in any order. */

const PREFIX = '$aws/things/t/jobs/';
let asked: { topic: string; clientToken: string }[];
let listener: TransportListener | undefined;
let client: JobsClient;
beforeEach(() => {
  asked = [];
  const transport: Pick<Transport, 'publish' | 'subscribe'> = {
    async publish(topic, payload) {
      const { clientToken } = JSON.parse(Buffer.from(payload).toString()) as { clientToken: string };
      asked.push({ topic, clientToken });
    },
    subscribe(one) {
      listener = one;
      return () => undefined;
    },
  };
  const deps = { clock: systemClock, requestTimeoutMs: 20_000, log: { warn: () => undefined } };
  client = createJobsClient(transport as Transport, 't', deps);
});
afterEach(() => client.close());

const tell = (topic: string, body: object): void =>
  listener?.onMessage?.({ topic, payload: Buffer.from(JSON.stringify(body)) });
const pendingWith = (jobId: string) => ({
  timestamp: 1,
  inProgressJobs: [],
  queuedJobs: [{ jobId, queuedAt: 1, lastUpdatedAt: 1, executionNumber: 1, versionNumber: 1 }],
});

test('A19: answers on one topic are told apart by their tokens, and each question has its own', async () => {
  const [first, second] = [client.getPending(), client.getPending()];
  await expect.poll(() => asked.length).toBe(2);
  const [one, two] = asked.map(({ clientToken }) => clientToken);
  expect(one).not.toBe(two);
  const answer = (jobId: string, clientToken?: string) =>
    tell(`${PREFIX}get/accepted`, { ...pendingWith(jobId), clientToken });
  answer('stranger', 'a stranger');
  answer('nobody');
  answer('of-two', two);
  answer('of-one', one);
  expect(JSON.stringify(await first)).toContain('of-one');
  expect(JSON.stringify(await second)).toContain('of-two');
});

test('A20: when the link ends, every question in flight has no answer, and none comes later', async () => {
  const questions = [client.getPending(), client.describe('one', { includeJobDocument: false })];
  await expect.poll(() => asked.length).toBe(2);
  listener?.onDown?.('cut');
  for (const reply of await Promise.all(questions))
    expect(reply).toEqual({ kind: 'noAnswer', reason: 'the link ended: cut' });
  const again = client.getPending();
  await expect.poll(() => asked.length).toBe(3);
  expect(asked[2]?.clientToken).not.toBe(asked[0]?.clientToken);
  tell(`${PREFIX}get/accepted`, { ...pendingWith('late'), clientToken: asked[0]?.clientToken });
  tell(`${PREFIX}get/accepted`, { ...pendingWith('fresh'), clientToken: asked[2]?.clientToken });
  expect(JSON.stringify(await again)).toContain('fresh');
});

test('A23 T11: notify and notify-next are both heard, and those of another thing are not', () => {
  const heard: string[] = [];
  client.subscribe({
    onNotify: () => heard.push('notify'),
    onNotifyNext: (front) => heard.push(front ? 'another' : 'nothing'),
  });
  tell(`${PREFIX}notify`, { timestamp: 1, jobs: {} });
  tell(`${PREFIX}notify-next`, { timestamp: 1 });
  tell('$aws/things/other/jobs/notify', { timestamp: 1, jobs: {} });
  tell('$aws/things/other/jobs/notify-next', { timestamp: 1 });
  expect(heard).toEqual(['notify', 'nothing']);
});
