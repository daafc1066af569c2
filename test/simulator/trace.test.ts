import { expect, test } from 'vitest';
import { createTrace, type TraceEntry } from '../../src/simulator/trace.ts';

const unsubscribed = (client: string) => ({ kind: 'unsubscribe' as const, client, filters: [] });

test('a trace keeps its last entries, tells what came since, and tells each new one', () => {
  let nowMs = 100;
  const trace = createTrace(() => nowMs, 3);
  const heard: TraceEntry[] = [];
  trace.record(unsubscribed('a'));
  const stop = trace.subscribe((entry) => heard.push(entry));
  for (const client of ['b', 'c', 'd']) {
    nowMs += 1;
    trace.record(unsubscribed(client));
  }
  stop();
  expect(trace.since(0).map((entry) => [entry.sequence, entry.client, entry.wallMs])).toEqual([
    [2, 'b', 101],
    [3, 'c', 102],
    [4, 'd', 103],
  ]);
  expect(trace.since(3).map((entry) => entry.client)).toEqual(['d']);
  expect(trace.since(4)).toEqual([]);
  trace.record(unsubscribed('e'));
  expect(heard.map((entry) => entry.client)).toEqual(['b', 'c', 'd']);
  trace.clear();
  expect(trace.since(0)).toEqual([]);
  trace.record(unsubscribed('f'));
  expect(trace.since(0).map((entry) => [entry.sequence, entry.client])).toEqual([[6, 'f']]);
});
