import type { MqttClient } from 'mqtt';
import { errorWords, FAILURE_CODE_MIN, reasonWords } from './reasons.ts';

/** L20: a ninth filter in one SUBSCRIBE closes the socket at AWS. */
const FILTERS_PER_SUBSCRIBE_MAX = 8;

/** Subscribes at QoS 1 in packets of at most eight; `done` gets words when a filter is refused, and may get called again. */
export function subscribeAll(
  client: MqttClient,
  filters: readonly string[],
  done: (refused?: string) => void,
): void {
  const batches = inBatches(filters, FILTERS_PER_SUBSCRIBE_MAX);
  let unanswered = batches.length;
  if (unanswered === 0) done();
  for (const batch of batches) {
    client.subscribe(batch, { qos: 1 }, (error, _grants, suback) => {
      unanswered -= 1;
      const refused = refusedFilters(batch, suback?.granted ?? []);
      if (refused.length > 0) done(`cannot subscribe to ${refused.join(', ')}`);
      else if (error) done(`cannot subscribe to ${batch.join(', ')}: ${errorWords(error)}`);
      else if (unanswered === 0) done();
    });
  }
}

function inBatches(filters: readonly string[], size: number): string[][] {
  const batches: string[][] = [];
  for (let first = 0; first < filters.length; first += size) batches.push(filters.slice(first, first + size));
  return batches;
}

function refusedFilters(batch: readonly string[], granted: readonly unknown[]): string[] {
  return batch.flatMap((filter, index) => {
    const code = Number(granted[index]);
    return code >= FAILURE_CODE_MIN ? [`${filter}: ${reasonWords(code)}`] : [];
  });
}
