import { inside } from './inside.ts';
import { type LifeOrder, life } from './life.ts';
import { rehearseStage } from './rehearse.ts';

/** The processes that a rehearsal starts of itself, each in narrower name spaces than the one before. */
export async function runPart(part: string, order: string | undefined): Promise<void> {
  const given: unknown = order === undefined ? undefined : JSON.parse(order);
  switch (part) {
    case 'stage':
      return await rehearseStage(given as Parameters<typeof rehearseStage>[0]);
    case 'inside':
      return await inside(process.argv[1] ?? '');
    case 'life':
      return await life(given as LifeOrder);
    default:
      throw new Error(`internal error: no part ${part}`);
  }
}
