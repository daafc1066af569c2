import { type Details, Refusal } from '../../service/types.ts';
import { HttpRefusal } from '../errors.ts';
import type { PageRequest } from '../paging.ts';

/** L5 */
const DETAILS_MAX = 10;

/** Leaves out what is undefined. */
export function page(asked: {
  maxResults?: number | undefined;
  nextToken?: string | undefined;
}): PageRequest {
  const { maxResults, nextToken } = asked;
  return { ...(maxResults !== undefined && { maxResults }), ...(nextToken !== undefined && { nextToken }) };
}

/** C3: who exists already is named in the answer, too. */
export function existing<T>(ids: Record<string, string>, create: () => T): T {
  try {
    return create();
  } catch (error) {
    if (error instanceof Refusal && error.code === 'ResourceAlreadyExists')
      throw new HttpRefusal(error.code, error.message, ids);
    throw error;
  }
}

/** L5, C14 */
export function checkDetails(details: Details | undefined): void {
  if (details && Object.keys(details).length > DETAILS_MAX)
    throw new Refusal('InvalidRequest', `statusDetails: at most ${DETAILS_MAX} pairs`);
}
