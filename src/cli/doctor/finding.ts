/** What one check came to. */
export interface Finding {
  name: string;
  result: 'ok' | 'warn' | 'fail' | 'skipped';
  /** What was seen, in a line. */
  detail: string;
  /** What to do about it; may have several lines. */
  fix?: string;
}

export interface Section {
  title: string;
  findings: readonly Finding[];
}

/** What doctor answers, also as JSON. */
export interface Report {
  /** The first failure in order of dependence: what comes after it may only follow from it. */
  cause?: Finding;
  sections: readonly Section[];
}

export const ok = (name: string, detail: string): Finding => ({ name, result: 'ok', detail });
export const skipped = (name: string, detail: string): Finding => ({ name, result: 'skipped', detail });
export const warn = (name: string, detail: string, fix: string): Finding => ({
  name,
  result: 'warn',
  detail,
  fix,
});
export const fail = (name: string, detail: string, fix: string): Finding => ({
  name,
  result: 'fail',
  detail,
  fix,
});

export function reportOf(sections: readonly Section[]): Report {
  const cause = sections.flatMap(({ findings }) => findings).find(({ result }) => result === 'fail');
  return { ...(cause && { cause }), sections };
}
