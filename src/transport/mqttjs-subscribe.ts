import type { MqttClient } from 'mqtt';
import { filterBatches, refusedWords } from './filters.ts';
import { errorWords } from './reasons.ts';

/** Subscribes at QoS 1 in packets of at most eight; `done` gets words when a filter is refused, and may get called again. */
export function subscribeAll(
  client: MqttClient,
  filters: readonly string[],
  done: (refused?: string) => void,
): void {
  const batches = filterBatches(filters);
  let unanswered = batches.length;
  if (unanswered === 0) done();
  for (const batch of batches) {
    client.subscribe(batch, { qos: 1 }, (error, _grants, suback) => {
      unanswered -= 1;
      const refused = refusedWords(batch, suback?.granted ?? []);
      if (refused !== undefined) done(refused);
      else if (error) done(`cannot subscribe to ${batch.join(', ')}: ${errorWords(error)}`);
      else if (unanswered === 0) done();
    });
  }
}
