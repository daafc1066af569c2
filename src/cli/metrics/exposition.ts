/** The Prometheus text format, version 0.0.4, of a handful of families. */

export interface Family {
  name: string;
  type: 'counter' | 'gauge' | 'histogram';
  help: string;
  samples: readonly Sample[];
}

export interface Sample {
  /** Behind the name: `_bucket`, `_sum`, `_count`. */
  suffix?: string;
  labels?: Readonly<Record<string, string>>;
  value: number;
}

export interface Histogram {
  /** Of each bucket by itself, the last one for what is longer than all bounds. */
  counts: number[];
  sum: number;
}

export function exposition(families: readonly Family[]): string {
  return families
    .map(({ name, type, help, samples }) => {
      const lines = samples.map(
        ({ suffix = '', labels = {}, value }) => `${name}${suffix}${labelText(labels)} ${value}`,
      );
      const said = help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
      return `# HELP ${name} ${said}\n# TYPE ${name} ${type}\n${lines.map((line) => `${line}\n`).join('')}`;
    })
    .join('');
}

function labelText(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([name, value]) => {
    const escaped = value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
    return `${name}="${escaped}"`;
  });
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

/** The samples of a histogram, cumulative as Prometheus wants them. */
export function histogramSamples({ counts, sum }: Histogram, bounds: readonly number[]): Sample[] {
  let seen = 0;
  const buckets = [...bounds.map(String), '+Inf'].map((le, index) => {
    seen += counts[index] ?? 0;
    return { suffix: '_bucket', labels: { le }, value: seen };
  });
  return [...buckets, { suffix: '_sum', value: sum }, { suffix: '_count', value: seen }];
}

export function observed({ counts, sum }: Histogram, bounds: readonly number[], value: number): Histogram {
  const bucket = bounds.findIndex((bound) => value <= bound);
  const at = bucket < 0 ? bounds.length : bucket;
  const filled = Array.from({ length: bounds.length + 1 }, (_, index) => counts[index] ?? 0);
  return { counts: filled.with(at, (filled[at] ?? 0) + 1), sum: sum + value };
}
