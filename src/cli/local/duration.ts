const UNITS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** Of `90s`, `30m`, `12h`, `7d`; `undefined` for anything else, and for what is longer than a week. */
export function durationMs(text: string): number | undefined {
  const [, count = '', unit = ''] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  const ms = Number(count) * (UNITS[unit as keyof typeof UNITS] ?? 0);
  return ms > 0 && ms <= 7 * UNITS.d ? ms : undefined;
}
