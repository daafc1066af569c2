import { FAILURE_CODE_MIN, reasonWords } from './reasons.ts';

/** L20: a ninth filter in one SUBSCRIBE closes the socket at AWS. */
const FILTERS_PER_SUBSCRIBE_MAX = 8;

/** The filters as they go into SUBSCRIBE packets. */
export function filterBatches(filters: readonly string[], size = FILTERS_PER_SUBSCRIBE_MAX): string[][] {
  const batches: string[][] = [];
  for (let first = 0; first < filters.length; first += size) batches.push(filters.slice(first, first + size));
  return batches;
}

/** Words for the filters of a packet that were not granted; `undefined` when all were. */
export function refusedWords(batch: readonly string[], codes: readonly unknown[]): string | undefined {
  const refused = batch.flatMap((filter, index) => {
    const code = Number(codes[index]);
    return code >= FAILURE_CODE_MIN ? [`${filter}: ${reasonWords(code)}`] : [];
  });
  return refused.length === 0 ? undefined : `cannot subscribe to ${refused.join(', ')}`;
}
