import { readdir, readFile } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import { expect, test } from 'vitest';

/** Who may import whom (each layer may always import itself); `transport` stands for its port alone, outside `cli`. */
const MAY: Record<string, readonly string[]> = {
  host: [],
  transport: [],
  config: [],
  document: [],
  simulator: [],
  store: ['host'],
  steps: ['document', 'store', 'host'],
  jobs: ['transport', 'host'],
  execution: ['document', 'steps', 'store', 'host'],
  provisioning: ['store', 'transport', 'host'],
  receipts: ['store', 'jobs', 'transport', 'host'],
  agent: ['execution', 'document', 'steps', 'jobs', 'transport', 'receipts', 'store', 'host'],
};

const ROOT = new URL('../src/', import.meta.url).pathname;
const CLOCK = 'host/clock.ts';
const TIME_AND_CHANCE =
  /\b(Date\.now|new Date\(\)|setTimeout|setInterval|setImmediate|performance\.now|Math\.random|randomUUID|AbortSignal\.timeout)\b/;

const files = (await readdir(ROOT, { recursive: true })).filter((name) => name.endsWith('.ts'));
const sources = await Promise.all(
  files.map(async (file) => ({ file, text: await readFile(join(ROOT, file), 'utf8') })),
);

function importsOf(file: string, text: string): string[] {
  return [...text.matchAll(/(?:from|import\() ?'(\.[^']+)'/g)].map((match) =>
    normalize(join(dirname(file), match[1] ?? '')),
  );
}

test('the search sees the sources', () => {
  expect(sources.length).toBeGreaterThan(80);
  expect(sources.flatMap(({ file, text }) => importsOf(file, text)).length).toBeGreaterThan(200);
});

test('each layer imports only what it may', () => {
  const wrong = sources.flatMap(({ file, text }) => {
    const layer = file.split('/')[0] ?? '';
    const allowed = MAY[layer];
    if (!allowed) return [];
    return importsOf(file, text)
      .filter((imported) => {
        const other = imported.split('/')[0] ?? '';
        if (other === layer) return false;
        return !allowed.includes(other) || (other === 'transport' && imported !== 'transport/port.ts');
      })
      .map((imported) => `${file} imports ${imported}`);
  });
  expect(wrong).toEqual([]);
});

test('only the clock knows time and chance', () => {
  const wrong = sources
    .filter(
      ({ file, text }) =>
        file !== CLOCK && TIME_AND_CHANCE.test(text.replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '')),
    )
    .map(({ file }) => file);
  expect(wrong).toEqual([]);
});
