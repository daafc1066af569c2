import type { Answer, Cloud, CloudEnd } from '../../execution/cloud.ts';

/** The cloud of a rehearsal: it accepts everything at once, until the job is cancelled in it. */
export interface ScriptedCloud extends Cloud {
  /** Force cancel; `undefined` where the vote was accepted before (S9). */
  cancel(): CloudEnd | undefined;
}

const CANCELED: CloudEnd = { kind: 'ended', status: 'CANCELED' };

export function createScriptedCloud(options: {
  versionNumber: number;
  cancelled: boolean;
  /** The document's own URL: there is nobody to presign another. */
  urlOf(step: number): string;
}): ScriptedCloud {
  let version = options.versionNumber;
  let ended: CloudEnd | undefined = options.cancelled ? CANCELED : undefined;
  const answer = (): Promise<Answer> => Promise.resolve(ended ?? { kind: 'ours', versionNumber: version });
  const update = (): Promise<Answer> => {
    if (!ended) version += 1;
    return answer();
  };
  return {
    get versionNumber() {
      return version;
    },
    start: update,
    progress: () => void update(),
    ask: answer,
    fence: update,
    proveLink: answer,
    async propose(_details, beforeSend) {
      await beforeSend(version);
      const given = await update();
      if (given.kind === 'ours') ended = { kind: 'ended', status: 'SUCCEEDED' };
      return given;
    },
    async report(status) {
      const given = await update();
      if (given.kind === 'ours') ended = { kind: 'ended', status };
      return given;
    },
    freshUrl: (step) => Promise.resolve(options.urlOf(step)),
    cancel() {
      if (ended) return undefined;
      ended = CANCELED;
      return ended;
    },
  };
}
