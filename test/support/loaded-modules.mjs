// `node --import` this: what the process has run of its code is written to the file in LOADED_MODULES when it ends, by
// the name of the source: the bundle's own map says of each function that was called where it comes from.
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { Session } from 'node:inspector';
import { createRequire, SourceMap } from 'node:module';
import { fileURLToPath } from 'node:url';

const file = process.env['LOADED_MODULES'];
const session = new Session();
session.connect();
session.post('Profiler.enable');
session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: false });

process.on('exit', () => {
  const loaded = new Set(Object.keys(createRequire(import.meta.url).cache));
  session.post('Profiler.takePreciseCoverage', (_, { result }) => {
    for (const { url, functions } of result) {
      if (!url.startsWith('file:')) continue;
      const path = fileURLToPath(url);
      loaded.add(path);
      if (existsSync(`${path}.map`)) for (const source of sourcesRun(path, functions)) loaded.add(source);
    }
  });
  appendFileSync(file, [...loaded].map((path) => `${path}\n`).join(''));
});

function sourcesRun(path, functions) {
  const map = new SourceMap(JSON.parse(readFileSync(`${path}.map`, 'utf8')));
  const text = readFileSync(path, 'utf8');
  const starts = [0];
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) starts.push(at + 1);
  const sources = new Set();
  for (const { functionName, ranges } of functions) {
    const [{ startOffset, count }] = ranges;
    // The file as a whole is a function, too.
    if (count === 0 || (functionName === '' && startOffset === 0)) continue;
    const line = starts.findLastIndex((start) => start <= startOffset);
    const { originalSource } = map.findEntry(line, startOffset - starts[line]);
    if (originalSource !== undefined) sources.add(originalSource);
  }
  return sources;
}
