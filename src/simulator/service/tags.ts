import type { Collection, Store } from '../store/port.ts';
import { Refusal } from './types.ts';

/** Tags of jobs, job templates and thing groups, by ARN. */

export interface Tag {
  Key: string;
  Value?: string;
}

const TAGS_MAX = 50;

export class Tags {
  readonly #tags: Collection<Tag[]>;

  constructor(store: Store) {
    this.#tags = store.collection('tags');
  }

  of(arn: string): readonly Tag[] {
    return this.#tags.get(arn) ?? [];
  }

  add(arn: string, tags: readonly Tag[]): void {
    const kept = this.of(arn).filter(({ Key }) => !tags.some((one) => one.Key === Key));
    const all = [...kept, ...tags];
    if (all.length > TAGS_MAX) throw new Refusal('LimitExceeded', `A resource has at most ${TAGS_MAX} tags.`);
    if (all.length > 0) this.#tags.set(arn, all);
  }

  remove(arn: string, keys: readonly string[]): void {
    const kept = this.of(arn).filter(({ Key }) => !keys.includes(Key));
    if (kept.length > 0) this.#tags.set(arn, kept);
    else this.#tags.delete(arn);
  }

  clear(): void {
    for (const [arn] of [...this.#tags.entries()]) this.#tags.delete(arn);
  }

  /** The resource is gone. */
  forget(arn: string): void {
    this.#tags.delete(arn);
  }
}
