import { JournalFailed } from '../store/journal.ts';

/** What a person asks of the agent that must not happen beside a job: done one after the other, when none is open. */
export class Errands {
  #waiting: { run(): Promise<void>; giveUp(reason: Error): void }[] = [];
  readonly #wake: () => void;

  /** `wake` is called for each that comes. */
  constructor(wake: () => void) {
    this.#wake = wake;
  }

  ask<T>(task: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const run = async (): Promise<void> => {
        try {
          resolve(await task());
        } catch (error) {
          reject(error as Error);
          // Who asked is told; but what is on disk is not known, and the process must end.
          if (error instanceof JournalFailed) throw error;
        }
      };
      this.#waiting.push({ run, giveUp: reject });
      this.#wake();
    });
  }

  async runAll(): Promise<void> {
    for (const { run } of this.#waiting.splice(0)) await run();
  }

  giveUpAll(reason: string): void {
    for (const { giveUp } of this.#waiting.splice(0)) giveUp(new Error(reason));
  }
}
